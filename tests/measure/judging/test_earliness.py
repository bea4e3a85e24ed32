"""Running verdicts: where they stand, their threshold, how early and where they flag."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valence.measure.judging.earliness import (
    NEVER,
    Running,
    earliness_findings,
    halves_of,
    running_places,
    threshold_for,
)
from valence.measure.judging.location import location_findings, place_of
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


def thresholds_of(running: Running, told: Told, false_alarms: float) -> Any:
    return halves_of(running, told, false_alarms).thresholds()


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
def test_the_threshold_is_the_lowest_that_keeps_to_the_false_alarms_of_a_new_unit(
    highest: list[float], share: float
) -> None:
    found = threshold_for(np.array(highest), share)
    known = [value for value in highest if not np.isnan(value)]
    if found is None:
        assert not known
        return
    # The new unit is counted among them, as one above.
    allowed = share * (len(known) + 1)
    if np.isinf(found):
        assert allowed < 1
        return
    assert sum(value > found for value in known) + 1 <= allowed + 1e-6
    lower = [value for value in known if value < found]
    if lower:
        assert sum(value > max(lower) for value in known) + 1 > allowed - 1e-6


@pytest.mark.parametrize("size", [10, 19, 40, 100])
def test_a_new_good_unit_is_flagged_as_often_as_was_asked_for_at_most(size: int) -> None:
    """(k + 1) / (n + 1), exactly: at 40 of them, 2 of 41, and none where 10 can promise nothing."""
    rng = np.random.default_rng(0)
    flagged = [rng.random() > (threshold_for(rng.random(size), 0.05) or 0.0) for _ in range(20_000)]
    assert np.mean(flagged) == pytest.approx(int(0.05 * (size + 1)) / (size + 1), abs=0.005)


def ends_of(highest: npt.NDArray[np.float64], good: npt.NDArray[np.bool_], documents: Any) -> Any:
    """Units of one running verdict each, and whose they are."""
    units = units_of([1] * len(highest), good.tolist(), documents)
    numbers, tokens = running_places(units, 1)
    return Running(units=units, numbers=numbers, tokens=tokens, bad=highest), told_of(units)


VERDICTS = st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9, NAN])
DOCUMENTS = st.lists(
    st.lists(st.tuples(VERDICTS, st.booleans()), min_size=1, max_size=4), min_size=2, max_size=9
)


@settings(max_examples=200)
@given(said=DOCUMENTS, share=st.floats(0.01, 0.9), data=st.data())
def test_a_threshold_is_of_the_other_half_of_the_documents_alone(
    said: list[list[tuple[float, bool]]], share: float, data: st.DataObject
) -> None:
    owners = np.array([d for d, units in enumerate(said) for _ in units])
    highest, good = (np.array(each) for each in zip(*itertools.chain(*said), strict=True))
    # Which documents are of one half: a good unit that is below all is the other's threshold.
    all_good = np.ones_like(good)
    reached = []
    for d in range(len(said)):
        running, told = ends_of(np.where(owners == d, 0.0, 2.0), all_good, owners)
        found = thresholds_of(running, told, 0.99)
        assert found is not None and set(found.tolist()) == {0.0, 2.0}
        reached.append(found == 0)
    half = reached[0]
    assert half.any() and not half[owners == 0].any()
    for d, each in enumerate(reached):
        assert (each == (half if not half[owners == d].any() else ~half)).all()
    assert abs(len(set(owners[half])) - len(set(owners[~half]))) <= 1
    # What is said of a half does not change its own thresholds, and makes those of the other.
    running, told = ends_of(highest, good, owners)
    found = thresholds_of(running, told, share)
    wanted = [threshold_for(highest[side & good], share) for side in (~half, half)]
    if found is None:
        assert None in wanted
        return
    assert set(found[half]) == {wanted[0]} and set(found[~half]) == {wanted[1]}
    other = highest.copy()
    count = int(half.sum())
    other[half] = data.draw(st.lists(VERDICTS, min_size=count, max_size=count))
    again = thresholds_of(replace(running, bad=other), told, share)
    assert again is None or (again[half] == found[half]).all()


def test_on_units_like_any_others_false_alarms_are_as_many_as_were_asked_for() -> None:
    """Of documents that are alike each among themselves; the bad ones are told a little."""
    rng = np.random.default_rng(0)
    owners = np.repeat(np.arange(4_000), rng.integers(1, 6, 4_000))
    good = rng.random(len(owners)) < 0.6
    units = units_of(rng.integers(1, 40, len(owners)).tolist(), good.tolist(), owners.tolist())
    numbers, tokens = running_places(units, 3)
    level = rng.normal(size=4_000)[owners] + 1.5 * ~good
    said = 1 / (1 + np.exp(2 - level[numbers] - rng.normal(size=len(numbers))))
    running = Running(units=units, numbers=numbers, tokens=tokens, bad=said)
    halves = halves_of(running, told_of(units), 0.05)
    rows = earliness_findings(told_of(units), "verdict", running, halves.thresholds).rows
    values = {row.metric: row for row in rows}
    alarms = values["flag_false_alarms"]
    assert alarms.count == good.sum() > 6_000
    assert alarms.value == pytest.approx(0.05, abs=0.01)
    assert alarms.low is not None and alarms.high is not None
    assert alarms.low < 0.05 < alarms.high
    recall = values["flag_recall"].value
    assert recall is not None and recall > 0.2


def test_with_few_units_there_are_no_more_false_alarms() -> None:
    """Of 40 units in each half one may be above: another one is in 2 of 41 cases."""
    rng = np.random.default_rng(0)
    flagged = []
    for _ in range(400):
        running, told = ends_of(rng.random(80), np.ones(80, dtype=np.bool_), np.arange(80))
        thresholds = thresholds_of(running, told, 0.05)
        assert thresholds is not None
        flagged.append((running.first_flags(thresholds) < NEVER).mean())
    error = np.std(flagged) / math.sqrt(len(flagged))
    assert np.mean(flagged) == pytest.approx(2 / 41, abs=4 * error) and error < 0.003


def test_without_a_good_unit_in_each_half_there_is_no_threshold() -> None:
    good = np.array([True, False, False])
    for owners in ([0, 1, 2], [0, 0, 0]):
        running, told = ends_of(np.array([0.1, 0.9, 0.5]), good, owners)
        assert thresholds_of(running, told, 0.05) is None


def test_a_hand_made_case_of_recall_false_alarms_and_earliness() -> None:
    # Two bad units of 4 tokens, flagged after 2 and never; two good ones, one of them flagged;
    # a bad one that was not read to its end.
    units = units_of([4, 4, 2, 2, 3], [False, False, True, True, False], [0, 1, 2, 3, 4])
    numbers, tokens = running_places(units, 1)
    bad = np.array([0.1, 0.8, 0.9, 0.2, 0.5, 0.1, 0.5, 0.1, 0.6, 0.1, 0.1, 0.2, 0.9, NAN, NAN])
    running = Running(units=units, numbers=numbers, tokens=tokens, bad=bad)
    assert running.first_flags(np.full(5, 0.5)).tolist() == [2, NEVER, 1, NEVER, 1]
    each = np.array([0.85, 0.4, 0.6, 0.0, 1.0])
    assert running.first_flags(each).tolist() == [3, 1, NEVER, 1, NEVER]
    assert running.read.tolist() == [True, True, True, True, False]
    assert running.highest()[:4].tolist() == [0.9, 0.5, 0.6, 0.2] and np.isnan(running.highest()[4])
    found = earliness_findings(told_of(units), "verdict", running, lambda _: np.full(5, 0.5))
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
    found = earliness_findings(told_of(units), "verdict", running, lambda _: np.full(1, 0.5))
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
    found = location_findings(
        told_of(units), "verdict", text, running, np.full(len(units.starts), 0.5)
    )
    values = {row.metric: (row.value, row.count, row.failures) for row in found.rows}
    assert values == {
        "first_flag_before_mark": (0.5, 2, 1),  # The first segment was never flagged.
        "first_flag_inside_mark": (0.5, 2, 1),
        "first_flag_after_mark": (0.0, 2, 1),
        "first_flag_inside_mark_chance": (pytest.approx(1 / 4), 2, 1),  # Of the flagged ones alone.
        "first_flag_in_marked_segment": (0.5, 2, 0),
        "first_flag_in_marked_segment_chance": (pytest.approx((1 / 2 + 1) / 2), 2, 0),
    }
    # Two flags in one document say no more than one.
    assert next((row.low, row.high) for row in found.rows) == pytest.approx((0, 1), abs=1e-3)


def test_a_reward_without_marks_has_no_places() -> None:
    units = units_of([2], [False], [0])
    numbers, tokens = running_places(units, 1)
    running = Running(units=units, numbers=numbers, tokens=tokens, bad=np.ones(2))
    text = Tokenised(
        ids=np.arange(2, dtype=np.int32), documents=np.array([0, 2]), segments=np.array([0]),
        rewards=np.zeros(1, dtype=np.float32), segment_documents=np.array([0]),
        chars=np.array([2]), bytes=np.array([2]),
    )  # fmt: skip
    assert (
        location_findings(
            told_of(units), "verdict", text, running, np.full(len(units.starts), 0.5)
        ).rows
        == ()
    )


def marked_at_random(
    rng: np.random.Generator, documents: int, flagged: npt.NDArray[np.float64]
) -> tuple[Tokenised, Running]:
    """Documents of five bad segments of ten tokens, of which each has a mark of some tokens, and
    which are flagged at a place drawn evenly, as often in a document as `flagged` says [D].
    """
    count = 5 * documents
    marks = np.stack([np.arange(count) * 10 + rng.integers(0, 6, count), np.zeros(count)], axis=1)
    marks[:, 1] = marks[:, 0] + rng.integers(1, 5, count)
    ends = np.arange(documents + 1, dtype=np.int64) * 50
    text = Tokenised(
        ids=np.zeros(count * 10, dtype=np.int32), documents=ends,
        segments=np.arange(count) * 10, rewards=np.zeros(count, dtype=np.float32),
        segment_documents=np.repeat(np.arange(documents), 5),
        chars=np.full(documents, 50), bytes=np.full(documents, 50), marks=marks.astype(np.int64),
    )  # fmt: skip
    owners = np.repeat(np.arange(documents), 5)
    units = units_of([10] * count, [False] * count, owners.tolist())
    numbers, tokens = running_places(units, 1)
    at = np.where(rng.random(count) < flagged[owners], rng.integers(0, 10, count), 10)
    said = (np.tile(np.arange(10), count) == np.repeat(at, 10)).astype(np.float64)
    return text, Running(units=units, numbers=numbers, tokens=tokens, bad=said)


def test_a_flag_at_any_place_is_inside_a_mark_as_often_as_by_chance() -> None:
    rng = np.random.default_rng(0)
    text, running = marked_at_random(rng, 2_000, rng.random(2_000))
    found = location_findings(told_of(running.units), "m", text, running, np.full(10_000, 0.5))
    rows = {row.metric: row for row in found.rows}
    inside, chance = (rows[f"first_flag_inside_mark{end}"] for end in ("", "_chance"))
    assert inside.count == chance.count < 6_000
    assert inside.value == pytest.approx(0.25, abs=0.02)
    assert chance.value == pytest.approx(0.25, abs=0.005)
    assert {row.mode for row in found.rows} == {"m"}


def test_places_of_units_that_are_alike_in_their_documents_say_less() -> None:
    """All flags of a document before its marks, or all inside: as many items as documents."""
    rng = np.random.default_rng(0)
    text, running = marked_at_random(rng, 40, np.ones(40))
    assert text.marks is not None
    inside = np.repeat(rng.random(40) < 0.5, 5)
    starts = np.where(inside, running.units.starts, running.units.starts + 5)
    marks = np.stack([starts, starts + 2], axis=1)
    first = (np.arange(2_000) % 10 == 0).astype(np.float64)
    found = location_findings(
        told_of(running.units), "m", replace(text, marks=marks), replace(running, bad=first),
        np.full(200, 0.5),
    )  # fmt: skip
    row = next(each for each in found.rows if each.metric == "first_flag_inside_mark")
    assert row.low is not None and row.high is not None
    assert row.count == 200 and row.high - row.low > 0.3  # Of 200 items apart: 0.14.


def test_an_interval_of_recall_holds_what_the_threshold_is_unsure_of() -> None:
    """With the threshold taken for known it covers 80% (of 500 trials), here 97%."""
    rng = np.random.default_rng(0)
    trials, held, recalls = 60, [], []
    for _ in range(trials):
        owners = np.repeat(np.arange(100), 4)
        good = rng.random(400) < 0.6
        said = rng.normal(size=400) + 1.5 * ~good
        running, told = ends_of(said, good, owners)
        thresholds = halves_of(running, told, 0.05).thresholds
        rows = {row.metric: row for row in earliness_findings(told, "m", running, thresholds).rows}
        recalls.append(rows["flag_recall"])
    values = [row.value for row in recalls if row.value is not None]
    truth = float(np.mean(values))
    for row in recalls:
        assert row.low is not None and row.high is not None
        held.append(row.low <= truth <= row.high)
    assert np.mean(held) > 0.92
    widths = [row.high - row.low for row in recalls if row.high is not None and row.low is not None]
    assert np.mean(widths) < 6 * np.std(values)


def test_thresholds_are_found_anew_from_what_was_drawn() -> None:
    rng = np.random.default_rng(0)
    owners = np.repeat(np.arange(30), 3)
    running, told = ends_of(rng.random(90), rng.random(90) < 0.7, owners)
    halves = halves_of(running, told, 0.1)
    drawn = rng.integers(0, 3, 30)[owners]
    numbers = np.repeat(np.arange(90), drawn)
    found = halves.thresholds(drawn)
    assert found is not None
    for side in (True, False):
        others = numbers[(halves.half != side)[numbers] & told.good[numbers]]
        wanted = threshold_for(halves.highest[others], 0.1)
        assert set(found[halves.half == side]) == {wanted}
    assert halves.thresholds(np.zeros(90, dtype=np.int64)) is None
