"""All of the measures of a verdict, on a model that learned next to nothing and on planted ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged_texts import annotated

from valence.annotate import annotate
from valence.control import ControlScheme, read_known_scheme
from valence.data import Findings
from valence.measure.judging import judge, readouts
from valence.model import Checkpoint, load_checkpoint
from valence.pack import Tokenised, tokenise
from valence.pack.marks import read_marks
from valence.recipe import CorpusRecipe, JudgingRecipe, ScoreRecipe
from valence.run import Result

LINES = ("value = 1\n", "value=1\n", "name = 'a'\n", "name='a'\n", "\n", "x = f( a )\n")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readouts, "FITTING_STEPS", 60)


@pytest.fixture(scope="module")
def known(tiny_run: Result) -> tuple[Checkpoint, ControlScheme]:
    directory = tiny_run.path / "models" / "conditional"
    scheme = read_known_scheme(directory)
    assert scheme is not None
    return load_checkpoint(directory), scheme


def text_of(checkpoint: Checkpoint, seed: int, count: int = 16) -> Tokenised:
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(LINES, rng.integers(2, 6))) for _ in range(count)]
    return tokenise([annotated(text) for text in texts], checkpoint.tokenizer)


def judged(
    known: tuple[Checkpoint, ControlScheme], held_out: Tokenised, training: Tokenised, **given: Any
) -> Findings:
    options: dict[str, Any] = {
        "recipe": JudgingRecipe(shares=(0.5,), cut=8), "taught": True, "readout": None, **given,
    }  # fmt: skip
    recipe = options.pop("recipe")
    return judge(
        *known, held_out, training, recipe,
        model_name="m", seed=0, window=96, resamples=100, **options,
    )  # fmt: skip


def test_every_judge_has_every_row(known: tuple[Checkpoint, ControlScheme]) -> None:
    checkpoint, _ = known
    held_out, training = text_of(checkpoint, 0), text_of(checkpoint, 1)
    found = judged(known, held_out, training)
    names = ["verdict", "linear", "mlp"]
    metrics = {
        *(f"verdict_{kind}{at}" for kind in ("auroc", "ece", "brier") for at in ("", "@50%")),
        "verdict_auroc@8tokens", "verdict_auroc@8tokens-whole", "verdict_auroc@8tokens-gain",
        "flag_recall", "flag_false_alarms", "earliness_mean", "earliness_median",
    }  # fmt: skip
    for name in names:
        assert {row.metric for row in found.rows if row.mode == name} == metrics
    assert {row.mode for row in found.rows} == {*names, "constant"}
    assert {(line.kind, line.name) for line in found.series} == {
        (kind, name) for kind in ("prefix", "reliability", "flagged") for name in names
    }
    assert len({row.count for row in found.rows if row.metric.startswith("verdict_ece")}) == 1
    assert not [row for row in found.rows if row.failures]
    again = judged(known, held_out, training)
    assert again.rows == found.rows


def test_a_model_that_was_not_taught_is_read_and_says_nothing_itself(
    known: tuple[Checkpoint, ControlScheme],
) -> None:
    checkpoint, scheme = known
    held_out, training = text_of(checkpoint, 0), text_of(checkpoint, 1)
    foreign = replace(scheme, tokens=("<no>", "<yes>"))  # Not in the vocabulary.
    recipe = JudgingRecipe(shares=(), cut=None, stride=None)
    found = judged((checkpoint, foreign), held_out, training, taught=False, recipe=recipe)
    assert [(row.mode, row.metric) for row in found.rows] == [
        *((kind, f"verdict_{name}") for kind in ("linear", "mlp")
          for name in ("auroc", "ece", "brier")),
        ("constant", "verdict_brier"),
    ]  # fmt: skip


def test_read_outs_of_each_share_stand_beside_those_of_the_end(
    known: tuple[Checkpoint, ControlScheme],
) -> None:
    checkpoint, _ = known
    held_out, training = text_of(checkpoint, 0), text_of(checkpoint, 1)
    recipe = JudgingRecipe(shares=(0.5,), cut=None, stride=None, fit="share")
    found = judged(known, held_out, training, recipe=recipe)
    values = {(row.mode, row.metric): row.value for row in found.rows}
    assert values["linear-share", "verdict_auroc"] == values["linear", "verdict_auroc"]
    assert ("mlp-share", "verdict_auroc@50%") in values


def test_text_without_good_or_without_any_units_gives_no_numbers(
    known: tuple[Checkpoint, ControlScheme],
) -> None:
    checkpoint, _ = known
    held_out, training = text_of(checkpoint, 0, count=4), text_of(checkpoint, 1)
    bad = replace(held_out, rewards=np.full_like(held_out.rewards, -1.0))
    for row in judged(known, bad, training).rows:
        if "auroc" in row.metric or row.metric == "flag_false_alarms":
            assert (row.value, row.low, row.high) == (None, None, None)
    nothing = replace(held_out, rewards=np.full_like(held_out.rewards, np.nan))
    assert all(row.value is None for row in judged(known, nothing, training).rows)
    unlearned = replace(training, rewards=np.full_like(training.rewards, np.nan))
    rows = judged(known, held_out, unlearned).rows
    modes = {row.mode: row.value for row in rows if row.metric == "verdict_auroc"}
    assert modes["linear"] is None and modes["verdict"] is not None


def test_marks_beside_rewards_become_tokens(
    known: tuple[Checkpoint, ControlScheme], tmp_path: Path
) -> None:
    checkpoint, _ = known
    (tmp_path / "a.jsonl").write_text(
        '{"id": "one", "text": "x = 1 oops y\\nfine\\nz = oops\\n"}\n'
        '{"id": "two", "text": "fine\\n"}\n'
    )
    annotation = annotate(
        tmp_path / "out",
        ScoreRecipe(scorer={"lexicon": {"words": ["oops"]}}, name="words", workers=1),
        CorpusRecipe(reader="files", paths=(str(tmp_path / "a.jsonl"),), id_column="id"),
    )
    marks = read_marks(annotation, "words", held_out=None)
    assert marks is not None and {name for name, _ in marks} == {"one"}
    items = sorted(annotation.read("words"), key=lambda item: item.document.id)
    text = tokenise(items, checkpoint.tokenizer, marks=marks)
    assert text.names == ("one", "two") and text.marks is not None
    pieces = [checkpoint.tokenizer.decode(text.ids[start:end]) for start, end in text.marks]
    assert len(pieces) == 2 and all("oops" in piece for piece in pieces)
    plain = tokenise(items, checkpoint.tokenizer)
    assert plain.marks is None
    found = judged(known, text, text_of(checkpoint, 1))
    wanted = {f"first_flag_{place}_mark" for place in ("before", "inside", "after")}
    wanted |= {"first_flag_inside_mark_chance", "first_flag_in_marked_segment"}
    metrics = {row.metric for row in found.rows if row.mode == "verdict"}
    assert wanted | {"first_flag_in_marked_segment_chance"} <= metrics
