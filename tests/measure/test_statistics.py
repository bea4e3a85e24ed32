"""Every statistic against an independent computation or a simulation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from valence.measure.rewards import distinct
from valence.measure.statistics import clustered, mean, ratio, share


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


def test_a_ratio_is_of_sums_and_its_interval_that_of_resampled_items() -> None:
    rng = np.random.default_rng(0)
    top, bottom = rng.poisson(3, 80).astype(float), rng.uniform(50, 200, 80)
    estimate = ratio(top.tolist(), bottom.tolist(), resamples=4000, seed=1)
    assert estimate.value == pytest.approx(top.sum() / bottom.sum())
    draws = rng.integers(0, 80, (4000, 80))
    expected = np.quantile(top[draws].sum(1) / bottom[draws].sum(1), [0.025, 0.975])
    assert [estimate.low, estimate.high] == pytest.approx(expected, rel=0.03)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(300):
        values = rng.exponential(1.0, 250)
        estimate = mean(values.tolist(), resamples=400, seed=trial)
        assert estimate.low is not None and estimate.high is not None
        hits += estimate.low <= 1.0 <= estimate.high
    assert 0.90 <= hits / 300 <= 0.98


def mean_of(values: npt.NDArray[np.float64]) -> Callable[[npt.NDArray[np.int64]], float]:
    return lambda index: float(values[index].mean())


def test_clusters_are_drawn_whole() -> None:
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 40, 500)  # Of different sizes, their items far apart.
    values = clusters + rng.normal(0, 1, 500)
    estimate = clustered(mean_of(values), clusters, resamples=3000, seed=1)
    sums = np.bincount(clusters, values, 40)
    sizes = np.bincount(clusters, minlength=40)
    draws = rng.integers(0, 40, (3000, 40))
    expected = np.quantile(sums[draws].sum(1) / sizes[draws].sum(1), [0.025, 0.975])
    assert estimate.value == pytest.approx(values.mean())
    assert [estimate.low, estimate.high] == pytest.approx(expected, rel=0.03)
    assert estimate.count == 500


def test_a_clustered_interval_covers_the_truth_where_items_of_a_cluster_agree() -> None:
    rng = np.random.default_rng(3)
    hits = {"clusters": 0, "items": 0}
    for trial in range(150):
        clusters = np.repeat(np.arange(40), 8)
        values = rng.normal(0, 1, 40)[clusters] + rng.normal(0, 0.3, 320)
        for name, owners in (("clusters", clusters), ("items", np.arange(320))):
            estimate = clustered(mean_of(values), owners, resamples=150, seed=trial)
            assert estimate.low is not None and estimate.high is not None
            hits[name] += estimate.low <= 0 <= estimate.high
    assert 0.88 <= hits["clusters"] / 150 <= 0.99
    assert hits["items"] / 150 < 0.7  # What a bootstrap over items would claim.


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


def test_distinct_counts_word_pairs_within_a_text() -> None:
    assert distinct("a b a b", 2) == 2 / 3
    assert distinct("one", 2) is None
