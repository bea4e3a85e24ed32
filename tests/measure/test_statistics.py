"""Every statistic against an independent computation or a simulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from valence.measure.statistics import (
    Estimate,
    clustered,
    corrected_rate,
    expected_maximum,
    independent_difference,
    mean,
    paired_ratios,
    prediction_powered,
    ratio,
    share,
    share_of,
    uncorrectable,
)
from valence.measure.statistics.intervals import skewed_interval


def test_the_mean_of_nothing_is_none() -> None:
    for estimate in (
        mean([], resamples=100, seed=0),
        share(0, 0),
        ratio([0.0], [0.0], resamples=100, seed=0),
    ):
        assert (estimate.value, estimate.low, estimate.high) == (None, None, None)


def test_one_item_has_a_value_and_no_interval() -> None:
    estimate = mean([3.0], resamples=100, seed=0)
    assert (estimate.value, estimate.low, estimate.count) == (3.0, None, 1)


def test_a_ratio_is_of_sums_and_its_interval_is_bootstrap_t() -> None:
    rng = np.random.default_rng(0)
    top, bottom = rng.poisson(3, 80).astype(float), rng.uniform(50, 200, 80)
    estimate = ratio(top.tolist(), bottom.tolist(), resamples=4000, seed=1)
    value = top.sum() / bottom.sum()

    def error(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
        """Of a ratio, by linearisation (Cochran 1977, equation 6.13)."""
        residual = x - x.sum() / y.sum() * y
        return float(residual.std(ddof=1) / np.sqrt(len(x)) / y.mean())

    seen = []
    for _ in range(4000):
        index = rng.integers(0, 80, 80)
        x, y = top[index], bottom[index]
        seen.append((x.sum() / y.sum() - value) / error(x, y))
    low, high = np.quantile(seen, [0.025, 0.975])
    expected = value - error(top, bottom) * np.array([high, low])
    assert estimate.value == pytest.approx(value)
    assert [estimate.low, estimate.high] == pytest.approx(expected, rel=0.02)


def test_of_many_normal_items_the_interval_is_that_of_students_t() -> None:
    values = np.random.default_rng(0).normal(3, 2, 30_000)
    estimate = mean(values, resamples=100, seed=0)
    expected = stats.t.interval(0.95, 29_999, values.mean(), stats.sem(values))
    assert [estimate.low, estimate.high] == pytest.approx(expected, rel=1e-4)


def test_the_correction_for_skewness_inverts_halls_transformation() -> None:
    values = np.random.default_rng(0).lognormal(0, 1, 40)
    influence = values - values.mean()
    low, high = skewed_interval(float(values.mean()), influence)
    assert low is not None and high is not None
    root = np.sqrt(40)
    skewness = float((influence**3).mean() / (influence**2).mean() ** 1.5)

    def transformed(end: float) -> float:
        t = (values.mean() - end) / stats.sem(values)
        return float(
            t
            + skewness * t**2 / (3 * root)
            + skewness**2 * t**3 / (27 * 40)
            + skewness / (6 * root)
        )

    reach = stats.t.ppf(0.975, 39)
    assert [transformed(low), transformed(high)] == pytest.approx([reach, -reach])
    assert high - values.mean() > values.mean() - low


def test_items_that_are_all_equal_have_no_interval() -> None:
    for value in (0.0, 0.1, -2.0):
        estimate = mean([value] * 50, resamples=100, seed=0)
        assert estimate.value == pytest.approx(value)
        assert (estimate.low, estimate.high, estimate.count) == (None, None, 50)
    same = ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], resamples=100, seed=0)
    assert (same.value, same.low) == (0.5, None)


@given(
    values=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0, 7.0]), min_size=1, max_size=40),
    scale=st.floats(0.01, 100),
)
def test_an_interval_holds_its_value_keeps_its_sign_and_scales(
    values: list[float], scale: float
) -> None:
    one = mean(values, resamples=200, seed=0)
    scaled = mean([-scale * value for value in values], resamples=200, seed=0)
    assert one.value is not None and scaled.value is not None
    assert scaled.value == pytest.approx(-scale * one.value)
    assert (one.low is None) == (scaled.low is None) == (len(set(values)) == 1)
    if one.low is not None and one.high is not None:
        assert 0 <= one.low <= one.value <= one.high
        assert [scaled.low, scaled.high] == pytest.approx([-scale * one.high, -scale * one.low])


def test_clusters_are_their_sums() -> None:
    rng = np.random.default_rng(0)
    values, owners = rng.exponential(1, 200), rng.integers(0, 50, 200)
    names = np.unique(owners)
    sums = [values[owners == name].sum() for name in names]
    sizes = [float((owners == name).sum()) for name in names]
    one = mean(values, clusters=owners, resamples=300, seed=1)
    other = ratio(sums, sizes, resamples=300, seed=1)
    assert (one.low, one.high) == (pytest.approx(other.low), pytest.approx(other.high))
    assert (one.value, one.count) == (pytest.approx(other.value), 200)
    with pytest.raises(ValueError, match="3 clusters for 2 items"):
        mean([1.0, 2.0], clusters=[0, 0, 1], resamples=100, seed=0)


def mean_of(values: npt.NDArray[np.float64]) -> Callable[[npt.NDArray[np.int64]], float]:
    return lambda index: float(values[index].mean())


def test_clusters_are_drawn_whole() -> None:
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 60, 500)  # Of different sizes, their items far apart.
    values = clusters + rng.normal(0, 1, 500)
    estimate = clustered(mean_of(values), clusters, resamples=3000, seed=1)
    sums, sizes = np.bincount(clusters, values, 60), np.bincount(clusters, minlength=60)
    expected = stats.bootstrap(
        (sums, sizes),
        lambda x, y, axis=-1: x.sum(axis) / y.sum(axis),
        paired=True,
        vectorized=True,
        method="BCa",
        n_resamples=9999,
        rng=rng,
    ).confidence_interval
    # Wider than SciPy's by what 60 clusters know less than infinitely many.
    wider = np.sqrt(60 / 59) * stats.t.ppf(0.975, 59) / 1.96
    middle = (expected.low + expected.high) / 2
    expected_ends = [middle + wider * (end - middle) for end in expected]
    assert estimate.value == pytest.approx(values.mean())
    assert [estimate.low, estimate.high] == pytest.approx(expected_ends, rel=0.02)
    assert estimate.count == 500


def test_an_interval_over_items_would_claim_too_much_where_items_of_a_cluster_agree() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(100):
        values = np.repeat(rng.normal(0, 1, 40), 8) + rng.normal(0, 0.3, 320)
        estimate = clustered(mean_of(values), np.arange(320), resamples=100, seed=trial)
        assert estimate.low is not None and estimate.high is not None
        hits += estimate.low <= 0 <= estimate.high
    assert hits / 100 < 0.7


def test_clusters_may_have_any_names_and_the_seed_decides() -> None:
    values = np.random.default_rng(0).normal(0, 1, 30)
    clusters = np.arange(30) % 7
    one = clustered(mean_of(values), clusters, resamples=100, seed=5)
    assert clustered(mean_of(values), clusters * 1000 - 4, resamples=100, seed=5) == one
    assert clustered(mean_of(values), clusters, resamples=100, seed=6) != one


def test_a_clustered_statistic_of_nothing_is_none() -> None:
    none = np.zeros(0, dtype=np.int64)
    nothing = clustered(lambda index: 1.0, none, resamples=10, seed=0)
    assert (nothing.value, nothing.low, nothing.high, nothing.count) == (None, None, None, 0)
    one = clustered(lambda index: 1.0, np.zeros(3, dtype=np.int64), resamples=10, seed=0)
    assert (one.value, one.low, one.high, one.count) == (1.0, None, None, 3)
    never = clustered(lambda index: None, np.arange(3), resamples=10, seed=0)
    assert (never.value, never.low, never.high, never.count) == (None, None, None, 3)


def test_resamples_without_a_value_are_left_out() -> None:
    def largest(index: npt.NDArray[np.int64]) -> float | None:
        return None if 0 not in index else float(index.max())

    estimate = clustered(largest, np.arange(3), resamples=300, seed=0)
    assert (estimate.value, estimate.low, estimate.high) == (2.0, 0.0, 2.0)


def test_a_share_has_the_exact_binomial_interval_even_at_zero() -> None:
    estimate = share(0, 20)
    assert estimate.value == estimate.low == 0.0
    assert estimate.high == pytest.approx(1 - 0.025 ** (1 / 20))
    estimate = share(7, 20)
    assert estimate.low == pytest.approx(stats.beta.ppf(0.025, 7, 14))
    assert estimate.high == pytest.approx(stats.beta.ppf(0.975, 8, 13))


def test_a_statistic_that_never_changes_has_no_interval() -> None:
    same = clustered(lambda index: 1.0, np.arange(20), resamples=10, seed=0)
    assert (same.value, same.low, same.high) == (1.0, None, None)


def test_a_share_by_clusters_counts_for_fewer_items() -> None:
    assert share_of([1.0, 0.0, 1.0]) == share(2, 3)
    owners = np.repeat(np.arange(30), 4)
    same = np.repeat(np.arange(30) % 3 == 0, 4).astype(float)
    # Every cluster of one mind: 120 items are worth fewer than 30.
    found, exact = share_of(same, clusters=owners), share(10, 30)
    assert found.value == exact.value == pytest.approx(1 / 3)
    assert found.low is not None and exact.low is not None
    assert found.high is not None and exact.high is not None
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.02)
    nobody = share_of(np.zeros(120), clusters=owners)
    assert (nobody.high, nobody.count) == (share(0, 30).high, 120)
    assert share_of([]).value is None
    half = share_of([0.5, 0.5, 1.0, 0.0])
    assert half.low == pytest.approx(stats.beta.ppf(0.025, 2, 3))


def test_the_expected_maximum_is_the_mean_over_all_subsets() -> None:
    values = np.random.default_rng(0).normal(0, 1, 9)
    for k in (1, 2, 5, 9):
        subsets = [max(some) for some in itertools.combinations(values, k)]
        found = expected_maximum([values], k, resamples=100, seed=0)
        assert found.value == pytest.approx(np.mean(subsets))
        groups = expected_maximum([values, values + 1], k, resamples=100, seed=0)
        assert groups.value == pytest.approx(np.mean(subsets) + 0.5)


def test_the_maximum_of_one_is_the_mean() -> None:
    values = np.random.default_rng(0).lognormal(0, 1, 60)
    found = expected_maximum([values], 1, resamples=100, seed=0)
    low, high = skewed_interval(float(values.mean()), values - values.mean())
    assert found.value == pytest.approx(values.mean())
    assert [found.low, found.high] == pytest.approx([low, high])


def test_the_maximum_needs_as_many_samples() -> None:
    some = expected_maximum([[1.0, 2.0], [5.0]], 2, resamples=100, seed=0)
    assert (some.value, some.low, some.count) == (2.0, None, 1)
    assert expected_maximum([[1.0]], 2, resamples=100, seed=0).value is None
    with pytest.raises(ValueError, match="maximum of 0"):
        expected_maximum([[1.0]], 0, resamples=100, seed=0)


def test_a_paired_difference_of_means_is_the_mean_of_differences() -> None:
    rng = np.random.default_rng(0)
    one, other, ones = rng.normal(0.3, 1, 40), rng.normal(0, 1, 40), np.ones(40)
    found = paired_ratios(one, ones, other, ones, resamples=9999, seed=0)
    expected = mean(one - other, resamples=9999, seed=0)
    assert found.value == pytest.approx(expected.value)
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high])
    assert found.count == 40


def test_a_paired_difference_of_ratios_is_that_of_the_ratios() -> None:
    rng = np.random.default_rng(0)
    hard = rng.gamma(2, 1, 300)
    tokens, others = rng.integers(20, 200, 300) * 1.0, rng.integers(20, 200, 300) * 1.0
    tops, other_tops = tokens * hard, others * (hard + 0.1)
    found = paired_ratios(tops, tokens, other_tops, others, resamples=999, seed=0)
    assert found.value == pytest.approx(tops.sum() / tokens.sum() - other_tops.sum() / others.sum())
    # By linearisation: the delta method on both ratios at once.
    moved = (tops - tops.sum() / tokens.sum() * tokens) / tokens.mean()
    moved -= (other_tops - other_tops.sum() / others.sum() * others) / others.mean()
    reach = 1.96 * moved.std(ddof=1) / math.sqrt(300)
    assert found.low == pytest.approx(found.value - reach, abs=0.15 * reach)
    assert found.high == pytest.approx(found.value + reach, abs=0.15 * reach)


def test_pairs_of_a_prompt_are_drawn_together() -> None:
    rng = np.random.default_rng(0)
    shifts, ones = np.repeat(rng.normal(0, 1, 20), 30), np.ones(600)
    zeros, prompts = np.zeros(600), np.repeat(np.arange(20), 30)
    both = (shifts, ones, zeros, ones)
    together = paired_ratios(*both, clusters=prompts, resamples=999, seed=0)
    alone = paired_ratios(*both, resamples=999, seed=0)
    assert together.low is not None and together.high is not None
    assert alone.low is not None and alone.high is not None
    assert together.high - together.low > 4 * (alone.high - alone.low)


def test_no_pairs_have_no_difference() -> None:
    nothing: list[float] = []
    empty = paired_ratios(nothing, nothing, nothing, nothing, resamples=100, seed=0)
    assert (empty.value, empty.count) == (None, 0)
    zeros = paired_ratios([1.0], [0.0], [1.0], [1.0], resamples=100, seed=0)
    assert zeros.value is None
    alone = paired_ratios([3.0], [1.0], [1.0], [1.0], resamples=100, seed=0)
    assert (alone.value, alone.low, alone.high) == (2.0, None, None)


def test_a_difference_of_two_shares_by_newcombes_published_example() -> None:
    """Newcombe 1998, Statistics in Medicine 17, table II (a): 56/70 less 48/80, method 10."""

    def wilson(hits: int, count: int) -> Estimate:
        found = stats.binomtest(hits, count).proportion_ci(method="wilson")
        return Estimate(value=hits / count, low=found.low, high=found.high, count=count)

    found = independent_difference(wilson(56, 70), wilson(48, 80))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    few = independent_difference(wilson(9, 10), wilson(3, 10))
    assert (few.low, few.high) == pytest.approx((0.1705, 0.8090), abs=1e-4)


def test_a_difference_of_two_means_apart_is_welchs() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(1, 1, 400), rng.normal(0, 3, 500)
    found = independent_difference(*(mean(each, resamples=4000, seed=0) for each in (one, other)))
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.03)
    assert (found.value, found.count) == (pytest.approx(one.mean() - other.mean()), 900)


def test_a_difference_needs_both_values_and_both_intervals() -> None:
    known = Estimate(value=1.0, low=0.5, high=2.0, count=5)
    bare = Estimate(value=1.0, low=None, high=None, count=1)
    missing = Estimate(value=None, low=None, high=None, count=0)
    assert independent_difference(known, missing).value is None
    assert independent_difference(missing, known).value is None
    half = independent_difference(known, bare)
    assert (half.value, half.low, half.high) == (0.0, None, None)
    assert independent_difference(bare, known).low is None
    skewed = independent_difference(known, known)
    assert skewed.low == pytest.approx(-math.hypot(0.5, 1.0)) and skewed.high == -skewed.low


COUNTS = {
    "true_positives": 80,
    "false_negatives": 20,
    "false_positives": 10,
    "true_negatives": 90,
}


def flags(hits: int, count: int) -> list[float]:
    return [1.0] * hits + [0.0] * (count - hits)


def test_a_corrected_rate_undoes_what_the_detector_does() -> None:
    # 40% true: 0.4 * 0.8 + 0.6 * 0.1 = 38% flagged (Rogan and Gladen 1978).
    found = corrected_rate(flags(380, 1000), **COUNTS)
    assert found.value == pytest.approx(0.4)
    assert found.low is not None and found.high is not None
    assert found.low < 0.4 < found.high
    # The error by the delta method (Rogan and Gladen's equation for the variance).
    variance = 0.38 * 0.62 / 1000 + 0.4**2 * 0.8 * 0.2 / 100 + 0.6**2 * 0.9 * 0.1 / 100
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(variance) / 0.7, rel=0.05)
    few = corrected_rate(flags(90, 1000), **COUNTS)  # Fewer flags than false alarms alone.
    assert (few.value, few.low) == (0.0, 0.0)
    assert few.high is not None
    assert few.high > 0.01
    # So few that the detector's errors cannot be the same here: nothing is certain then.
    assert corrected_rate(flags(5, 1000), **COUNTS).value is None


def test_a_perfect_detector_needs_no_correction_but_is_not_believed_blindly() -> None:
    many = {key: 10**7 * (key.startswith("true")) for key in COUNTS}
    found, plain = corrected_rate(flags(30, 100), **many), share(30, 100)
    assert found.value == pytest.approx(plain.value)
    # Agresti and Coull's interval, from its closed form.
    z = stats.norm.ppf(0.975)
    middle = (30 + z**2 / 2) / (100 + z**2)
    reach = z * np.sqrt(middle * (1 - middle) / (100 + z**2))
    assert [found.low, found.high] == pytest.approx([middle - reach, middle + reach], abs=1e-4)
    few = {key: 5 * (key.startswith("true")) for key in COUNTS}
    wide = corrected_rate(flags(30, 100), **few)
    assert wide.low is not None and found.low is not None
    assert wide.low < found.low


def test_flags_that_are_alike_within_prompts_count_as_one() -> None:
    # Each prompt's four samples say the same: they are as many as there are prompts, but for the
    # few degrees of freedom of those.
    once = flags(40, 100)
    alike = [flag for flag in once for _ in range(4)]
    found = corrected_rate(alike, clusters=np.repeat(np.arange(100), 4), **COUNTS)
    whole, naive = corrected_rate(once, **COUNTS), corrected_rate(alike, **COUNTS)
    assert found.value == whole.value == naive.value and found.count == 400
    assert None not in (found.low, found.high, whole.low, naive.low, whole.high, naive.high)
    widths = [one.high - one.low for one in (naive, whole, found)]
    assert widths[0] < widths[1] == pytest.approx(widths[2], rel=0.03)


def test_a_detector_that_cannot_be_corrected_says_why() -> None:
    assert uncorrectable(**COUNTS) is None
    chance = {"true_positives": 5, "false_negatives": 5, "false_positives": 5, "true_negatives": 5}
    assert corrected_rate(flags(1, 10), **chance).value is None
    assert "chance" in str(uncorrectable(**chance))
    for key, kind in (("true_positives", "positive"), ("true_negatives", "negative")):
        counts = {"true_positives": 0, "false_negatives": 0, "false_positives": 0}
        counts |= {"true_negatives": 0}
        counts["true_negatives" if kind == "positive" else "true_positives"] = 9
        assert key in counts
        assert f"no {kind} examples" in str(uncorrectable(**counts))
    assert corrected_rate(flags(0, 0), **COUNTS).value is None


def test_prediction_powered_means_of_useless_and_of_perfect_predictions() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(100) < 0.3
    constant = prediction_powered(np.ones(1000), np.ones(100), labels.astype(float))
    assert constant.value == pytest.approx(labels.mean())
    everything = rng.random(1100) < 0.3
    perfect = prediction_powered(everything[100:] * 1.0, everything[:100] * 1.0, everything[:100])
    assert perfect.value == pytest.approx(everything.mean(), abs=1e-3)
    assert prediction_powered([1.0], [], []).value is None
    with pytest.raises(ValueError, match="1 predictions for 2 labels"):
        prediction_powered([1.0], [1.0], [1.0, 0.0])


def test_prediction_powered_inference_by_its_formula() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 1, 2200)
    said = 0.7 * truth + rng.normal(0, 0.5, 2200) + 0.3
    found = prediction_powered(said[200:], said[:200], truth[:200])
    trust = np.cov(said[:200], truth[:200], bias=True)[0, 1] / (said.var() * (1 + 200 / 2000))
    value = trust * said[200:].mean() + (truth[:200] - trust * said[:200]).mean()
    variance = trust**2 * said[200:].var() / 2000 + (truth - trust * said)[:200].var() / 200
    assert found.value == pytest.approx(value)
    assert found.low is not None and found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.02)
    assert found.count == 2200
