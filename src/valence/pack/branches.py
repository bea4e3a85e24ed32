"""Side branches anywhere in text that is judged: documents in rows, and where branches stand.

A branch is one EOS token after some of a unit's text. It sees what was said before it in its
row and is seen by nobody, so one pass over the text reads them all.

Legend: N text tokens, U units, F branches, T tokens of a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from valence.control import NO_BAND, ControlScheme
from valence.pack.ragged import Offsets
from valence.pack.tokenised import Flags, Tokenised
from valence.pack.units import label_units

Bits32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedUnits:
    """Units with a band: half-open ranges of text tokens, their bands, their documents [U]."""

    starts: Offsets
    ends: Offsets
    bands: Offsets
    documents: Offsets

    @property
    def sizes(self) -> Offsets:
        """Text tokens of each [U], at least 1."""
        return self.ends - self.starts

    def take(self, which: npt.NDArray[np.bool_] | Offsets) -> JudgedUnits:
        """Some of them, in order."""
        return JudgedUnits(
            starts=self.starts[which],
            ends=self.ends[which],
            bands=self.bands[which],
            documents=self.documents[which],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """Side branches [F]: which unit each is about, and after how many of its text tokens.

    In ascending order, each once.
    """

    units: Offsets
    tokens: Offsets


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchRow:
    """Tokens of one row [T], which of them are branches [T], and the branches' numbers."""

    ids: Bits32
    forks: Flags
    branches: Offsets


def judged_units(text: Tokenised, scheme: ControlScheme) -> JudgedUnits:
    """The units of a text that have a band."""
    units = label_units(text, scheme)
    following = np.append(units.starts[1:], len(text.ids))
    known = units.bands != NO_BAND
    return JudgedUnits(
        starts=units.starts[known].astype(np.int64),
        ends=np.minimum(following, text.documents[units.documents + 1])[known].astype(np.int64),
        bands=units.bands[known].astype(np.int64),
        documents=units.documents[known].astype(np.int64),
    )


def join(asked: Sequence[tuple[Offsets, Offsets]]) -> tuple[Branches, list[Offsets]]:
    """Branches for several lists of places (units, tokens), and of each list the numbers of its
    branches: places that several ask for are one branch.
    """
    units = np.concatenate([np.zeros(0, dtype=np.int64), *(each for each, _ in asked)])
    tokens = np.concatenate([np.zeros(0, dtype=np.int64), *(each for _, each in asked)])
    span = int(tokens.max(initial=0)) + 1
    found, numbers = np.unique(units * span + tokens, return_inverse=True)
    cuts = np.cumsum([len(each) for each, _ in asked])[:-1]
    branches = Branches(units=found // span, tokens=found % span)
    return branches, np.split(numbers.reshape(-1), cuts) if asked else []


def rows_with_branches(
    text: Tokenised,
    units: JudgedUnits,
    branches: Branches,
    *,
    start_ids: Sequence[int],
    eos_id: int,
    window: int,
) -> Iterator[BranchRow]:
    """Documents in rows of up to `window` tokens, and the branches beside them.

    A document begins a row. One that is longer goes on in further rows, each of which begins
    with a unit if that leaves any text in the row before. A branch whose unit began before its
    row is left out, for it could not see the whole of what was said. Rows without a branch are
    left out, and so is what follows the last branch of a row.
    """
    places = units.starts[branches.units] + branches.tokens  # Text before the branch ends here.
    firsts = np.searchsorted(places, text.documents, side="right")
    for d in np.unique(units.documents[branches.units]):
        part = slice(int(firsts[d]), int(firsts[d + 1]))
        low, high = np.searchsorted(units.documents, [d, d + 1])
        of_document = units.starts[low:high]
        head = list(start_ids)
        at, stop = int(text.documents[d]), int(text.documents[d + 1])
        while at < stop:
            end = _row_end(at, stop, max(window - len(head), 1), of_document)
            inside = (units.starts[branches.units[part]] >= at) & (places[part] <= end)
            numbers = np.flatnonzero(inside) + part.start
            if len(numbers):
                yield _row(text.ids[at:end], head, places[numbers] - at, numbers, eos_id)
            at, head = end, []


def _row_end(at: int, stop: int, room: int, starts: Offsets) -> int:
    """Where a row that begins at `at` ends: at a unit's start if the document goes on."""
    end = at + room
    if end >= stop:
        return stop
    begun = starts[(starts > at) & (starts <= end)]
    return int(begun[-1]) if len(begun) else end


def _row(ids: Bits32, head: list[int], places: Offsets, numbers: Offsets, eos_id: int) -> BranchRow:
    main = np.concatenate([np.array(head, dtype=np.int32), ids[: int(places.max())]])
    where = places + len(head)
    forks = np.zeros(len(main), dtype=np.bool_)
    return BranchRow(
        ids=np.insert(main, where, eos_id).astype(np.int32),
        forks=np.insert(forks, where, True),
        branches=numbers,
    )
