"""Rows written out: a stream and its layout as arrays of tokens.

Legend: M stream tokens, R rows, T tokens of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from valence.control import NO_BAND
from valence.objective.protocol import IGNORED
from valence.pack.ragged import Offsets
from valence.pack.rows import Layout
from valence.pack.stream import Stream
from valence.pack.tokenised import Flags

Bits32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """Arrays [R, T], aligned by position: tokens, what each predicts, whose document it is in,
    which are side branches; and where the stream's tokens stand, rows laid end to end.
    """

    ids: Bits32
    targets: Bits32
    documents: Bits32
    forks: Flags
    main: Offsets


def fill(
    stream: Stream,
    layout: Layout,
    targets: Bits32,
    control_ids: Sequence[int],
    *,
    eos_id: int,
    block: int,
) -> Filled:
    """Write a layout of a stream out; `targets` [M] are what its tokens predict.

    Padding is EOS in a document of its own, and predicts nothing.
    """
    rows, part = len(layout.begins), slice(layout.first, layout.last)
    main, forks = layout.slots(block)
    heads = np.flatnonzero(layout.carried != NO_BAND)
    control = np.asarray(control_ids, dtype=np.int32)
    ids = np.full(rows * block, eos_id, dtype=np.int32)
    ids[main] = stream.ids[part]
    ids[heads * block] = control[layout.carried[heads]]
    predicted = np.full(rows * block, IGNORED, dtype=np.int32)
    predicted[main] = targets[part]
    predicted[forks] = control[layout.forks.bands]
    owners = stream.owners()
    documents = np.full(rows * block, len(stream.documents) - 1, dtype=np.int32)
    documents[main] = owners[part]
    documents[heads * block] = owners[layout.begins[heads]]
    documents[forks] = owners[layout.forks.after]
    branches = np.zeros(rows * block, dtype=np.bool_)
    branches[forks] = True
    shape = (rows, block)
    return Filled(
        ids=ids.reshape(shape),
        targets=predicted.reshape(shape),
        documents=documents.reshape(shape),
        forks=branches.reshape(shape),
        main=main,
    )
