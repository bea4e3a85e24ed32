"""One stream of tokens: documents end to end, with what stands before, between and after.

Legend: N text tokens, M stream tokens, D documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from valence.control import NO_BAND, Bands
from valence.objective.protocol import IGNORED
from valence.pack.encoding import Ids
from valence.pack.ragged import Offsets, bounds_of
from valence.pack.tokenised import Flags, Tokenised
from valence.pack.units import Units

Bits32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Documents with control tokens between.

    `ids` [M]; `places` [N] where each text token stands; `control` [M] which are control
    tokens; `documents` [D + 1] where each document begins.
    """

    ids: Ids
    places: Offsets
    control: Flags
    documents: Offsets

    def targets(self, end_target: int) -> Bits32:
        """What is predicted at each token [M]: the next of its document, or `end_target`."""
        found = np.append(self.ids[1:], end_target).astype(np.int32)
        found[self.documents[1:] - 1] = end_target
        return found

    def owners(self) -> Bits32:
        """The document of each token [M]."""
        sizes = np.diff(self.documents)
        return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)


def build_stream(
    tokenised: Tokenised, before: Ids, start_ids: Sequence[int], end_ids: Sequence[int]
) -> Stream:
    """Per document: `start_ids`, its text, `end_ids`.

    `before` [N] is the control token before each text token, `IGNORED` for none.
    """
    tokens = np.diff(tokenised.documents)
    shown = before != IGNORED
    controls = bounds_of(shown.astype(np.int64))
    around = len(start_ids) + len(end_ids)
    numbers = np.arange(len(tokens) + 1, dtype=np.int64)
    documents = tokenised.documents + controls[tokenised.documents] + numbers * around
    heads = np.repeat(len(start_ids) + numbers[:-1] * around, tokens)
    places = np.arange(len(before), dtype=np.int64) + controls[1:] + heads
    ids = np.empty(documents[-1], dtype=np.int32)
    ids[places] = tokenised.ids
    for index, token in enumerate(start_ids):
        ids[documents[:-1] + index] = token
    for index, token in enumerate(reversed(end_ids), start=1):
        ids[documents[1:] - index] = token
    control = np.zeros(len(ids), dtype=np.bool_)
    at = places[shown] - 1
    ids[at] = before[shown]
    control[at] = True
    return Stream(ids=ids, places=places, control=control, documents=documents)


def before_units(units: Units, shown: Bands, control_ids: Sequence[int], tokens: int) -> Ids:
    """The control token before each text token [N]: those of units [U], where they begin."""
    found = np.full(tokens, IGNORED, dtype=np.int32)
    labelled = shown != NO_BAND
    found[units.starts[labelled]] = np.asarray(control_ids, dtype=np.int32)[shown[labelled]]
    return found
