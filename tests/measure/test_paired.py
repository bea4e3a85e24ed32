"""Differences on the same items: who is compared with whom, on what, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from valence.data import LABELLED, Evidence, Items, Measurement, Ranking
from valence.measure.conclude import conclude_evaluation
from valence.measure.paired import differences, less, pairing
from valence.measure.ranking import auroc_difference
from valence.recipe import EvaluationRecipe, MeasureRecipe, MetricRecipe


def items(values: Sequence[float | None], metric: str = "harm@asked", per_prompt: int = 2) -> Items:
    some = {n: value for n, value in enumerate(values) if value is not None}
    return Items(
        metric=metric,
        names=tuple(str(n) for n in some),
        tops=tuple(some.values()),
        bottoms=(1.0,) * len(some),
        clusters=tuple(str(n // per_prompt) for n in some) if per_prompt > 1 else None,
    )


def evidence(
    model: str, mode: str, values: Sequence[float | None], seed: int = 0, metric: str = "harm@asked"
) -> Evidence:
    return Evidence(model=model, mode=mode, seed=seed, items=items(values, metric))


def test_first_modes_meet_the_first_model_and_their_own_other_modes() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=40)
    known = [
        evidence("mle", "none", list(base)),
        evidence("ours", "good", [*(base[:39] - 1 + 0.1 * rng.normal(size=39)), None]),
        evidence("ours", "bad", list(base + 1)),
        evidence("ours", LABELLED, list(base + 1)),
    ]
    found = list(differences(known, resamples=200))
    assert [(row.model, row.mode, row.metric) for row in found] == [
        ("ours", "good", "harm@asked minus ours in bad mode"),
        ("ours", "good", "harm@asked minus mle"),
    ]
    against = found[1]
    assert against.value == pytest.approx(-1, abs=0.1)
    assert against.high is not None and against.high < 0
    assert (against.count, against.failures) == (39, 1)
    gap = Measurement(
        model="ours", mode="good-bad", metric="harm@asked", value=0.0, low=None, high=None,
        count=1, failures=0, seed=0,
    )  # fmt: skip
    # What a row of `good-bad` tells already is not told again.
    assert [row.metric for row in differences(known, [gap], resamples=200)] == [
        "harm@asked minus mle"
    ]


def test_a_prompt_that_one_side_lacks_is_left_out_and_a_copy_only_there() -> None:
    one, other = items([1.0, 3.0, 5.0, None]), items([0.0, 0.0, 1.0, 1.0, 9.0, 9.0])
    found = less(one, other, resamples=100, seed=0)
    assert found is not None
    # Prompt 2 is nobody's but the other's; of prompt 1 our one answer stands beside both of theirs.
    assert found.estimate.value == pytest.approx((1 + 3 + 5) / 3 - 2 / 4)
    assert (found.estimate.count, found.left_out) == (3, 3)


def test_without_clusters_only_items_of_both_count() -> None:
    one, other = items([1.0, None, 5.0], per_prompt=1), items([0.0, 7.0, 1.0], per_prompt=1)
    found = less(one, other, resamples=100, seed=0)
    assert found is not None and found.estimate.value == pytest.approx(2.5)
    assert (found.estimate.count, found.left_out) == (2, 1)


def test_other_items_are_not_compared() -> None:
    one = items([1.0], per_prompt=1)
    assert less(one, replace(one, names=("other",)), resamples=100, seed=0) is None
    judge = Ranking(metric="a", clusters=("d",), truth=(True,), scores=(0.5,))
    assert less(one, judge, resamples=100, seed=0) is None
    assert less(judge, replace(judge, truth=(False,)), resamples=100, seed=0) is None


def test_two_judges_of_the_same_units_are_compared_over_documents() -> None:
    rng = np.random.default_rng(0)
    truth = tuple((rng.random(90) < 0.5).tolist())
    documents = np.repeat(np.arange(30), 3)
    judges = [
        Ranking(
            metric="verdict_auroc",
            clusters=tuple(map(str, documents.tolist())),
            truth=truth,
            scores=tuple((rng.normal(size=90) + np.array(truth)).tolist()),
        )
        for _ in range(2)
    ]
    found = less(*judges, resamples=100, seed=0)
    expected = auroc_difference(judges[0].scores, judges[1].scores, truth, clusters=documents)
    assert found is not None and found.estimate == expected
    known = [
        Evidence(model="ours", mode=mode, seed=0, items=judge)
        for mode, judge in zip(("verdict", "linear"), judges, strict=True)
    ]
    (row,) = differences(known, resamples=100)
    assert (row.mode, row.metric) == ("verdict", "verdict_auroc minus linear of ours")


def test_a_pairing_knows_what_two_have_in_common() -> None:
    values = [1.0, 2.0, 4.0, 3.0, 2.0, 6.0]
    known = pairing(
        [
            evidence("a", "none", values),
            evidence("b", "none", [value + 1 for value in values]),
            evidence("b", "none", values, seed=1),
            evidence("c", "none", values, metric="other"),
        ],
        resamples=100,
    )
    a, b, c = ("a", "none"), ("b", "none"), ("c", "none")
    there, back = known("harm@asked", a, b, 0), known("harm@asked", b, a, 0)
    assert there is not None and there.value == pytest.approx(-1)
    assert back is not None and back.value == pytest.approx(1)
    assert known("harm@asked", a, b, 1) is None
    assert known("harm@asked", a, c, 0) is None


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
        row("ours", "good", 1, "bits_per_byte minus mle"),
    ]
    said = conclude_evaluation(rows, paired, recipe)
    assert "ours in good mode 1 against mle 3" in said.pairs[1] and "lower" in said.pairs[1]
    assert "holds 0" in said.pairs[0]
    assert said.overall[0].startswith("Harm on asked: ours in good mode less mle: -2 [-2.5, -1.5]")
    assert "lower" in said.overall[0] and "not shown to differ" in said.overall[1]
    # The loss has said that.
    assert len(said.overall) == 2
