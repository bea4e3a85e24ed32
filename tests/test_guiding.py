"""Guides in recipes and on the command line: cost, rejected segments, and the bound of certify."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from valence.cli import app
from valence.data import Measurement, Sample
from valence.evaluate import evaluate
from valence.measure.guided import Guided, guided_rows
from valence.recipe import CertifyRecipe, EvaluationRecipe, build_part
from valence.run import Result
from valence.store import read_json

RULES = {"regex": {"patterns": ["x"]}}


def sample(index: int, text: str, prompt: str = "") -> Sample:
    return Sample(
        model="m", mode="good", seed=0, index=index, prompt=prompt, text=text, ended=True,
        tokens=len(text),
    )  # fmt: skip


def test_what_left_and_what_was_rejected_is_counted_segment_by_segment() -> None:
    samples = [sample(0, "a\nx\nb\n"), sample(1, "c\n", prompt="x\n"), sample(2, "")]
    told = Guided(
        tokens=20,
        looked=(
            (("a\n", 1.0, True), ("b x\n", 0.0, False), ("x\n", 1.0, True), ("b\n", 1.0, True)),
            (("d\n", 0.1, False), ("c\n", 1.0, True)),
            (),
        ),
    )
    rows = guided_rows(samples, told, "p", CertifyRecipe(scorer=RULES))
    found = {row.metric: row for row in rows}
    assert found["tokens_through_model_per_token@p"].value == pytest.approx(20 / 8)
    # 2 of 6 looked at; 1 of 4 that left is bad; of 3 good ones that left and 1 rejected, that one.
    assert found["rejected_segments@p"].value == pytest.approx(2 / 6)
    assert (found["bad_segments@p"].value, found["bad_segments@p"].count) == (1 / 4, 4)
    assert found["good_segments_rejected@p"].value == pytest.approx(1 / 4)
    assert all(row.failures == 0 for row in rows)


def rows_of(path: Path) -> dict[tuple[str, str], Measurement]:
    return {(r["mode"], r["metric"]): Measurement(**r) for r in read_json(path / "results.json")}


def test_certify_bounds_what_leaves_with_and_without(
    tiny_run: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny_run.path / "models" / "conditional"
    scorer = json.dumps({"regex": {"patterns": ["[a-f]"]}})
    guide = json.dumps(
        {
            "rollback": {
                "measure": {"regex": {"patterns": ["[a-f]"]}},
                "threshold": 0.0,
                "retries": 9,
            }
        }
    )
    outcome = CliRunner().invoke(
        app,
        ["guide", "certify", str(model), "--scorer", scorer, "--guide", guide, "-n", "12",
         "--max-tokens", "16", "--out", "found"],
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    found = rows_of(tmp_path / "found")
    plain, guided = found["good", "bad_segments"], found["good+guided", "bad_segments"]
    assert plain.value is not None
    assert plain.value > 0.1
    assert guided.value == 0.0
    assert guided.high is not None
    assert 0 < guided.high < 1
    assert found["good+guided", "rejected_segments"].value > 0  # type: ignore[operator]
    # It rejects what the scorer calls bad, and nothing else.
    assert found["good+guided", "good_segments_rejected"].value == 0.0
    cost = found["good+guided", "tokens_through_model_per_token"].value
    assert cost is not None
    assert cost > found["good", "tokens_through_model_per_token"].value  # type: ignore[operator]


def test_guides_are_measured_where_they_fit_and_stand_on_a_front(
    tiny_run: Result, tmp_path: Path
) -> None:
    models = {name: str(tiny_run.path / "models" / name) for name in ("mle", "conditional")}
    metric = {"scorer": {"regex": {"patterns": ["[a-f]"]}}, "scale": -1.0, "hit": 0}
    recipe = build_part(
        EvaluationRecipe,
        {
            "models": models,
            "sample": {"count": 6, "max_tokens": 12},
            "measure": {
                "metrics": {"letters": metric},
                "modes": ["none", "good"],
                "guides": {
                    "contrast": "contrast",
                    "best": {"best_of_n": {"measure": metric["scorer"], "n": 2}},
                },
                "resamples": 100,
                "workers": 0,
            },
        },
        where="test",
    )
    result = evaluate(recipe, tmp_path / "found")
    settings = [(each["model"], each["mode"]) for each in read_json(result.path / "front.json")]
    assert settings == [
        ("mle", "none"), ("mle", "none+best"),
        ("conditional", "good"), ("conditional", "good+contrast"), ("conditional", "good+best"),
    ]  # fmt: skip
    assert any(said.startswith("On the front of letters") for said in result.conclusions.overall)
    assert "Which guide: the front" in (result.path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("guide", "said"),
    [
        ("nothing", "there is no guide `nothing`"),
        ("{contrast: {alpha: .nan}}", "alpha is nan"),
        ("{rollback: {measure: verdict, threshold: 0.5}}", "never taught a verdict"),
    ],
)
def test_a_guide_that_cannot_guide_is_a_users_mistake(
    tiny_run: Result, guide: str, said: str
) -> None:
    model = tiny_run.path / "models" / "conditional"
    outcome = CliRunner().invoke(
        app, ["sample", str(model), "--guide", guide, "--max-tokens", "20"]
    )
    assert outcome.exit_code == 2
    assert said in outcome.stderr
    assert "Traceback" not in outcome.output


def test_samples_are_streamed_and_end_before_a_stop(tiny_run: Result) -> None:
    model = str(tiny_run.path / "models" / "conditional")
    arguments = ["sample", model, "--max-tokens", "40", "--seed", "2"]
    # As bytes: a text may hold "\r\n", which the runner would make one of.
    plain, streamed = (
        CliRunner().invoke(app, [*arguments, *more]).stdout_bytes.decode()
        for more in ([], ["--stream"])
    )
    assert streamed == plain
    letter = plain.strip()[3]
    stopped = CliRunner().invoke(app, [*arguments, "--stop", letter]).stdout_bytes.decode()
    assert stopped == plain.split(letter)[0] + "\n"
    both = CliRunner().invoke(app, [*arguments, "--stream", "-n", "2"])
    assert both.exit_code == 2
