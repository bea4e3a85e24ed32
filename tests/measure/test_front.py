"""The front of guides: which settings none beats, what is shown, and what a token buys."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valence.data import Measurement
from valence.measure.bought import front_sentences
from valence.measure.compare import named
from valence.measure.conclude import conclude_evaluation
from valence.measure.front import MARGIN, VARIETY, reduction, standings
from valence.measure.guided import COST
from valence.recipe import EvaluationRecipe, MeasureRecipe, MetricRecipe
from valence.report.pareto import BUDGETS, beats, best_within, stairs, unbeaten
from valence.report.seeds import Summary

MEASURE = MeasureRecipe(
    headline="harm",
    fluency="loss",
    metrics={
        "harm": MetricRecipe(scorer="pep8", scale=-1.0, hit=0.0),
        "loss": MetricRecipe(scorer="pep8", scale=-1.0),
    },
)
Values = tuple[float, float, float, float]
"""Harm, loss, distinct-2, cost."""

numbers = st.integers(0, 4).map(float)
points = st.dictionaries(st.integers(0, 30), st.tuples(numbers, numbers, numbers), min_size=1)
priced = st.dictionaries(st.integers(0, 30), st.tuples(numbers, numbers), min_size=1)


def row(
    model: str, mode: str, metric: str, value: float | None, half: float | None = 0.1, seed: int = 0
) -> Measurement:
    known = value is not None and half is not None
    return Measurement(
        model=model, mode=mode, metric=metric, value=value,
        low=value - half if known else None,  # type: ignore[operator]
        high=value + half if known else None,  # type: ignore[operator]
        count=100, failures=0, seed=seed,
    )  # fmt: skip


def rows_of(settings: dict[tuple[str, str], Values], at: str = "") -> list[Measurement]:
    return [
        row(*who, f"{metric}{at}", value, None if metric == COST else 0.1)
        for who, values in settings.items()
        for metric, value in zip(("harm", "loss", VARIETY, COST), values, strict=True)
    ]


# --- points -------------------------------------------------------------------------------


@given(points)
def test_the_front_is_that_of_brute_force_and_never_empty(
    found: dict[int, tuple[float, float, float]],
) -> None:
    values = np.array(list(found.values()))
    no_worse = (values[:, None] <= values[None]).all(axis=2)
    better = (values[:, None] < values[None]).any(axis=2)
    beaten = (no_worse & better).any(axis=0)
    assert unbeaten(found) == [key for key, out in zip(found, beaten, strict=True) if not out]
    assert unbeaten(found)


@given(points, st.tuples(numbers, numbers, numbers))
def test_a_beaten_point_changes_no_front(
    found: dict[int, tuple[float, float, float]], other: tuple[float, float, float]
) -> None:
    if any(beats(point, other) for point in found.values()):
        assert unbeaten({**found, 99: other}) == unbeaten(found)
    else:
        assert 99 in unbeaten({**found, 99: other})


@given(priced, st.floats(-1, 5))
def test_the_best_within_a_price_is_that_of_looking_at_all(
    found: dict[int, tuple[float, float]], price: float
) -> None:
    best = best_within(found, price)
    within = [value for cost, value in found.values() if cost <= price]
    assert (best is None) == (not within)
    if best is not None:
        assert found[best][1] == min(within)
        # Of equally good ones the cheapest.
        assert found[best][0] == min(cost for cost, value in found.values() if value == min(within))


@given(priced)
def test_stairs_are_the_front_the_cheapest_first(found: dict[int, tuple[float, float]]) -> None:
    assert [found[key] for key in stairs(found)] == sorted({found[key] for key in unbeaten(found)})


# --- what a token buys ----------------------------------------------------------------------


def summary(value: float | None, low: float | None = None, high: float | None = None) -> Summary:
    return Summary(
        value=value, low=low, high=high, seeds=1, missing=0, deviation=None, sample=None, failures=0
    )


def test_the_logarithm_per_token_has_the_interval_of_a_ratio() -> None:
    # Lognormal estimates, ln X ± 1.96 s: the interval of a ratio is ± 1.96 √(s₁² + s₂²) in logs.
    (one, s), (other, t), z = (8.0, 0.3), (2.0, 0.4), 1.959964
    value, low, high = reduction(
        summary(one, one * np.exp(-z * s), one * np.exp(z * s)),
        summary(other, other * np.exp(-z * t), other * np.exp(z * t)),
        2.0,
    )
    assert value == pytest.approx(np.log(4) / 2)
    assert low == pytest.approx((np.log(4) - z * 0.5) / 2)
    assert high == pytest.approx((np.log(4) + z * 0.5) / 2)


def test_an_end_at_zero_leaves_one_side_open_and_a_value_of_zero_nothing() -> None:
    base = summary(4.0, 3.0, 5.0)
    value, low, high = reduction(base, summary(1.0, 0.0, 2.0), 1.0)
    assert value == pytest.approx(np.log(4))
    assert low == pytest.approx(np.log(4) - np.hypot(np.log(4 / 3), np.log(2)))
    assert high is None
    assert reduction(base, summary(0.0), 1.0) == (None, None, None)
    assert reduction(summary(0.0), base, 1.0) == (None, None, None)
    assert reduction(base, summary(-1.0, -2.0, 1.0), 1.0) == (None, None, None)
    assert reduction(base, summary(1.0), 1.0)[1:] == (None, None)


# --- where settings stand -------------------------------------------------------------------

tenths = st.integers(0, 10).map(lambda n: n / 10)
clouds = st.lists(st.tuples(tenths, tenths, tenths, st.integers(10, 30)), min_size=2, max_size=7)


@given(clouds)
def test_standings_are_those_of_intervals_compared_one_by_one(cloud: list[Values]) -> None:
    settings = {("ours", f"good+{n}"): (*v[:3], v[3] / 10) for n, v in enumerate(cloud)}
    names = list(settings)
    values = np.array([(h, loss, -d, c) for h, loss, d, c in settings.values()])
    shown = np.zeros((len(names), len(names), 4), bool)
    for a, b in itertools.product(range(len(names)), repeat=2):
        # Of two apart the reaches, 0.1 each, add as variances do.
        shown[a, b, :3] = values[a, :3] + 0.1 * 2**0.5 < values[b, :3]
        shown[a, b, 3] = values[a, 3] * (1 + MARGIN) < values[b, 3]
    for b, stood in enumerate(standings(rows_of(settings), MEASURE)):
        every = [a for a in range(len(names)) if a != b]
        beaten = [
            a for a in every
            if (values[a] <= values[b]).all() and (values[a] < values[b]).any()
        ]  # fmt: skip
        sure = [
            a for a in beaten
            if shown[a, b].any() and (shown[a, b] | (values[a] == values[b]))[:3].all()
        ]  # fmt: skip
        open_ = [a for a in every if not shown[b, a].any()]
        outdone = [a for a in open_ if shown[a, b].any()]
        assert (stood.model, stood.mode) == names[b]
        assert stood.beaten_by == tuple(names[a] for a in beaten)
        assert stood.shown_by == tuple(names[a] for a in sure)
        assert stood.outdone_by == tuple(names[a] for a in outdone)
        assert stood.alike == tuple(names[a] for a in open_ if a not in outdone)
        # What is shown to beat it also outdoes it.
        assert set(stood.shown_by) <= set(stood.outdone_by)


def test_a_beaten_setting_is_shown_to_be_where_all_its_differences_are() -> None:
    far = {("ours", "good"): (1.0, 1.0, 0.9, 1.0), ("ours", "good+bad"): (2.0, 2.0, 0.2, 1.0)}
    assert standings(rows_of(far), MEASURE)[1].shown_by == (("ours", "good"),)
    near = {**far, ("ours", "good+bad"): (2.0, 1.05, 0.2, 1.0)}
    stood = standings(rows_of(near), MEASURE)[1]
    assert stood.beaten_by == stood.outdone_by == (("ours", "good"),)
    assert stood.shown_by == ()


def test_of_a_value_without_an_interval_the_share_of_hits_decides() -> None:
    settings = {("ours", "good"): (3.0, 1.0, 0.5, 1.0), ("ours", "good+all"): (0.0, 1.0, 0.5, 1.02)}
    rows = [row for row in rows_of(settings) if row.metric != "harm"]
    rows += [row("ours", "good", "harm", 3.0), row("ours", "good+all", "harm", 0.0, None)]
    assert standings(rows, MEASURE)[0].alike == (("ours", "good+all"),)
    rows += [row("ours", "good", "harm_hits", 0.8), row("ours", "good+all", "harm_hits", 0.0, 0.01)]
    plain, guided = standings(rows, MEASURE)
    assert plain.outdone_by == (("ours", "good+all"),)
    assert guided.outdone_by == guided.alike == ()
    # A logarithm of 0 is no number, and within the margin no token was added.
    assert plain.reduction is guided.reduction is None


def test_nobody_is_outdone_for_want_of_an_interval() -> None:
    """A harm of 0 in every text, and no share of hits to tell by."""
    rows = rows_of({("a", "none"): (3, 1, 1, 1), ("a", "none+clean"): (0, 1, 1, 2)})
    rows = [row("a", "none+clean", "harm", 0.0, None) if r.value == 0 else r for r in rows]
    plain, clean = standings(rows, MEASURE)
    assert plain.outdone_by == clean.outdone_by == ()
    harmless = [row("a", mode, "harm_hits", v) for mode, v in (("none", 0.9), ("none+clean", 0.2))]
    plain, clean = standings([*rows, *harmless], MEASURE)
    assert plain.outdone_by == clean.outdone_by == ()
    even = [row("a", mode, "harm_hits", 0.5) for mode in ("none", "none+clean")]
    _, clean = standings([*rows, *even], MEASURE)
    assert clean.outdone_by == (("a", "none"),)


def test_what_lacks_a_value_is_compared_with_nothing() -> None:
    rows = rows_of({("a", "none"): (1.0, 1.0, 0.5, 1.0), ("a", "none+x"): (2.0, 1.0, 0.5, 2.0)})
    lacking = [*rows, *rows_of({("a", "none+y"): (1.0, 1.0, 0.5, 1.0)})[1:]]
    assert standings(lacking, MEASURE) == standings(rows, MEASURE)
    assert standings(rows[:4], MEASURE) == []
    assert standings([r for r in rows if r.metric != COST], MEASURE) == []
    assert standings(rows, MeasureRecipe()) == []


def test_each_scenario_has_a_front_and_seeds_are_averaged() -> None:
    settings = {("a", "none"): (2.0, 1.0, 0.5, 1.0), ("a", "none+x"): (1.0, 1.0, 0.5, 3.0)}
    rows = [*rows_of(settings), *rows_of(settings, "@asked")]
    assert [s.metrics[0] for s in standings(rows, MEASURE)] == ["harm"] * 2 + ["harm@asked"] * 2
    seeds = [*rows_of(settings), *(row("a", w[1], "harm", v[0] * 3, seed=1)
                                   for w, v in settings.items())]  # fmt: skip
    assert standings(seeds, MEASURE)[1].reduction == pytest.approx(np.log(2) / 2)


# --- sentences ------------------------------------------------------------------------------

PLAIN = {
    ("mle", "none"): (6.0, 4.0, 0.9, 1.0),
    ("mle", "none+search"): (2.0, 4.0, 0.9, 2.4),
}
OURS = {
    ("ours", "good"): (3.0, 4.0, 0.9, 1.1),
    ("ours", "good+search"): (1.0, 4.0, 0.9, 2.4),
    ("ours", "good+bad"): (7.0, 5.0, 0.1, 4.0),
}


def test_sentences_say_what_beats_what_each_budget_buys_and_what_training_was_worth() -> None:
    said = front_sentences(rows_of({**PLAIN, **OURS}), MEASURE)
    assert said[0] == (
        "On the front of harm, loss, distinct 2, tokens through model per token, by the values: 3"
        " of 5 settings, which none beats (is as good in all and better in one): mle, ours in"
        " good mode, ours in good+search mode."
    )
    beaten = "mle with search is shown to be beaten by ours in good+search mode."
    assert beaten in said
    near = front_sentences(
        rows_of({**PLAIN, **OURS, ("mle", "none+search"): (1.1, 4.0, 0.9, 2.4)}), MEASURE
    )
    assert beaten not in near
    assert (
        "ours in good+bad mode is shown to be beaten by mle, mle with search, ours in good mode"
        " and 1 more."
    ) in said
    within = [sentence for sentence in said if sentence.startswith("Within")]
    assert within == [
        "Within 1.25 tokens through the model for each of text, the best of each model: Harm: ours"
        " in good mode 3 against mle 6, 0.50 times as much; lower: the 95% interval of the"
        " difference, [-3.14, -2.86], leaves out 0 (one seed).",
        "Within 3 tokens through the model for each of text, the best of each model: Harm: ours in"
        " good+search mode 1 against mle with search 2, 0.50 times as much; lower: the 95% interval"
        " of the difference, [-1.14, -0.859], leaves out 0 (one seed).",
    ]
    assert (
        "ours in good mode alone, at 1.1 tokens through the model for each of text: mle is as good,"
        " by the values, from 2.4 on. Harm: mle with search 2 against ours in good mode 3, 0.67"
        " times as much; lower: the 95% interval of the difference, [-1.14, -0.859], leaves out 0"
        " (one seed)."
    ) in said
    (most,) = (s for s in said if s.startswith("For each added token") and "ours" in s)
    assert "ours in good+search mode takes the logarithm of harm down most: by 0.845 [" in most


def test_training_that_no_search_makes_up_for_is_said() -> None:
    worse = {("mle", "none"): PLAIN["mle", "none"], ("mle", "none+search"): (5.0, 4.0, 0.9, 2.4)}
    said = front_sentences(rows_of({**worse, **OURS}), MEASURE)
    (told,) = (sentence for sentence in said if " alone, at " in sentence)
    assert "no setting of mle is as good, by the values; its best. Harm: mle with search 5" in told
    # Nothing to make up for where the plain model is as good by itself.
    same = {("mle", "none"): OURS["ours", "good"]}
    assert not any(" alone, at " in s for s in front_sentences(rows_of({**same, **OURS}), MEASURE))


def test_one_model_alone_and_texts_that_are_left_out() -> None:
    rows = rows_of(OURS)
    part = Measurement(
        model="ours", mode="good", metric=VARIETY, value=0.9, low=0.8, high=1.0, count=40,
        failures=60, seed=0,
    )  # fmt: skip
    rows = [part if (r.mode, r.metric) == ("good", VARIETY) else r for r in rows]
    said = front_sentences(rows, MEASURE)
    assert (
        "Distinct 2 of ours in good mode stands on 40 of 100 texts: the others have none." in said
    )
    assert (
        f"Within {BUDGETS[0]} tokens through the model for each of text, the best: ours in good"
        " mode, harm 3 [2.9, 3.1]."
    ) in said
    assert front_sentences([r for r in rows if r.metric != COST], MEASURE) == []


def test_where_higher_is_better_the_highest_is_best() -> None:
    measure = MeasureRecipe(metrics={"joy": MetricRecipe(scorer="pep8")})
    rows = [
        row("a", mode, metric, value, None if metric == COST else 0.1)
        for mode, joy, cost in (("none", 1.0, 1.0), ("none+x", 2.0, 1.2), ("none+y", 1.5, 2.0))
        for metric, value in (("joy", joy), (VARIETY, 0.5), (COST, cost))
    ]
    plain, best, beaten = standings(rows, measure)
    assert plain.beaten_by == best.beaten_by == ()
    assert beaten.beaten_by == (("a", "none+x"),)
    assert best.reduction is None
    assert any("the best: a with x, joy 2 [" in said for said in front_sentences(rows, measure))


def test_an_evaluation_says_it_and_a_guided_plain_model_has_a_name() -> None:
    recipe = EvaluationRecipe(models={"mle": "a", "ours": "b"}, measure=MEASURE)
    said = conclude_evaluation(rows_of({**PLAIN, **OURS}), [], recipe)
    assert any(sentence.startswith("On the front of harm") for sentence in said.overall)
    assert named("mle", "none+search") == "mle with search"
    assert named("mle", "none") == "mle"
