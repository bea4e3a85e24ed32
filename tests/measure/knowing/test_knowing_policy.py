"""Abstaining by a confidence: the best threshold, found where it is not used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from valence.measure.knowing.halves import half_of
from valence.measure.knowing.policy import answered_by, best_threshold, policy_score

levels = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from([1.0, 0.0, -3.0])), min_size=0, max_size=12
)


@given(pairs=levels)
def test_no_threshold_scores_better(pairs: list[tuple[int, float]]) -> None:
    confidence = np.array([level / 4 for level, _ in pairs])
    worth = np.array([value for _, value in pairs])
    found = best_threshold(confidence, worth)
    every = [float("inf"), *confidence.tolist()]
    assert worth[confidence >= found].sum() == max(
        worth[confidence >= threshold].sum() for threshold in every
    )


def test_nothing_that_pays_is_never_answered() -> None:
    assert best_threshold(np.array([0.9, 0.2]), np.array([-3.0, 1.0])) == float("inf")
    assert best_threshold(np.array([np.nan, 0.5]), np.array([1.0, 1.0])) == 0.5


def test_a_half_does_not_set_its_own_threshold() -> None:
    """One wrong answer with the highest confidence stops the other half alone."""
    rng = np.random.default_rng(0)
    confidence, clusters = rng.random(200), np.arange(200)
    worth = np.where(confidence > 0.6, 1.0, -3.0)
    half = half_of(clusters, seed=1)
    found = answered_by(confidence, worth, half)
    assert worth[found].mean() > 0.9 and found.mean() == pytest.approx(0.4, abs=0.1)
    worth[half] = -3.0
    again = answered_by(confidence, worth, half)
    assert not again[~half].any()  # By the half in which answering never pays.
    assert (again[half] == found[half]).all()


def test_a_confidence_that_knows_reaches_the_best_score_and_one_that_does_not_abstains() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(400) < 0.4
    worth = np.where(right, 1.0, -3.0)
    half = half_of(np.arange(400) // 4, 0)
    assert (half.reshape(100, 4) == half.reshape(100, 4)[:, :1]).all() and half.mean() == 0.5
    assert (answered_by(np.where(right, 0.9, 0.1), worth, half) == right).all()
    assert not answered_by(np.full(400, 0.5), worth, half).any()


def test_what_never_pays_has_no_interval_of_certainty() -> None:
    clusters = np.arange(60) // 3
    found = policy_score(np.full(60, 0.5), np.full(60, -3.0), clusters, resamples=50, seed=0)
    assert (found.value, found.low, found.high) == (0, None, None)


def test_its_interval_holds_what_such_thresholds_score() -> None:
    """Simulated; taking the thresholds as given it would hold it 6 times of 10 at first."""
    rng = np.random.default_rng(0)
    clusters = np.arange(200) // 5

    def draw(useful: float) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        sure = rng.normal(size=200) + np.repeat(rng.normal(size=40), 5) / 2
        worth = np.where(rng.random(200) < expit(2 * sure + 0.3), 1.0, -3.0)
        return useful * sure + (1 - useful) * rng.normal(size=200), worth

    for useful in (0.0, 0.6):
        scores = []
        for seed in range(600):
            sure, worth = draw(useful)
            scores.append(np.where(answered_by(sure, worth, half_of(clusters, seed)), worth, 0))
        truth, hits = np.mean(scores), 0
        for seed in range(40):
            found = policy_score(*draw(useful), clusters, resamples=60, seed=seed)
            hits += (
                found.low is not None
                and found.high is not None
                and (found.low <= truth <= found.high)
            )
        assert hits / 40 > 0.83, useful
