"""What gets a label of its own, which band it is in, and where its token is shown.

Legend: N text tokens, S segments, U labelled units, D documents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valence.control import NO_BAND, Bands, ControlScheme, Rewards
from valence.pack.ragged import Offsets
from valence.pack.tokenised import Flags, Tokenised


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """What gets a label: the text token it begins at, its true band, its document [U]."""

    starts: Offsets
    bands: Bands
    documents: Offsets


def mean_rewards(rewards: Rewards, sizes: Offsets, owners: Offsets, documents: int) -> Rewards:
    """Mean reward of each document [D] over the text tokens of its segments [S].

    Segments without a reward are left out; a document without any has NaN. Any run of whole
    documents gives the same bits, because each is summed on its own and in order.
    """
    weights = np.where(np.isnan(rewards), 0, sizes).astype(np.float64)
    totals = np.bincount(owners, np.nan_to_num(rewards).astype(np.float64) * weights, documents)
    tokens = np.bincount(owners, weights, documents)
    means = totals / np.maximum(tokens, 1.0)
    return np.where(tokens > 0, means, np.nan).astype(np.float32)


def document_rewards(tokenised: Tokenised) -> Rewards:
    """Mean reward of each document [D] over its text tokens."""
    return mean_rewards(
        tokenised.rewards,
        tokenised.sizes,
        tokenised.segment_documents,
        len(tokenised.documents) - 1,
    )


def own_segments(tokenised: Tokenised) -> Flags:
    """Which segments [S] have a text token of their own.

    Of several segments that begin at one token only the last has.
    """
    return tokenised.sizes > 0


def label_units(tokenised: Tokenised, scheme: ControlScheme) -> Units:
    """What gets a label of its own: each segment, or each document at level `document`.

    A segment without a token of its own gets none. A document's reward is its mean over
    text tokens.
    """
    if scheme.level == "segment":
        own = own_segments(tokenised)
        return Units(
            starts=tokenised.segments[own],
            bands=scheme.bands(tokenised.rewards[own]),
            documents=tokenised.segment_documents[own],
        )
    filled = np.flatnonzero(np.diff(tokenised.documents) > 0)
    return Units(
        starts=tokenised.documents[filled],
        bands=scheme.bands(document_rewards(tokenised))[filled],
        documents=filled.astype(np.int64),
    )


def repeated(units: Units, bands: Bands, scheme: ControlScheme) -> Flags:
    """Which units [U] need no token of their own: with `change`, those in the band before."""
    found = np.zeros(len(bands), dtype=np.bool_)
    if scheme.placement == "change":
        found[1:] = (bands[1:] == bands[:-1]) & (np.diff(units.documents) == 0)
    return found


def place(units: Units, bands: Bands, scheme: ControlScheme) -> Bands:
    """Bands [U] without those that placement leaves out: with `change`, repeated ones."""
    return np.where(repeated(units, bands, scheme), np.int8(NO_BAND), bands)


def in_force(units: Units, bands: Bands, shown: Bands, scheme: ControlScheme) -> Bands:
    """The band [U] whose token a unit's text stands under, its own or one carried on.

    `bands` as rendered, `shown` what is left of them. With `random` none is carried on: a
    token may be as far away as it likes.
    """
    if scheme.placement == "random":
        return np.full_like(shown, NO_BAND)
    heads = np.where(repeated(units, bands, scheme), 0, np.arange(len(bands)))
    return shown[np.maximum.accumulate(heads)] if len(bands) else shown
