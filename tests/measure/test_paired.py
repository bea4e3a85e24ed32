"""Differences on the same prompts: who is compared with whom, and what comes out."""

from __future__ import annotations

import numpy as np
import pytest

from valence.data import Measurement
from valence.measure.conclude import conclude_evaluation
from valence.measure.paired import Scored, differences
from valence.recipe import EvaluationRecipe, MeasureRecipe, MetricRecipe


def scored(model: str, mode: str, values: list[float | None], seed: int = 0) -> Scored:
    return Scored(
        who=(model, mode, seed),
        scenario="asked",
        count=len(values),
        per_prompt=2,
        values={"harm": {n: value for n, value in enumerate(values) if value is not None}},
    )


def test_first_modes_meet_the_first_model_and_their_own_other_modes() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=40)
    found = list(
        differences(
            [
                scored("mle", "none", list(base)),
                scored("ours", "good", [*(base[:39] - 1 + 0.1 * rng.normal(size=39)), None]),
                scored("ours", "bad", list(base + 1)),
            ],
            resamples=200,
        )
    )
    assert [(row.model, row.mode, row.metric) for row in found] == [
        ("ours", "good", "harm@asked minus ours in bad mode"),
        ("ours", "good", "harm@asked minus mle"),
    ]
    against = found[1]
    assert against.value == pytest.approx(-1, abs=0.1)
    assert against.high is not None and against.high < 0
    assert (against.count, against.failures) == (39, 1)


def test_conclusions_say_what_is_shown_and_what_is_not() -> None:
    recipe = EvaluationRecipe(
        models={"mle": "a", "ours": "b"},
        measure=MeasureRecipe(metrics={"harm": MetricRecipe(scorer="pep8", scale=-1.0)}),
    )

    def row(
        model: str, mode: str, value: float, metric: str = "harm", half: float = 0.5
    ) -> Measurement:
        return Measurement(
            model=model, mode=mode, metric=metric, value=value, low=value - half,
            high=value + half, count=10, failures=0, seed=0,
        )  # fmt: skip

    rows = [row("mle", "none", 3), row("ours", "good", 1), row("ours", "bad", 1.5)]
    paired = [
        row("ours", "good", -2, "harm@asked minus mle"),
        row("ours", "good", 0, "x minus mle"),
    ]
    said = conclude_evaluation(rows, paired, recipe)
    assert "ours in good mode 1 against mle 3" in said.pairs[1] and "lower" in said.pairs[1]
    assert "overlap" in said.pairs[0]
    assert said.overall[0].startswith("Harm on asked: ours in good mode less mle: -2 [-2.5, -1.5]")
    assert "lower" in said.overall[0] and "not shown to differ" in said.overall[1]
