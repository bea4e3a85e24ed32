"""Running verdicts: where they stand, their threshold, how early and where they flag."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valence.measure.judging.earliness import (
    NEVER,
    Running,
    earliness_findings,
    running_places,
    threshold_for,
)
from valence.measure.judging.location import chance_findings, location_findings, place_of
from valence.measure.judging.prefixes import Told
from valence.pack import Tokenised
from valence.pack.branches import JudgedUnits

NAN = float("nan")


def units_of(sizes: list[int], good: list[bool], documents: list[int]) -> JudgedUnits:
    lengths = np.array(sizes, dtype=np.int64)
    ends = np.cumsum(lengths)
    return JudgedUnits(
        starts=ends - lengths, ends=ends, bands=np.array(good, dtype=np.int64),
        documents=np.array(documents, dtype=np.int64),
    )  # fmt: skip


def told_of(units: JudgedUnits) -> Told:
    return Told(
        model="m", seed=0, good=units.bands == 1, documents=units.documents, resamples=100, bins=5
    )


@given(sizes=st.lists(st.integers(1, 30), max_size=6), stride=st.integers(1, 12))
def test_running_verdicts_stand_at_each_stride_and_at_the_end(
    sizes: list[int], stride: int
) -> None:
    numbers, tokens = running_places(units_of(sizes, [True] * len(sizes), sizes), stride)
    slow = [
        (unit, token)
        for unit, size in enumerate(sizes)
        for token in range(1, size + 1)
        if token % stride == 0 or token == size
    ]
    assert list(zip(numbers.tolist(), tokens.tolist(), strict=True)) == slow


@given(
    highest=st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9, NAN]), max_size=40),
    share=st.floats(0.01, 0.9),
)
def test_the_threshold_is_the_lowest_that_keeps_to_the_false_alarms(
    highest: list[float], share: float
) -> None:
    found = threshold_for(np.array(highest), share)
    known = [value for value in highest if not np.isnan(value)]
    if found is None:
        assert not known
        return
    assert sum(value > found for value in known) <= share * len(known)
    lower = [value for value in known if value < found]
    if lower:
        assert sum(value > max(lower) for value in known) > share * len(known) - 1e-6


def test_a_hand_made_case_of_recall_false_alarms_and_earliness() -> None:
    # Two bad units of 4 tokens, flagged after 2 and never; two good ones, one of them flagged;
    # a bad one that was not read to its end.
    units = units_of([4, 4, 2, 2, 3], [False, False, True, True, False], [0, 1, 2, 3, 4])
    numbers, tokens = running_places(units, 1)
    bad = np.array([0.1, 0.8, 0.9, 0.2, 0.5, 0.1, 0.5, 0.1, 0.6, 0.1, 0.1, 0.2, 0.9, NAN, NAN])
    running = Running(units=units, numbers=numbers, tokens=tokens, bad=bad)
    assert running.first_flags(0.5).tolist() == [2, NEVER, 1, NEVER, 1]
    assert running.read.tolist() == [True, True, True, True, False]
    assert running.highest()[:4].tolist() == [0.9, 0.5, 0.6, 0.2] and np.isnan(running.highest()[4])
    found = earliness_findings(told_of(units), "verdict", running, 0.5)
    values = {row.metric: (row.value, row.count, row.failures) for row in found.rows}
    assert values == {
        "flag_recall": (0.5, 2, 1),
        "flag_false_alarms": (0.5, 2, 1),
        "earliness_mean": (0.5, 1, 1),
        "earliness_median": (0.5, 1, 1),
    }
    (curve,) = found.series
    assert curve.kind == "flagged" and curve.y[8:10] == (0.0, 0.5) and curve.x[9] == 0.5


def test_nothing_flagged_is_no_number_and_not_nought() -> None:
    units = units_of([3], [False], [0])
    numbers, tokens = running_places(units, 1)
    running = Running(units=units, numbers=numbers, tokens=tokens, bad=np.zeros(3))
    found = earliness_findings(told_of(units), "verdict", running, 0.5)
    values = {row.metric: row.value for row in found.rows}
    assert values == {
        "flag_recall": 0.0,
        "flag_false_alarms": None,
        "earliness_mean": None,
        "earliness_median": None,
    }


def test_a_flag_lies_before_inside_or_after_what_is_marked() -> None:
    marks = np.array([[3, 5], [8, 9]])
    places = [place_of(token, marks) for token in range(10)]
    assert places == ["before"] * 3 + ["inside"] * 2 + ["after"] * 3 + ["inside", "after"]


def marked_text() -> Tokenised:
    """Two documents of two segments of 4 tokens; one token marked in three of the segments."""
    return Tokenised(
        ids=np.arange(16, dtype=np.int32), documents=np.array([0, 8, 16]),
        segments=np.array([0, 4, 8, 12]), rewards=np.zeros(4, dtype=np.float32),
        segment_documents=np.array([0, 0, 1, 1]), chars=np.array([8, 8]), bytes=np.array([8, 8]),
        marks=np.array([[1, 2], [10, 11], [14, 15]]),
    )  # fmt: skip


def test_a_hand_made_case_of_where_first_flags_fall() -> None:
    text = marked_text()
    # The second segment has no mark and is good; it is flagged first of its document.
    units = units_of([4, 4, 4, 4], [False, True, False, False], [0, 0, 1, 1])
    numbers, tokens = running_places(units, 1)
    bad = np.array([0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0], dtype=np.float64)
    running = Running(units=units, numbers=numbers, tokens=tokens, bad=bad)
    found = location_findings(told_of(units), "verdict", text, running, 0.5)
    values = {row.metric: (row.value, row.count, row.failures) for row in found.rows}
    assert values == {
        "first_flag_before_mark": (0.5, 2, 1),  # The first segment was never flagged.
        "first_flag_inside_mark": (0.5, 2, 1),
        "first_flag_after_mark": (0.0, 2, 1),
        "first_flag_in_marked_segment": (0.5, 2, 0),
    }
    low, high = next((row.low, row.high) for row in found.rows)
    assert (low, high) == pytest.approx((0.012579, 0.987421), abs=1e-6)  # Clopper and Pearson.
    chance = {row.metric: row.value for row in chance_findings(told_of(units), text).rows}
    assert chance == {
        "first_flag_inside_mark": pytest.approx((1 / 8 + 2 / 8) / 2),
        "first_flag_in_marked_segment": pytest.approx((1 / 2 + 1) / 2),
    }


def test_a_reward_without_marks_has_no_places() -> None:
    units = units_of([2], [False], [0])
    numbers, tokens = running_places(units, 1)
    running = Running(units=units, numbers=numbers, tokens=tokens, bad=np.ones(2))
    text = Tokenised(
        ids=np.arange(2, dtype=np.int32), documents=np.array([0, 2]), segments=np.array([0]),
        rewards=np.zeros(1, dtype=np.float32), segment_documents=np.array([0]),
        chars=np.array([2]), bytes=np.array([2]),
    )  # fmt: skip
    assert location_findings(told_of(units), "verdict", text, running, 0.5).rows == ()
    assert chance_findings(told_of(units), text).rows == ()
