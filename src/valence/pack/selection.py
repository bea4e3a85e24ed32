"""Which text an objective trains on."""

from __future__ import annotations

import numpy as np

from valence.control import Rewards
from valence.errors import BoundError
from valence.objective.protocol import Objective
from valence.pack.draws import lots
from valence.pack.ragged import Offsets
from valence.pack.tokenised import Flags, Tokenised, keep_segments
from valence.pack.tokens import DOCUMENTS_AT_ONCE, TokenStore
from valence.pack.units import document_rewards, mean_rewards


def chosen(
    objective: Objective,
    seed: int,
    rewards: Rewards,
    means: Rewards,
    *,
    segments: Offsets,
    documents: Offsets,
) -> Flags | None:
    """Which segments [S] are trained on, or None for all.

    `means` [S] rewards of their documents; `segments` and `documents` [S] their places in
    the store. An objective that selects documents gets one lot for each of them.
    """
    numbers = documents if objective.selects_documents else segments
    return objective.select(rewards, means, lots(seed, numbers))


def selected_sizes(store: TokenStore, objective: Objective, seed: int) -> Offsets | None:
    """Text tokens of each document [D] that are trained on, or None where all are.

    Raises `BoundError` if there are none.
    """
    parts, first_segment = [], 0
    for first in range(0, store.documents, DOCUMENTS_AT_ONCE):
        last = min(first + DOCUMENTS_AT_ONCE, store.documents)
        rewards, sizes, owners = store.segments_of(first, last)
        kept = chosen(
            objective,
            seed,
            rewards,
            mean_rewards(rewards, sizes, owners, last - first)[owners],
            segments=np.arange(first_segment, first_segment + len(sizes), dtype=np.int64),
            documents=owners + first,
        )
        if kept is None:
            return None
        first_segment += len(sizes)
        parts.append(np.bincount(owners, np.where(kept, sizes, 0), last - first))
    found = np.concatenate(parts).astype(np.int64)
    if not found.any():
        raise BoundError(
            f"`{objective.name}` leaves no text to train on",
            where="models",
            fix="Lower its threshold, or raise its share.",
        )
    return found


def take_selected(
    store: TokenStore, objective: Objective, seed: int, documents: Offsets
) -> Tokenised:
    """The text [d] that an objective trains on; documents without any are left out."""
    text = store.take(documents)
    owners = text.segment_documents
    kept = chosen(
        objective,
        seed,
        text.rewards,
        document_rewards(text)[owners],
        segments=store.segment_numbers(documents),
        documents=documents[owners],
    )
    return text if kept is None else keep_segments(text, kept)
