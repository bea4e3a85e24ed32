"""A stream cut into rows: which tokens each row holds, and where they stand in it.

A row is: the control token in force again, where the row begins inside a unit; then tokens
of the stream, with side branches (forks) after the boundaries that have one.

Legend: M stream tokens, U units, F forks, R rows, T tokens of a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valence.control import NO_BAND, Bands
from valence.pack.ragged import Offsets, spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Forks:
    """Side branches: the stream token each stands after, where its unit's text begins, and
    its band [F]. Both ascend.
    """

    after: Offsets
    units: Offsets
    bands: Bands

    def between(self, first: int, last: int) -> Forks:
        """Those that stand after the stream's tokens `first` to `last` - 1."""
        low, high = (int(np.searchsorted(self.after, at)) for at in (first, last))
        return Forks(
            after=self.after[low:high], units=self.units[low:high], bands=self.bands[low:high]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The token in force at each text token: `places` [N] of text in the stream, the text
    token at which each unit begins, and the band whose token its text stands under [U].
    """

    places: Offsets
    units: Offsets
    bands: Bands

    def at(self, place: int) -> int:
        """The band whose token a row that begins at `place` begins with; `NO_BAND` for none."""
        text = int(self.places.searchsorted(place))
        if text == len(self.places) or self.places[text] != place:
            return NO_BAND
        return int(self.bands[self.units.searchsorted(text, side="right") - 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Rows of a part of a stream.

    `begins` and `counts` [R] which stream tokens each row holds; `carried` [R] the band of
    the control token before them; `forks` those that have a place; `left_out` how many
    have none.
    """

    first: int
    last: int
    begins: Offsets
    counts: Offsets
    carried: Bands
    forks: Forks
    left_out: int

    def slots(self, block: int) -> tuple[Offsets, Offsets]:
        """Where in the rows, laid end to end, the stream's tokens and the forks stand."""
        heads = np.arange(len(self.begins)) * block + (self.carried != NO_BAND)
        shifts = heads - self.begins
        main = np.arange(self.first, self.last, dtype=np.int64)
        if len(self.forks.after):
            branches = np.zeros(self.last - self.first + 1, dtype=np.int64)
            branches[self.forks.after - self.first + 1] = 1
            before = np.cumsum(branches)[:-1]
            main += before
            shifts = shifts - before[self.begins - self.first]
        main += np.repeat(shifts, self.counts)
        return main, main[self.forks.after - self.first] + 1


def lay_out(first: int, last: int, block: int, forks: Forks, carried: Carried | None) -> Layout:
    """Cut the stream's tokens `first` to `last` - 1 into rows of `block` tokens.

    A fork whose unit began before its row is left out: it could not see the whole of it. So
    is one for which its row has no room left.
    """
    forks = forks.between(first, last)
    if carried is None and not len(forks.after):
        begins = np.arange(first, last, block, dtype=np.int64)
        return Layout(
            first=first, last=last, begins=begins, counts=np.diff(begins, append=last),
            carried=np.full(len(begins), NO_BAND, dtype=np.int8), forks=forks, left_out=0,
        )  # fmt: skip
    rows: list[tuple[int, int, int, int, int]] = []
    at = first
    while at < last:
        band = NO_BAND if carried is None else carried.at(at)
        room = block - (band != NO_BAND)
        low = int(forks.units.searchsorted(at))
        near = forks.after[low : low + room]
        slots = near - at + np.arange(1, len(near) + 1)
        fitting = int(slots.searchsorted(room))
        count = min(room - fitting, last - at)
        rows.append((at, count, band, low, fitting))
        at += count
    begins, counts, bands, lows, found = np.array(rows, dtype=np.int64).T
    kept = spread(lows, found)
    return Layout(
        first=first, last=last, begins=begins, counts=counts, carried=bands.astype(np.int8),
        forks=Forks(after=forks.after[kept], units=forks.units[kept], bands=forks.bands[kept]),
        left_out=len(forks.after) - len(kept),
    )  # fmt: skip
