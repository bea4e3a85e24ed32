"""Where the first flag falls: before, inside or after what raters marked.

Qwen3Guard-Stream (arXiv 2510.14276) reports 86.0% of first flags inside the marked sentence.

Legend: U units, M marks, D documents.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from valence.data import Findings, Measurement
from valence.guide.verdict import Floats
from valence.measure.judging.earliness import NEVER, Running
from valence.measure.judging.prefixes import Told
from valence.measure.statistics import mean, share
from valence.pack import Tokenised
from valence.pack.ragged import Offsets
from valence.pack.tokenised import Flags
from valence.pack.units import own_segments

CHANCE = "chance"
"""Mode of a flag at a place drawn evenly from the text tokens."""
PLACES = ("before", "inside", "after")


def place_of(token: int, marks_M2: Offsets) -> str:
    """Where a text token lies: before the first mark, inside one, or after it."""
    if ((marks_M2[:, 0] <= token) & (token < marks_M2[:, 1])).any():
        return "inside"
    return "before" if token < marks_M2[:, 0].min() else "after"


def location_findings(
    told: Told, judge: str, text: Tokenised, running: Running, thresholds: Floats
) -> Findings:
    """Of bad units with marks that were flagged: where the first flag falls in the unit. Of
    documents with marks that were flagged: whether their first flag, in whatever unit, falls
    into a segment that holds a mark (a sentence, where text is cut so).

    A token that a flag came after counts as its place. Exact intervals; units and documents
    that were not flagged are failures, because they have no place. Nothing where the reward
    keeps no marks.
    """
    if text.marks is None:
        return Findings()
    first = running.first_flags(thresholds)
    where = [
        None if first[u] == NEVER else place_of(int(running.units.starts[u] + first[u] - 1), marks)
        for u, marks in _marked(running.units.starts, running.units.ends, text.marks)
        if not told.good[u] and running.read[u]
    ]
    flagged = [place for place in where if place is not None]
    missed = len(where) - len(flagged)
    rows: list[Measurement] = [
        told.row(
            share(flagged.count(place), len(flagged)), judge, f"first_flag_{place}_mark", missed
        )
        for place in PLACES
    ]
    inside, missed = _in_marked_segment(text, running, first)
    metric = "first_flag_in_marked_segment"
    rows.append(told.row(share(sum(inside), len(inside)), judge, metric, missed))
    return Findings(rows=tuple(rows))


def chance_findings(told: Told, text: Tokenised) -> Findings:
    """The share of its text that is marked, and that stands in a segment that holds a mark: over
    documents with marks, what a flag at a place drawn evenly would reach.
    """
    if text.marks is None:
        return Findings()
    marked, inside = _flags(text)
    segments: list[float] = []
    tokens: list[float] = []
    for d, _ in _marked(text.documents[:-1], text.documents[1:], text.marks):
        part = slice(int(text.documents[d]), int(text.documents[d + 1]))
        tokens.append(float(marked[part].mean()))
        segments.append(float(inside[part].mean()))
    named = {"first_flag_inside_mark": tokens, "first_flag_in_marked_segment": segments}
    return Findings(
        rows=tuple(
            told.row(mean(each, resamples=told.resamples, seed=told.seed), CHANCE, metric, 0)
            for metric, each in named.items()
        )
    )


def _marked(starts: Offsets, ends: Offsets, marks_M2: Offsets) -> Iterator[tuple[int, Offsets]]:
    """Ranges that a mark touches, each with its marks."""
    lows = np.searchsorted(marks_M2[:, 1], starts, side="right")
    highs = np.searchsorted(marks_M2[:, 0], ends, side="left")
    for at in np.flatnonzero(highs > lows):
        yield int(at), marks_M2[lows[at] : highs[at]]


def _flags(text: Tokenised) -> tuple[Flags, Flags]:
    """Of each text token, whether it is marked, and whether its segment holds a mark."""
    assert text.marks is not None
    marked = np.zeros(len(text.ids), dtype=np.bool_)
    inside = np.zeros(len(text.ids), dtype=np.bool_)
    for start, end in text.marks:
        marked[start:end] = True
    begins = text.segments[own_segments(text)]
    ends = np.append(begins[1:], len(text.ids))
    for at, _ in _marked(begins, ends, text.marks):
        inside[begins[at] : ends[at]] = True
    return marked, inside


def _in_marked_segment(text: Tokenised, running: Running, first: Offsets) -> tuple[list[bool], int]:
    """Of each flagged document with marks, whether its first flag is in a marked segment; and
    how many were not flagged.
    """
    assert text.marks is not None
    _, inside = _flags(text)
    flagged = np.flatnonzero(first < NEVER)
    owners = running.units.documents[flagged]
    found, missed = [], 0
    for d, _ in _marked(text.documents[:-1], text.documents[1:], text.marks):
        at = int(np.searchsorted(owners, d))
        if at < len(owners) and owners[at] == d:
            unit = flagged[at]
            found.append(bool(inside[running.units.starts[unit] + first[unit] - 1]))
        else:
            missed += 1
    return found, missed
