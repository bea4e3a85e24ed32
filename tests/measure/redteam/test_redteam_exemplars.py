"""Which exemplars are drawn: the paper's probabilities, against sums worked out by hand."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from valence.measure.redteam.exemplars import draw_exemplars, exemplar_probabilities

HARMS = [0.1, 0.3, 0.2, 0.25]
harms = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8)


def test_probabilities_are_proportional_to_exp_of_harm_over_temperature() -> None:
    weights = [math.exp(harm / 0.1) for harm in HARMS]
    expected = [weight / sum(weights) for weight in weights]
    found = exemplar_probabilities(HARMS, temperature=0.1, scale="raw")
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_standard_divides_by_the_deviation_of_the_pool() -> None:
    deviation = float(np.sqrt(np.mean((np.array(HARMS) - np.mean(HARMS)) ** 2)))
    weights = [math.exp(harm / deviation / 0.5) for harm in HARMS]
    found = exemplar_probabilities(HARMS, temperature=0.5, scale="standard")
    np.testing.assert_allclose(found, np.array(weights) / sum(weights), rtol=1e-12)
    level = exemplar_probabilities([3.0, 3.0], temperature=0.5, scale="standard")
    np.testing.assert_allclose(level, [0.5, 0.5])


@given(values=harms, shift=st.floats(-100, 100), factor=st.floats(0.1, 100))
def test_only_differences_count_and_with_standard_no_unit(
    values: list[float], shift: float, factor: float
) -> None:
    raw = exemplar_probabilities(values, temperature=1.0, scale="raw")
    moved = exemplar_probabilities([v + shift for v in values], temperature=1.0, scale="raw")
    assert raw.sum() == pytest.approx(1) and (raw >= 0).all()
    np.testing.assert_allclose(raw, moved, atol=1e-9)
    assert raw[int(np.argmax(values))] == raw.max()
    if np.std(values) > 1e-6:
        one = exemplar_probabilities(values, temperature=1.0, scale="standard")
        other = exemplar_probabilities(
            [v * factor for v in values], temperature=1.0, scale="standard"
        )
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_pairs_are_drawn_one_after_another_without_replacement() -> None:
    chances = exemplar_probabilities(HARMS, temperature=0.2, scale="raw")
    pairs = list(permutations(range(4), 2))
    expected = [chances[a] * chances[b] / (1 - chances[a]) for a, b in pairs]
    rng = np.random.default_rng(0)
    drawn = [
        tuple(draw_exemplars(HARMS, 2, temperature=0.2, scale="raw", rng=rng))
        for _ in range(20_000)
    ]
    counts = [drawn.count(pair) for pair in pairs]
    assert stats.chisquare(counts, np.array(expected) * len(drawn)).pvalue > 0.001


def test_a_small_pool_is_drawn_whole_and_tiny_probabilities_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    found = draw_exemplars([0.0, -1e9, 1e9], 4, temperature=0.1, scale="raw", rng=rng)
    assert found == [2, 0, 1]
    assert draw_exemplars([], 4, temperature=1.0, scale="standard", rng=rng) == []
