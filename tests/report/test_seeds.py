"""Variance between seeds and within them, against SciPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from valence.data import Measurement
from valence.report.seeds import over_seeds, summarise


def rows(values: list[float | None], halves: list[float | None] | None = None) -> list[Measurement]:
    halves = halves or [0.5] * len(values)
    return [
        Measurement(
            model="m", mode="none", metric="harm", value=value,
            low=None if value is None or half is None else value - half,
            high=None if value is None or half is None else value + half,
            count=10, failures=2, seed=seed,
        )
        for seed, (value, half) in enumerate(zip(values, halves, strict=True))
    ]  # fmt: skip


NUMBERS = st.floats(min_value=-1e6, max_value=1e6)


@given(st.lists(NUMBERS, min_size=2, max_size=12))
def test_the_interval_over_seeds_is_that_of_students_t(values: list[float]) -> None:
    found = summarise(rows(list(values)))
    assert found.value is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
    assert found.deviation == pytest.approx(np.std(values, ddof=1), rel=1e-6, abs=1e-6)
    error = float(stats.sem(values))
    # Half-widths of 0.5 within: narrower than that over seeds.
    if stats.t.ppf(0.975, len(values) - 1) * error > 0.5:
        oracle = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
        # What is never below 0 in any seed is not in their mean either.
        low = max(oracle[0], 0.0) if min(values) >= 0.5 else oracle[0]
        assert (found.low, found.high) == pytest.approx((low, oracle[1]), rel=1e-6, abs=1e-6)
    assert found.low <= found.value <= found.high


def test_a_share_of_two_seeds_stays_one() -> None:
    found = summarise([replace(r, metric="verdict_auroc") for r in rows([0.8, 0.9], [0.05, 0.05])])
    assert (found.low, found.high) == (pytest.approx(0.85 - 12.7062 * 0.05, abs=1e-4), 1.0)
    gap = summarise([replace(r, mode="good-bad") for r in rows([0.6, 0.8], [0.05, 0.05])])
    assert gap.low is not None
    assert gap.low < 0


def test_three_seeds_by_hand() -> None:
    found = summarise(rows([11.0, 12.0, 13.0], [0.1, 0.2, 0.6]))
    assert found.deviation == pytest.approx(1.0)
    # t(0.975, 2) = 4.302653
    assert found.high == pytest.approx(12 + 4.302653 / 3**0.5)
    assert found.sample == pytest.approx(0.3)
    assert (found.seeds, found.missing, found.failures) == (3, 0, 6)


def test_one_seed_has_the_interval_over_its_samples_alone() -> None:
    found = summarise(rows([2.0]))
    assert (found.value, found.low, found.high, found.sample) == (2.0, 1.5, 2.5, 0.5)
    assert found.deviation is None


def test_a_seed_without_a_value_is_missing_and_never_zero() -> None:
    found = summarise(rows([2.0, None, 4.0]))
    assert (found.value, found.seeds, found.missing) == (3.0, 2, 1)
    alone = summarise(rows([None, 2.0]))
    assert (alone.low, alone.high, alone.missing) == (1.5, 2.5, 1)
    nothing = summarise(rows([None, None]))
    assert (nothing.value, nothing.low, nothing.deviation, nothing.sample) == (None,) * 4
    assert nothing.missing == 2


def test_intervals_that_are_not_known_are_left_out() -> None:
    assert summarise(rows([2.0, 3.0], [None, None])).sample is None
    assert summarise(rows([2.0, 3.0], [None, 0.4])).sample == pytest.approx(0.4)


def test_seeds_that_agree_by_chance_are_no_surer_than_their_samples() -> None:
    found = summarise(rows([5.0, 5.01], [2.0, 2.0]))
    assert (found.low, found.high) == pytest.approx((5.005 - 2 / 2**0.5, 5.005 + 2 / 2**0.5))
    skewed = over_seeds([1.0, 1.0], [(0.9, 1.5), (0.8, 1.0)])
    assert skewed == pytest.approx((1 - 0.05**0.5 / 2, 1.25))
    assert over_seeds([1.0, 1.0], [(None, None), (0.8, 1.4)]) == pytest.approx((0.9, 1.2))
