"""Conclusions say what is shown, on what it rests, and where conditional training is not best."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from valence.data import Measurement
from valence.measure.compare import Comparison, compare, verdict
from valence.measure.conclude import conclude
from valence.measure.paired import Who
from valence.measure.statistics import Estimate
from valence.recipe import Recipe, build_recipe


def row(
    model: str,
    mode: str,
    value: float | None,
    *,
    seed: int = 0,
    metric: str = "harm",
    half: float = 1.0,
) -> Measurement:
    ends = (None, None) if value is None else (value - half, value + half)
    return Measurement(
        model=model, mode=mode, metric=metric, value=value, low=ends[0], high=ends[1],
        count=9, failures=0, seed=seed,
    )  # fmt: skip


def recipe(*objectives: str, scale: float = -1.0, **more: Any) -> Recipe:
    return build_recipe(
        {
            "name": "tiny",
            "models": {name: {"objective": name} for name in objectives},
            "measure": {
                "headline": "harm",
                "metrics": {"harm": {"scorer": "pep8", "scale": scale}},
            },
            **more,
        }
    )


def said(rows: list[Measurement], of: Recipe) -> list[str]:
    return list(conclude(rows, of, best="good", worst="bad").sentences)


# --- two models ---------------------------------------------------------------------------


def test_with_one_seed_the_interval_of_the_difference_decides() -> None:
    def gap(value: float) -> Comparison:
        rows = [row("c", "good", value), row("m", "none", 10)]
        found = compare(rows, "harm", ("c", "good"), ("m", "none"))
        assert found is not None and found.seeds == 1 and found.difference is not None
        return found

    apart, touching, close = gap(4), gap(8.5), gap(9)
    assert apart.lower and not apart.higher and apart.ratio == 0.4
    # Intervals of 1 to either side overlap; that of the difference reaches the root of 2.
    assert touching.difference == pytest.approx((-1.5 - 2**0.5, -1.5 + 2**0.5))
    assert touching.lower and not close.lower and not close.higher
    assert verdict(touching) == (
        "lower: the 95% interval of the difference, [-2.91, -0.0858], leaves out 0 (one seed)"
    )
    rows = [row("c", "good", 4)]
    assert compare(rows, "harm", ("c", "good"), ("x", "none")) is None


def test_the_difference_on_the_same_items_goes_before_two_values_apart() -> None:
    rows = [row("c", "good", 9, half=5), row("m", "none", 10, half=5)]

    def known(metric: str, left: Who, right: Who, seed: int) -> Estimate | None:
        assert (metric, left, right, seed) == ("harm", ("c", "good"), ("m", "none"), 0)
        return Estimate(value=-1.0, low=-1.2, high=-0.8, count=9)

    found = compare(rows, "harm", ("c", "good"), ("m", "none"), paired=known)
    assert found is not None and found.lower
    assert "of the difference on the same items, [-1.2, -0.8], leaves out 0" in verdict(found)
    # Items that do not vary tell nothing of how they would: then both values do.
    bare = Estimate(value=-1.0, low=None, high=None, count=9)
    rest = compare(rows, "harm", ("c", "good"), ("m", "none"), paired=lambda *_: bare)
    assert rest is not None and not rest.lower and "of the difference, [" in verdict(rest)


def test_few_seeds_say_what_each_of_them_shows() -> None:
    rows = [row("c", "good", value, seed=seed) for seed, value in enumerate((3.0, 4.0))]
    rows += [row("m", "none", value, seed=seed) for seed, value in enumerate((15.0, 22.0))]
    found = compare(rows, "harm", ("c", "good"), ("m", "none"))
    assert found is not None and not found.lower and found.within_each == "lower"
    assert verdict(found).endswith("holds 0 (2 seeds), but lower within each of the 2 seeds")
    mixed = [*rows[:3], row("m", "none", 4.5, seed=1)]
    other = compare(mixed, "harm", ("c", "good"), ("m", "none"))
    assert other is not None and verdict(other).endswith("holds 0 (2 seeds)")


@pytest.mark.parametrize(
    ("lefts", "rights"),
    [((4.0, 5.5, 6.0), (9.0, 9.5, 11.5)), ((4.0, 9.0), (10.0, 10.5)), ((8.0, 9.0), (8.5, 8.0))],
)
def test_with_several_seeds_the_paired_t_interval_decides(
    lefts: tuple[float, ...], rights: tuple[float, ...]
) -> None:
    rows = [row("c", "good", value, seed=seed) for seed, value in enumerate(lefts)]
    rows += [row("m", "none", value, seed=seed) for seed, value in enumerate(rights)]
    found = compare(rows, "harm", ("c", "good"), ("m", "none"))
    oracle = stats.ttest_rel(lefts, rights)
    interval = oracle.confidence_interval(0.95)
    assert found is not None and found.seeds == len(lefts)
    assert found.difference == pytest.approx((interval.low, interval.high))
    assert (found.lower or found.higher) == (oracle.pvalue < 0.05)
    assert found.lower == (interval.high < 0) and found.higher == (interval.low > 0)


def test_what_is_hard_for_both_does_not_hide_what_seeds_show() -> None:
    rows = [
        row(model, "none", value + seed, seed=seed, half=50.0)
        for model, values in (("a", (1.0, 1.1, 1.2)), ("b", (3.0, 3.2, 3.1)))
        for seed, value in enumerate(values)
    ]
    both = Estimate(value=-2.0, low=-2.3, high=-1.7, count=9)
    found = compare(rows, "harm", ("a", "none"), ("b", "none"), paired=lambda *_: both)
    assert found is not None and found.lower
    # Two values apart, each of them unsure by 50, are not told apart by seeds that agree.
    apart = compare(rows, "harm", ("a", "none"), ("b", "none"))
    assert apart is not None and not apart.lower


def test_seeds_without_any_spread_claim_nothing_by_themselves() -> None:
    rows = [row("a", "none", 0.0, seed=seed) for seed in (0, 1)]
    rows += [row("b", "none", 0.5, seed=seed) for seed in (0, 1)]
    found = compare(rows, "harm", ("a", "none"), ("b", "none"))
    assert found is not None and found.difference is None and not found.lower
    assert verdict(found) == "not shown to differ: the seeds have no spread (in each of 2 seeds)"
    far = [replace(each, low=each.value, high=each.value) for each in rows]
    shown = compare(far, "harm", ("a", "none"), ("b", "none"))
    assert shown is not None and shown.lower and verdict(shown) == "lower (in each of 2 seeds)"


def test_a_seed_that_one_of_them_lacks_is_left_out() -> None:
    rows = [row("a", "none", 1.0), row("b", "none", 9.0), row("a", "none", 5.0, seed=1)]
    rows += [row("b", "none", None, seed=1)]
    found = compare(rows, "harm", ("a", "none"), ("b", "none"))
    assert found is not None and (found.seeds, found.left_value) == (1, 1.0)


# --- a run --------------------------------------------------------------------------------


def test_feedback_is_credited_only_beyond_the_placebo() -> None:
    rows = [row("mle", "none", 20), row("conditional", "good", 5), row("conditional", "bad", 30),
            row("placebo", "good", 6)]  # fmt: skip
    of = recipe("mle", "conditional", "placebo")
    text = " ".join(said(rows, of))
    assert "no effect of feedback beyond that of control tokens is shown" in text
    assert "0.25 times as much" in text
    rows[-1] = row("placebo", "good", 19)
    assert "feedback, not the mere presence of control tokens" in " ".join(said(rows, of))


@pytest.mark.parametrize(("scale", "credited"), [(1.0, True), (-1.0, False)])
def test_of_a_headline_that_is_no_harm_higher_is_better(scale: float, credited: bool) -> None:
    rows = [row("conditional", "good", 9), row("placebo", "good", 2)]
    text = " ".join(said(rows, recipe("conditional", "placebo", scale=scale)))
    assert ("feedback, not the mere presence" in text) == credited
    best = "conditional in good mode, 9" if scale > 0 else "placebo in good mode, 2"
    assert f"among 2 models and modes: {best}" in text


def test_it_is_said_where_conditional_is_not_best() -> None:
    of = recipe("mle", "conditional", "filtering", "verdict")
    rows = [row("mle", "none", 20), row("conditional", "good", 6), row("conditional", "bad", 30),
            row("filtering", "none", 2), row("verdict", "banned", 19)]  # fmt: skip
    text = said(rows, of)
    assert text[-1] == (
        "Best by the mean of harm among 5 models and modes: filtering, 2. The conditional model is"
        " not best: conditional in good mode, 6; the best is lower: the 95% interval of the"
        " difference, [-5.41, -2.59], leaves out 0"
        " (one seed)."
    )
    assert any("filtering 2 against mle 20, 0.10 times as much; lower" in one for one in text)
    assert any("verdict in banned mode 19 against mle 20" in one for one in text)
    rows[3] = row("filtering", "none", 7)
    assert "conditional in good mode, 6. Next among the others: filtering, 7" in said(rows, of)[-1]
    assert "not shown to differ" in said(rows, of)[-1]


def test_it_is_said_which_are_beaten_by_none_where_ability_counts_too() -> None:
    of = recipe("mle", "conditional", "filtering", "placebo")
    rows = [row("mle", "none", 20), row("conditional", "good", 6), row("conditional", "bad", 30),
            row("filtering", "none", 2), row("placebo", "good", 19)]  # fmt: skip
    losses = (3.5, 3.7, 3.6, 4.5, 3.6)
    for one, loss in zip(list(rows), losses, strict=True):
        rows.append(replace(one, metric="loss_per_text_token", value=loss))
    assert said(rows, of)[-1] == (
        "Beaten by none in both harm and loss per text token, by the means of 5: filtering"
        " (2, 4.5); conditional in good mode (6, 3.7); placebo in good mode (19, 3.6); mle"
        " (20, 3.5)."
    )
    rows = [one for one in rows if one.mode != "bad"]
    assert "Best by the mean" in said(rows, of)[-1]  # None is beaten: nothing to say.


def test_an_objective_with_options_is_known_by_its_name() -> None:
    of = recipe(
        models={
            "plain": {"objective": {"mle": {}}},
            "strict": {"objective": {"unlikelihood": {"alpha": 1.0}}},
        }
    )
    rows = [row("plain", "none", 9), row("strict", "none", 3)]
    assert "strict 3 against plain 9" in said(rows, of)[0]


def test_models_of_a_sweep_are_compared_at_equal_budgets_in_one_sentence() -> None:
    of = recipe(
        "mle", "conditional", "filtering",
        train={"tokens": 2000},
        sweep=[{"models": ["mle", "conditional"], "over": {"train.tokens": [1000, 2000, 4000]}}],
    )  # fmt: skip
    harm = {"mle": (20.0, 15.0, 10.0), "conditional": (19.5, 5.0, 2.0)}
    rows = [row("filtering", "none", 4.0)]
    for at, tokens in enumerate((1000, 2000, 4000)):
        rows.append(row(f"mle.tokens-{tokens}", "none", harm["mle"][at]))
        rows.append(row(f"conditional.tokens-{tokens}", "good", harm["conditional"][at]))
    text = said(rows, of)
    assert text[0] == (
        "Harm: conditional in good mode against mle, at 3 settings: 0.20 to 0.97 times as much;"
        " lower at 2 of 3 (tokens 2,000; tokens 4,000), not shown to differ at 1."
    )
    assert "filtering 4 against mle.tokens-2000 15" in text[1]
    assert [" at tokens 1,000" in one for one in text[2:]] == [True, False, False]
    assert "conditional.tokens-1000 in good mode, 19.5" in text[2]
    assert "The conditional model is not best" in text[3]
    assert "at tokens 4,000: conditional.tokens-4000 in good mode, 2." in text[4]


def test_nothing_measured_concludes_nothing() -> None:
    assert said([], recipe("mle", "conditional", "placebo", "filtering")) == []


def test_it_is_said_whether_a_non_linear_readout_sees_more() -> None:
    rows = [
        row(model, mode, value, metric="verdict_auroc", half=0.02)
        for model, mode, value in (
            ("mle", "linear", 0.8), ("mle", "mlp", 0.9), ("verdict", "linear", 0.95),
            ("verdict", "mlp", 0.95),
        )
    ]  # fmt: skip
    told, *judges = said(rows, recipe("mle", "verdict"))
    assert [sentence.split(":")[0] for sentence in judges] == [
        "Best judge of what mle reads", "Best judge of what verdict reads",
            "Best of the models' best judges",
    ]  # fmt: skip
    assert told == (
        "Verdict AUROC: a non-linear read-out against a linear one, at 2 settings: 1.00 to 1.12"
        " times as much; higher at 1 of 2 (mle), not shown to differ at 1."
    )
