"""Side branches anywhere in text: each after the right token, each in sight of its whole unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_reading import tokenised_of
from tiny_stores import EOS, SCHEME, Docs

from valence.data import Mark
from valence.measure.judging.prefixes import tokens_at
from valence.pack.branches import Branches, join, judged_units, rows_with_branches
from valence.pack.marks import in_tokens

NAN = float("nan")
segments = st.tuples(st.integers(0, 9), st.sampled_from([0.0, 0.5, -0.25, -1.0, NAN]))
corpora = st.lists(st.lists(segments, min_size=1, max_size=6), min_size=1, max_size=4)
START = 9_000


def slow_units(docs: Docs, level: str) -> list[tuple[int, int, int, int]]:
    """First text token, the one after its last, band and document of each unit with a band."""
    found, at = [], 0
    for number, doc in enumerate(docs):
        begin, total, weight = at, 0.0, 0
        for size, reward in doc:
            if level == "segment" and size and not np.isnan(reward):
                found.append((at, at + size, int(reward >= 0), number))
            total, weight = (
                (total, weight)
                if np.isnan(reward)
                else (total + np.float32(reward) * size, weight + size)
            )
            at += size
        if level == "document" and weight:
            found.append((begin, at, int(total / weight >= 0), number))
    return found


@given(docs=corpora, level=st.sampled_from(["segment", "document"]))
def test_units_with_a_band(docs: Docs, level: str) -> None:
    scheme = replace(SCHEME, level=level)  # type: ignore[arg-type]
    units = judged_units(tokenised_of(docs), scheme)
    columns = (units.starts, units.ends, units.bands, units.documents)
    found = list(zip(*(column.tolist() for column in columns), strict=True))
    assert found == slow_units(docs, level)
    assert (units.sizes > 0).all()


@settings(max_examples=200)
@given(
    docs=corpora,
    level=st.sampled_from(["segment", "document"]),
    shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=5),
    window=st.integers(3, 40),
    starts=st.sampled_from([(START,), (START, START + 1)]),
)
def test_a_branch_at_a_share_stands_after_the_right_token_and_sees_its_whole_unit(
    docs: Docs, level: str, shares: list[float], window: int, starts: tuple[int, ...]
) -> None:
    text = tokenised_of(docs)
    units = judged_units(text, replace(SCHEME, level=level))  # type: ignore[arg-type]
    numbers = np.arange(len(units.starts), dtype=np.int64)
    branches, _ = join([(numbers, tokens_at(share, units.sizes)) for share in shares])
    rows = list(
        rows_with_branches(text, units, branches, start_ids=starts, eos_id=EOS, window=window)
    )
    seen = np.concatenate([np.zeros(0, dtype=np.int64), *(row.branches for row in rows)])
    assert sorted(seen.tolist()) == sorted(set(seen.tolist()))
    for row in rows:
        main = row.ids[~row.forks]
        assert len(main) <= max(window, len(starts) + 1)
        assert (row.ids[row.forks] == EOS).all() and int(row.forks.sum()) == len(row.branches)
        words = main[main < START].tolist()
        assert words == list(range(words[0], words[0] + len(words)))  # Text, in order.
        for place, branch in zip(np.flatnonzero(row.forks), row.branches, strict=True):
            before = row.ids[:place][~row.forks[:place]]
            unit, tokens = branches.units[branch], branches.tokens[branch]
            said = text.ids[units.starts[unit] : units.starts[unit] + tokens].tolist()
            assert before[-tokens:].tolist() == said
            owner = units.documents[unit]
            assert words[0] >= text.ids[text.documents[owner]]  # Nothing of other documents.
            if words[0] == text.ids[text.documents[owner]]:
                assert main[: len(starts)].tolist() == list(starts)
    fits = units.sizes[branches.units] <= window - len(starts)
    assert set(np.flatnonzero(fits).tolist()) <= set(seen.tolist())


@given(
    lists=st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=8), max_size=4
    )
)
def test_places_that_several_ask_for_are_one_branch(lists: list[list[tuple[int, int]]]) -> None:
    asked = [
        (
            np.array([unit for unit, _ in each], dtype=np.int64),
            np.array([tokens for _, tokens in each], dtype=np.int64),
        )
        for each in lists
    ]
    branches, numbers = join(asked)
    found = list(zip(branches.units.tolist(), branches.tokens.tolist(), strict=True))
    assert found == sorted({place for each in lists for place in each})
    assert len(numbers) == len(lists)
    for each, some in zip(lists, numbers, strict=True):
        assert [found[number] for number in some] == each


def test_a_row_of_a_long_document_begins_with_a_unit() -> None:
    text = tokenised_of([[(4, 0.0), (4, -1.0), (4, 0.0)]])
    units = judged_units(text, SCHEME)
    branches = Branches(units=np.arange(3), tokens=units.sizes)
    rows = list(rows_with_branches(text, units, branches, start_ids=(START,), eos_id=EOS, window=7))
    assert [row.ids.tolist() for row in rows] == [
        [START, 3, 4, 5, 6, EOS],
        [7, 8, 9, 10, EOS],
        [11, 12, 13, 14, EOS],
    ]
    wide = list(
        rows_with_branches(text, units, branches, start_ids=(START,), eos_id=EOS, window=13)
    )
    assert [row.ids.tolist() for row in wide] == [
        [START, 3, 4, 5, 6, EOS, 7, 8, 9, 10, EOS, 11, 12, 13, 14, EOS]
    ]


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    spans=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), max_size=4),
)
def test_marks_in_tokens_are_those_of_a_look_at_each_token(
    sizes: list[int], spans: list[tuple[int, int]]
) -> None:
    ends = np.cumsum(sizes)
    offsets = np.stack([ends - sizes, ends], axis=1).astype(np.int64)
    marks = [
        Mark(start=start, end=min(start + size, int(ends[-1])), code="x", message="")
        for start, size in spans
        if start < ends[-1]
    ]
    touched = [
        any(mark.start < end and start < mark.end for mark in marks) for start, end in offsets
    ]
    found = np.zeros(len(sizes), dtype=np.bool_)
    ranges = in_tokens(marks, offsets)
    for start, end in ranges:
        found[start:end] = True
    assert found.tolist() == touched
    assert (ranges[1:, 0] > ranges[:-1, 1]).all() and (ranges[:, 1] > ranges[:, 0]).all()
