"""How much is answered at a promised accuracy: the cut is of other people, and so is the number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from valence.measure.knowing.covering import covered, covered_by, lowest_cut
from valence.measure.knowing.halves import half_of, other_means

CLUSTERS = np.arange(300) // 5


def draw(rng: np.random.Generator, useful: float) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    sure = rng.normal(size=300) + np.repeat(rng.normal(size=60), 5) / 2
    right = rng.random(300) < expit(3 * sure + 0.3)
    return useful * sure + (1 - useful) * rng.normal(size=300), right


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12),
    st.sampled_from([0.5, 0.8, 0.95, 1.0]),
)
def test_the_cut_covers_the_largest_share_that_is_so_right(
    pairs: list[tuple[int, bool]], accuracy: float
) -> None:
    said = np.array([float(value) for value, _ in pairs])
    right = np.array([hit for _, hit in pairs])
    shares = [(said >= cut).mean() for cut in said if right[said >= cut].mean() >= accuracy - 1e-12]
    reached = (said >= lowest_cut(said, right, accuracy)).mean()
    assert reached == pytest.approx(max(shares, default=0.0))


def test_nobody_sets_the_cut_that_he_is_measured_by() -> None:
    """Where all of one half are right and none of the other, the first half covers nothing."""
    half = half_of(CLUSTERS, seed=0)
    sure = np.random.default_rng(0).random(300)
    assert (covered_by(sure, half, half) == (~half & (sure >= sure[half].min()))).all()
    np.testing.assert_array_equal(other_means(half, half), np.where(half, 0.0, 1.0))
    assert np.isnan(other_means(half[:5], np.zeros(5, bool))).all()


def test_a_perfect_confidence_covers_what_is_right() -> None:
    right = np.random.default_rng(0).random(300) < 0.4
    share, reached = covered(right * 0.5, right, CLUSTERS, resamples=50, seed=0)
    assert share.value == pytest.approx(right.mean()) and reached.value == 1
    # That all were right so far is not that all will be.
    assert reached.low is not None and 0.9 < reached.low < 1 and reached.high == 1


def test_nothing_to_measure_and_nothing_covered_claim_nothing() -> None:
    for said in (np.zeros(0), np.array([np.nan])):
        share, reached = covered(said, said == 0, np.arange(len(said)), resamples=9, seed=0)
        assert share.value is None and reached.value is None
    none = np.zeros(300, dtype=bool)
    share, reached = covered(np.full(300, 0.5), none, CLUSTERS, resamples=20, seed=0)
    assert (share.value, share.low, share.high) == (0, None, None)
    assert reached.value is None and reached.count == 0


def test_a_useless_confidence_covers_by_luck_alone_and_its_accuracy_says_so() -> None:
    rng = np.random.default_rng(0)
    kept, hits = 0, 0
    for seed in range(400):
        sure, right = draw(rng, 0.0)
        above = covered_by(sure, right, half_of(CLUSTERS, seed))
        kept, hits = kept + int(above.sum()), hits + int(right[above].sum())
    assert kept / (400 * 300) < 0.03
    # Chosen where it is measured, 95% of these would be right.
    assert hits / kept < 0.65


def test_its_intervals_hold_what_such_cuts_do() -> None:
    """Simulated; taking the cuts as given, that of the coverage holds 55 to 75 times of 100."""
    rng = np.random.default_rng(0)
    shares, reached = [], []
    for seed in range(600):
        sure, right = draw(rng, 0.8)
        above = covered_by(sure, right, half_of(CLUSTERS, seed))
        shares.append(above.mean())
        reached += [right[above].mean()] if above.any() else []
    truths, hits = (np.mean(shares), np.mean(reached)), np.zeros(2)
    for seed in range(40):
        for at, each in enumerate(covered(*draw(rng, 0.8), CLUSTERS, resamples=60, seed=seed)):
            if each.low is not None and each.high is not None:
                hits[at] += each.low <= truths[at] <= each.high
    assert (hits / 40 > 0.85).all()
