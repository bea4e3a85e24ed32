"""From what was found to rewards: minus the finds per character, each where it begins."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from valence.data import Mark, Result, Score, Segment


def per_character(
    found: Sequence[Mark], segments: Sequence[Segment], weights: Sequence[float] | None = None
) -> list[Result]:
    """For each segment minus the sum of the weights of its marks, per character.

    A mark that reaches over a segment's end counts, whole, where it begins; what is kept of
    it ends with the segment. Weights are 1 if not given. Segments ascend.
    """
    starts = [segment.start for segment in segments]
    totals = [0.0] * len(segments)
    kept: dict[int, list[Mark]] = {}
    for order, mark in enumerate(found):
        index = bisect.bisect_right(starts, mark.start) - 1
        if index < 0 or mark.start >= segments[index].end:
            continue
        totals[index] -= 1.0 if weights is None else weights[order]
        kept.setdefault(index, []).append(clipped(mark, segments[index]))
    return [
        Score(
            value=total / (segment.end - segment.start),
            marks=tuple(kept.get(index, ())),
        )
        for index, (total, segment) in enumerate(zip(totals, segments, strict=True))
    ]


def clipped(mark: Mark, segment: Segment) -> Mark:
    """The part of a mark that lies in the segment; they must meet."""
    if segment.start <= mark.start and mark.end <= segment.end:
        return mark
    return Mark(
        start=max(mark.start, segment.start),
        end=min(mark.end, segment.end),
        code=mark.code,
        message=mark.message,
    )
