"""Abstaining by a confidence: the best threshold, found where it is not used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valence.measure.knowing.policy import answered_by, best_threshold

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
    found = answered_by(confidence, worth, clusters, seed=1)
    assert worth[found].mean() > 0.9 and found.mean() == pytest.approx(0.4, abs=0.1)
    half = np.random.default_rng(1).permutation(200) % 2 == 1
    worth[half] = -3.0
    again = answered_by(confidence, worth, clusters, seed=1)
    assert not again[~half].any()  # By the half in which answering never pays.
    assert (again[half] == found[half]).all()


def test_a_confidence_that_knows_reaches_the_best_score_and_one_that_does_not_abstains() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(400) < 0.4
    worth = np.where(right, 1.0, -3.0)
    clusters = np.arange(400) // 4
    knows = answered_by(np.where(right, 0.9, 0.1), worth, clusters, 0)
    assert (knows == right).all()
    assert not answered_by(np.full(400, 0.5), worth, clusters, 0).any()
