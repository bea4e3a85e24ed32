"""The whole measure on a tiny model: rows, files, and what another measure makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from knowing_models import RECIPE, SCHEME, tiny_checkpoint

from valence.data import Document, Findings, Score, Segment
from valence.errors import CorpusError, MissingFileError
from valence.measure.knowing import ANSWERS, QUESTIONS, know, read_questions
from valence.recipe import build_part
from valence.recipe.knowing import CONFIDENCES, KnowingRecipe
from valence.report.metrics import CONFIDENCE
from valence.score.answers import Answers


def known(work: Path, mode: str = "none", taught: bool = True, **options: Any) -> Findings:
    work.mkdir(exist_ok=True)
    tree = {**RECIPE.model_dump(mode="json"), **options}
    recipe = build_part(KnowingRecipe, tree, where="measure.knowing")
    return know(
        tiny_checkpoint(conditional=mode != "none"),
        SCHEME,
        mode,
        recipe,
        taught=taught,
        model_name="tiny",
        seed=0,
        resamples=100,
        work=work,
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_know_gives_all_rows_and_the_same_again(tmp_path: Path) -> None:
    found = known(tmp_path / "a", batch=5)
    assert found == known(tmp_path / "b", batch=64)
    assert all(row.metric.endswith("@world") for row in found.rows)
    stated = {row.metric.removesuffix("@world"): row for row in found.rows}
    for name in CONFIDENCES:
        for metric in CONFIDENCE.keys() - {"answerable_auroc"}:
            assert f"{name}_{metric}" in stated
    assert {"accuracy", "sampled_accuracy", "abstention", "score"} <= set(stated)
    assert {"known"} <= {series.kind for series in found.series}
    certain = [row.metric for row in found.rows if row.low is not None and row.low == row.high]
    assert not [name for name in certain if "_at_95" in name or "policy" in name]
    untaught = known(tmp_path / "c", taught=False, confidences=["verdict", "agreement"])
    named = {row.metric for row in untaught.rows}
    assert "agreement_auroc@world" in named and "verdict_auroc@world" not in named


def test_what_it_writes_can_be_scored_and_compared_with(tmp_path: Path) -> None:
    known(tmp_path / "base", confidences=["agreement"])
    parts = read_questions(RECIPE)
    records = lines(tmp_path / "base" / QUESTIONS)
    assert [row["question"] for row in records] == [each.text for each in parts.measured]
    assert set(records[0]["confidences"]) == {"agreement"}
    lessons = lines(tmp_path / "base" / ANSWERS)
    # On nobody who is measured or whom read-outs are fitted on, and each question with abstentions.
    groups = {each.group for each in (*parts.measured, *parts.fitted)}
    assert not groups & {row["group"] for row in lessons}
    idle = [row["prompt"] for row in lessons if row["said"] == RECIPE.abstentions[0]]
    assert set(idle) == {each.prompt for each in parts.taught}
    scorer = Answers()
    for row in lessons:
        whole = [Segment(start=0, end=len(row["text"]))]
        document = Document(id=row["id"], text=row["text"], source="", columns=row)
        (result,) = scorer.score(document, whole)
        assert isinstance(result, Score)
        assert (result.value == 0) == (row["said"] == RECIPE.abstentions[0])

    path = str(tmp_path / "base" / QUESTIONS)
    found = known(tmp_path / "good", "good", reference=path, confidences=["answering"], teach=False)
    stated = {row.metric: row for row in found.rows}
    assert stated["score_always@world"].count == len(parts.measured)
    assert not (tmp_path / "good" / ANSWERS).exists()
    with pytest.raises(CorpusError, match="lacks"):
        known(tmp_path / "other", reference=path, questions=None)


def test_a_reference_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        known(tmp_path / "a", reference=str(tmp_path / "none.jsonl"), confidences=["agreement"])
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"question": 1}\n')
    with pytest.raises(CorpusError, match="record"):
        known(tmp_path / "a", reference=str(wrong), confidences=["agreement"])


def test_questions_of_a_file_and_a_model_without_control_tokens(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    rows = [{"question": f"Who is {name}?", "answers": ["Bo"]} for name in "abcdefgh"]
    rows += [{"question": f"Why is {name}?", "answerable": False} for name in "abcd"]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    recipe = KnowingRecipe(path=str(path), samples=2, shown=1, max_tokens=3, shots=2, name="few")
    found = know(
        tiny_checkpoint(),
        None,
        "none",
        recipe,
        taught=False,
        model_name="tiny",
        seed=0,
        resamples=100,
        work=tmp_path,
    )
    metrics = {row.metric for row in found.rows}
    assert "p_true_auroc@few" in metrics and "verdict_auroc@few" not in metrics
    assert not [series for series in found.series if series.kind == "known"]
