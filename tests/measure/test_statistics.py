"""Every statistic against an independent computation or a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from valence.measure.rewards import distinct
from valence.measure.statistics import mean, ratio, share


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
