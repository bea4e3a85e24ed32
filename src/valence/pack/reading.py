"""Rows of text that is read and not trained on: each document begins a row of its own.

What stands in a row, and what its tokens see, is as in training; but no token loses context
to the place at which a row happens to begin, unless its document is longer than a row.

Legend: N text tokens, U units, R rows, T tokens of a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from valence.control import NO_BAND, Bands, ControlScheme
from valence.objective.protocol import IGNORED
from valence.pack.fill import Bits32, Filled, fill
from valence.pack.ragged import Offsets
from valence.pack.rows import Carried, Forks, lay_out
from valence.pack.stream import Stream, before_units, build_stream
from valence.pack.tokenised import Flags, Tokenised
from valence.pack.units import Units, in_force, label_units, place

_NO_FORKS = Forks(
    after=np.zeros(0, dtype=np.int64),
    units=np.zeros(0, dtype=np.int64),
    bands=np.zeros(0, dtype=np.int8),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRows:
    """Rows [R, T], aligned by position; see `pack.render.Rows`.

    `texts`: whether the target is a text token; `owners` [R] the document of each row.
    """

    ids: Bits32
    targets: Bits32
    documents: Bits32
    texts: Flags
    owners: Offsets


def rows_of_documents(
    text: Tokenised,
    scheme: ControlScheme,
    bands: Bands,
    control_ids: Sequence[int],
    *,
    start_ids: Sequence[int],
    end_ids: Sequence[int],
    block: int,
) -> TextRows:
    """Documents in rows, the token of `bands` [U] before each unit where placement puts it.

    Under random placement a document has one token, at its start, as a text that is generated
    has.
    """
    units = label_units(text, scheme)
    shown = place(units, bands, scheme)
    if scheme.placement == "random":
        shown = np.where(np.diff(units.documents, prepend=-1) != 0, shown, np.int8(NO_BAND))
    carried = in_force(units, bands, shown, scheme)
    before = before_units(units, shown, control_ids, len(text.ids))
    parts, owners = [], []
    for number, (tokens, segments, some) in enumerate(_documents(text, units)):
        one = _one(text, tokens, segments)
        stream = build_stream(one, before[tokens], start_ids, end_ids)
        starts = units.starts[some] - tokens.start
        force = Carried(places=stream.places, units=starts, bands=carried[some])
        any_force = len(starts) > 0 and (carried[some] != NO_BAND).any()
        layout = lay_out(0, len(stream.ids), block, _NO_FORKS, force if any_force else None)
        targets = stream.targets(IGNORED if end_ids else start_ids[0])
        eos_id = end_ids[0] if end_ids else start_ids[0]
        filled = fill(stream, layout, targets, control_ids, eos_id=eos_id, block=block)
        parts.append((filled, _texts(stream, filled)))
        owners.append(np.full(len(filled.ids), number, dtype=np.int64))
    return TextRows(
        ids=np.concatenate([filled.ids for filled, _ in parts]),
        targets=np.concatenate([filled.targets for filled, _ in parts]),
        documents=np.concatenate([filled.documents for filled, _ in parts]),
        texts=np.concatenate([texts for _, texts in parts]),
        owners=np.concatenate(owners),
    )


def _documents(text: Tokenised, units: Units) -> Iterator[tuple[slice, slice, slice]]:
    """Each document's tokens, segments and units."""
    numbers = np.arange(len(text.documents))
    segments = np.searchsorted(text.segment_documents, numbers)
    some = np.searchsorted(units.documents, numbers)
    for d in range(len(numbers) - 1):
        yield (
            slice(int(text.documents[d]), int(text.documents[d + 1])),
            slice(int(segments[d]), int(segments[d + 1])),
            slice(int(some[d]), int(some[d + 1])),
        )


def _one(text: Tokenised, tokens: slice, segments: slice) -> Tokenised:
    ids = text.ids[tokens]
    count = segments.stop - segments.start
    return Tokenised(
        ids=ids,
        documents=np.array([0, len(ids)], dtype=np.int64),
        segments=text.segments[segments] - tokens.start,
        rewards=text.rewards[segments],
        segment_documents=np.zeros(count, dtype=np.int64),
        chars=np.zeros(1, dtype=np.int64),
        bytes=np.zeros(1, dtype=np.int64),
    )


def _texts(stream: Stream, filled: Filled) -> Flags:
    flags = np.zeros(len(stream.ids), dtype=np.bool_)
    # A text token is predicted at the token before it, whatever that is.
    flags[stream.places - 1] = True
    found = np.zeros(filled.ids.size, dtype=np.bool_)
    found[filled.main] = flags
    return found.reshape(filled.ids.shape)
