"""Ranking, calibration and selection against scikit-learn, slow loops and closed forms."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import brier_score_loss, roc_auc_score

from valence.measure.calibration import (
    auroc,
    auroc_difference,
    auroc_value,
    brier,
    calibration_error,
    ece,
    pairwise_accuracy,
    reliability,
    reliability_series,
    selective,
    selective_series,
    threshold_at_false_alarm,
)
from valence.measure.statistics import share

NAN = float("nan")
FOUR = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@given(items=st.lists(st.tuples(FOUR, st.booleans()), min_size=2, max_size=40))
def test_auroc_is_scikit_learns_with_ties_by_half(items: list[tuple[float, bool]]) -> None:
    scores, truth = [score for score, _ in items], [true for _, true in items]
    value = auroc_value(scores, truth)
    if len(set(truth)) < 2:
        assert value is None
        return
    assert value == pytest.approx(roc_auc_score(truth, scores))
    estimate = auroc(scores, truth)
    assert estimate.value == value
    if estimate.low is not None and estimate.high is not None:
        assert 0 <= estimate.low <= value <= estimate.high <= 1
    turned = auroc([-score for score in scores], truth)
    assert turned.value == pytest.approx(1 - value)
    if estimate.low is not None:
        assert turned.high == pytest.approx(1 - estimate.low)


def delong(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Area and variance by the structural components, one pair at a time."""
    wins = (scores[truth][:, None] > scores[~truth]) + 0.5 * (
        scores[truth][:, None] == scores[~truth]
    )
    return float(wins.mean()), float(
        wins.mean(1).var(ddof=1) / truth.sum() + wins.mean(0).var(ddof=1) / (~truth).sum()
    )


def test_the_interval_of_auroc_is_delongs_on_the_logit_scale() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(1000) < 300
    scores = rng.normal(0, 1, 1000).round(1) + truth
    found = auroc(scores, truth)
    value, variance = delong(scores, truth)
    away = 1.96 * math.sqrt(variance) / (value * (1 - value))
    odds = math.log(value / (1 - value))
    expected = [1 / (1 + math.exp(-odds + sign * away)) for sign in (1, -1)]
    assert found.value == pytest.approx(value)
    assert [found.low, found.high] == pytest.approx(expected, rel=1e-3)


def test_the_difference_of_two_judges_is_delongs() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(400) < 0.4
    shared = rng.normal(0, 1, 400)
    one, other = (shared + rng.normal(0, 0.5, 400) + shift * truth for shift in (1.2, 0.9))
    found = auroc_difference(one, other, truth)
    # Structural components of both areas, one item at a time.
    parts = []
    for scores in (one, other):
        above = (scores[truth][:, None] > scores[~truth][None, :]).astype(float)
        parts.append((above.mean(axis=1), above.mean(axis=0)))
    (one_1, one_0), (other_1, other_0) = parts
    gap = one_1.mean() - other_1.mean()
    error = math.sqrt(
        (one_1 - other_1).var(ddof=1) / truth.sum() + (one_0 - other_0).var(ddof=1) / (~truth).sum()
    )
    assert found.value == pytest.approx(gap)
    assert found.low == pytest.approx(gap - 1.96 * error, abs=0.02 * error)
    assert found.high == pytest.approx(gap + 1.96 * error, abs=0.02 * error)
    apart = [auroc(scores, truth) for scores in (one, other)]
    widths = [each.high - each.low for each in apart]  # type: ignore[operator]
    assert found.high - found.low < 0.7 * math.hypot(*widths)


def test_judges_that_rank_alike_or_not_at_all_have_no_interval() -> None:
    scores, truth = [0.1, 0.4, 0.3, 0.9], [False, True, False, True]
    same = auroc_difference(scores, [10 * each for each in scores], truth)
    assert (same.value, same.low, same.high) == (0.0, None, None)
    assert auroc_difference(scores, scores, [True] * 4).value is None
    alone = auroc_difference(scores, scores[::-1], truth, clusters=[0, 0, 0, 0])
    assert alone.value == 1.0 and alone.low is None
    apart = auroc_difference(scores, [0.9, 0.1, 0.8, 0.2], truth)
    assert (apart.value, apart.low, apart.high) == (1.0, None, None)


def test_repeated_items_of_a_document_add_nothing_to_what_is_known() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(100) < 40
    scores = rng.normal(0, 1, 100) + truth
    once, owners = auroc(scores, truth), np.repeat(np.arange(100), 7)
    often = auroc(np.repeat(scores, 7), np.repeat(truth, 7), clusters=owners)
    assert [often.value, often.low, often.high] == pytest.approx([once.value, once.low, once.high])
    assert (once.count, often.count) == (100, 700)


def test_auroc_against_a_bootstrap_over_documents() -> None:
    rng = np.random.default_rng(1)
    owners = np.repeat(np.arange(80), 6)
    truth = rng.random(480) < np.repeat(rng.beta(2, 2, 80), 6)
    scores = np.repeat(rng.normal(0, 1, 80), 6) + rng.normal(0, 1, 480) + truth
    found = auroc(scores, truth, clusters=owners)
    seen = []
    for _ in range(1000):
        index = (rng.integers(0, 80, 80)[:, None] * 6 + np.arange(6)).ravel()
        seen.append(roc_auc_score(truth[index], scores[index]))
    assert [found.low, found.high] == pytest.approx(np.quantile(seen, [0.025, 0.975]), abs=0.012)


def test_perfect_separation_is_not_certain() -> None:
    found = auroc([1.0] * 10 + [0.0] * 20, [True] * 10 + [False] * 20)
    # Newcombe 2006, method 5: at the lower end 1 is as far away as 1.96 standard errors.
    low, others = found.low, 14.0
    assert low is not None
    one, two = low / (2 - low), 2 * low**2 / (1 + low)
    variance = (low * (1 - low) + others * (one - low**2) + others * (two - low**2)) / 200
    assert 1 - low == pytest.approx(stats.norm.ppf(0.975) * math.sqrt(variance))
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.8 < low < 0.95
    worst = auroc([0.0] * 10 + [1.0] * 20, [True] * 10 + [False] * 20)
    assert (worst.value, worst.low, worst.high) == (0.0, 0.0, pytest.approx(1 - low))
    tied = auroc([0.5] * 30, [True] * 10 + [False] * 20)
    assert (tied.value, tied.low) == (0.5, None)


@pytest.mark.parametrize("owners", [[0, 1, 2, 3], [0, 0, 1, 2], [1, 0, 0, 0]])
def test_a_kind_of_one_item_or_cluster_leaves_the_area_open(owners: list[int]) -> None:
    found = auroc([0.9, 0.4, 0.3, 0.95], [True, False, False, False], clusters=owners)
    assert (found.value, found.low, found.high) == (pytest.approx(2 / 3), None, None)
    apart = auroc([0.9, 0.8, 0.3, 0.2], [True, True, False, False], clusters=[0, 0, 1, 2])
    assert (apart.value, apart.low) == (1.0, None)


def test_what_cannot_be_ranked_is_none() -> None:
    for scores, truth in (([], []), ([0.1, 0.2], [True, True]), ([0.1, NAN], [True, False])):
        assert auroc_value(scores, truth) is None
        assert (auroc(scores, truth).value, auroc(scores, truth).count) == (None, 0)
    assert auroc([0.1, 0.2], [False, True], clusters=[3, 3]).low is None
    with pytest.raises(ValueError, match="2 scores for 1 truths"):
        auroc([0.1, 0.2], [True])


def test_pairs_count_ties_by_half() -> None:
    found = pairwise_accuracy([1.0, 2.0, 3.0, NAN], [0.0, 2.0, 4.0, 1.0])
    assert (found.value, found.count) == (0.5, 3)
    assert found.low == pytest.approx(stats.beta.ppf(0.025, 1.5, 2.5))
    assert pairwise_accuracy([1.0] * 7 + [0.0] * 3, [0.5] * 10) == share(7, 10)
    twice = pairwise_accuracy([1.0] * 20, [0.5] * 20, clusters=[i // 2 for i in range(20)])
    assert twice.low == share(10, 10).low
    with pytest.raises(ValueError, match="no pairs"):
        pairwise_accuracy([1.0], [])


@given(items=st.lists(st.tuples(FOUR, st.booleans()), min_size=1), rate=st.sampled_from([0, 0.3]))
def test_a_threshold_is_the_lowest_that_keeps_the_rate(
    items: list[tuple[float, bool]], rate: float
) -> None:
    scores, truth = np.array([s for s, _ in items]), np.array([t for _, t in items])
    found = threshold_at_false_alarm(scores, truth, rate)
    if truth.all():
        assert found is None
        return
    candidates = [*sorted(set(scores)), math.inf]
    allowed = [t for t in candidates if np.mean(scores[~truth] >= t) <= rate]
    assert found is not None
    assert found.threshold == min(allowed)
    flagged = scores >= found.threshold
    assert found.false_alarms.value == np.mean(flagged[~truth])
    assert found.detected.value == (np.mean(flagged[truth]) if truth.any() else None)


def test_brier_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    said, truth = rng.random(200), rng.random(200) < 0.4
    found = brier(said, truth, resamples=200, seed=0)
    assert found.value == pytest.approx(brier_score_loss(truth, said))
    assert brier([], [], resamples=10, seed=0).value is None
    assert brier([NAN], [True], resamples=10, seed=0).value is None
    with pytest.raises(ValueError, match="1 probabilities for 0 truths"):
        brier([0.5], [], resamples=10, seed=0)


def test_the_plain_calibration_error_by_hand() -> None:
    rng = np.random.default_rng(0)
    said = rng.random(300)
    truth = rng.random(300) < said**2
    order = np.argsort(said)
    parts = np.array_split(order, 10)
    expected = sum(30 / 300 * abs(said[part].mean() - truth[part].mean()) for part in parts)
    assert calibration_error(said, truth, bins=10) == pytest.approx(expected)
    # Two probabilities are two bins, however many were asked for: 0.5 * 0.2 + 0.5 * 0.4.
    said, truth = np.repeat([0.2, 0.9], 10), np.tile([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], 2)
    truth[10:] = np.arange(10) < 5
    assert calibration_error(said, truth) == pytest.approx(0.5 * 0.2 + 0.5 * 0.4)


def test_the_calibration_error_of_a_calibrated_model_is_about_none() -> None:
    rng = np.random.default_rng(0)
    plain, found = [], []
    for trial in range(40):
        said = rng.random(600)
        truth = rng.random(600) < said
        plain.append(calibration_error(said, truth) or 0.0)
        estimate = ece(said, truth, seed=trial)
        assert estimate.value is not None and estimate.low is not None
        found.append(estimate.value)
    # Half of the noisy errors are below their median: those are 0.
    assert np.mean(plain) > 0.04
    assert np.median(found) < 0.02
    assert np.mean(np.array(found) == 0) > 0.2


def test_where_nothing_varies_or_too_little_is_there_nothing_is_certain() -> None:
    all_good = ece([0.3] * 50, [True] * 50, seed=0)
    assert (all_good.value, all_good.low, all_good.high) == (pytest.approx(0.7), None, None)
    tiny = ece([2.7e-8] * 50, [False] * 50, seed=0)
    assert tiny.low is None
    few = ece(np.linspace(0.1, 0.9, 20), np.arange(20) % 2 == 0, seed=0)
    assert (few.value, few.count) == (None, 20)
    documents = np.repeat(np.arange(10), 30)
    rng = np.random.default_rng(0)
    said = rng.random(300)
    assert ece(said, rng.random(300) < said, clusters=documents, seed=0).value is None


def test_a_large_calibration_error_is_the_plain_one() -> None:
    rng = np.random.default_rng(0)
    said = np.full(20_000, 0.9) + rng.normal(0, 0.01, 20_000)
    truth = rng.random(20_000) < 0.5
    found, plain = ece(said, truth, seed=0), calibration_error(said, truth)
    assert found.value == pytest.approx(plain, abs=1e-3)
    error = 0.5 / math.sqrt(20_000)
    assert found.low == pytest.approx(0.4 - 1.96 * error, abs=0.004)
    assert found.high == pytest.approx(0.4 + 1.96 * error, abs=0.004)


def test_repeated_items_widen_nothing_and_narrow_nothing() -> None:
    rng = np.random.default_rng(0)
    said = rng.random(400)
    truth = rng.random(400) < said**2
    once = ece(said, truth, seed=0)
    often = ece(
        np.repeat(said, 5), np.repeat(truth, 5), clusters=np.repeat(np.arange(400), 5), seed=0
    )
    assert [often.value, often.low, often.high] == pytest.approx(
        [once.value, once.low, once.high], abs=1e-6
    )
    assert ece([], [], seed=0).value is None
    assert ece([0.5, 0.5], [True, True], clusters=[1, 1], seed=0).low is None


def test_reliability_bins_tell_frequency_by_probability() -> None:
    rng = np.random.default_rng(0)
    said = rng.random(100)
    truth = rng.random(100) < said
    bins = reliability(said, truth, bins=5)
    for part, each in zip(np.array_split(np.argsort(said), 5), bins, strict=True):
        assert each.probability == pytest.approx(said[part].mean())
        assert each.observed == share(int(truth[part].sum()), 20)
    names = {"name": "verdict", "model": "m", "mode": "none", "seed": 1}
    series = reliability_series(said, truth, bins=5, **names)
    assert (series.kind, series.x[0], series.count) == (
        "reliability",
        bins[0].probability,
        (20,) * 5,
    )
    assert series.y == tuple(each.observed.value for each in bins)
    assert reliability([], []) == []
    with pytest.raises(ValueError, match="missing"):
        reliability([NAN], [True])


def test_selective_accuracy_by_hand() -> None:
    sure, right = [0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1]
    found = selective(sure, right, coverages=(0.25, 0.5, 0.75, 1.0))
    assert [each.value for each in found.accuracy] == pytest.approx([1, 1, 2 / 3, 3 / 4])
    assert found.accuracy[2] == share(2, 3)
    assert found.risk.value == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    series = selective_series(found, name="p_true", model="m", mode="good", seed=0)
    assert (series.kind, series.x, series.count) == (
        "selective",
        (0.25, 0.5, 0.75, 1.0),
        (1, 2, 3, 4),
    )
    nothing = selective([], [])
    assert nothing.risk.value is None and nothing.accuracy[0].value is None
    with pytest.raises(ValueError, match="1 confidences for 0 answers"):
        selective([0.1], [])


@given(
    items=st.lists(st.tuples(FOUR, st.booleans()), min_size=1, max_size=30), seed=st.integers(0, 9)
)
def test_the_order_of_equal_confidences_does_not_matter(
    items: list[tuple[float, bool]], seed: int
) -> None:
    sure, right = np.array([s for s, _ in items]), np.array([r for _, r in items])
    mixed = np.random.default_rng(seed).permutation(len(items))
    one, other = selective(sure, right), selective(sure[mixed], right[mixed])
    assert one.risk.value == pytest.approx(other.risk.value)
    for a, b in zip(one.accuracy, other.accuracy, strict=True):
        assert a.value == pytest.approx(b.value)
    assert one.accuracy[-1].value == pytest.approx(right.mean())


def test_the_risk_of_ties_is_the_mean_over_their_orders() -> None:
    rng = np.random.default_rng(0)
    sure = rng.integers(0, 4, 12).astype(float)
    right = rng.random(12) < 0.5
    risks = []
    for _ in range(4000):
        order = np.lexsort((rng.random(12), -sure))
        risks.append(np.mean(np.cumsum(~right[order]) / np.arange(1, 13)))
    assert selective(sure, right).risk.value == pytest.approx(np.mean(risks), abs=0.005)


def test_the_error_of_the_risk_against_a_bootstrap() -> None:
    rng = np.random.default_rng(0)
    sure = rng.random(500)
    right = rng.random(500) < sure
    found = selective(sure, right).risk
    seen = []
    for _ in range(1000):
        index = rng.integers(0, 500, 500)
        order = index[np.argsort(-sure[index])]
        seen.append(np.mean(np.cumsum(~right[order]) / np.arange(1, 501)))
    assert [found.low, found.high] == pytest.approx(np.quantile(seen, [0.025, 0.975]), abs=0.012)


def test_large_sets_take_moments() -> None:
    rng = np.random.default_rng(0)
    said = rng.random(100_000)
    truth = rng.random(100_000) < said
    owners = rng.integers(0, 20_000, 100_000)
    start = time.process_time()
    auroc(said, truth, clusters=owners)
    brier(said, truth, clusters=owners, resamples=1000, seed=0)
    ece(said, truth, clusters=owners, seed=0)
    selective(said, truth, clusters=owners)
    assert time.process_time() - start < 5


def test_a_brier_score_of_a_few_clusters_is_at_most_1() -> None:
    truth = np.repeat([1, 0, 0, 0], [2, 300, 1, 1])
    owners = np.repeat([0, 1, 2, 3], [2, 300, 1, 1])
    said = np.where(owners == 1, 0.05, 0.95)
    found = brier(said, truth, clusters=owners, resamples=500, seed=0)
    assert found.high is not None
    assert found.high <= 1
