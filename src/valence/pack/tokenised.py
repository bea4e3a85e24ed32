"""Documents as text tokens in memory, with the rewards of their segments.

Text tokens are the same for every objective. A document is tokenised whole, and its text's
own tokens are never cut by what is put between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from valence.annotate.read import Annotated
from valence.control import Rewards
from valence.errors import CorpusError
from valence.pack.encoding import Ids, encode
from valence.pack.marks import Marks, in_tokens
from valence.pack.ragged import Offsets, bounds_of, spread

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenised:
    """Documents as text tokens, flat, in order.

    `ids` [N]; `documents` [D + 1] where each document begins in `ids`; `segments` [S]
    where each segment begins in `ids`; `rewards` [S], NaN where there is none;
    `segment_documents` [S] the document of each segment; `chars` and `bytes` [D] of the
    whole documents. `straddling` counts tokens that reach over a segment's start; None
    where it is not known for these documents alone. `names` [D] the documents' ids, and
    `marks` [M, 2] what their rewards point at, as half-open ranges of text tokens, ascending;
    None where they are not known.
    """

    ids: Ids
    documents: Offsets
    segments: Offsets
    rewards: Rewards
    segment_documents: Offsets
    chars: Offsets
    bytes: Offsets
    straddling: int | None = None
    names: tuple[str, ...] | None = None
    marks: Offsets | None = None

    @property
    def sizes(self) -> Offsets:
        """Text tokens of each segment [S]; 0 for one without a token of its own."""
        return np.diff(self.segments, append=len(self.ids))


def tokenise(
    annotated: Iterable[Annotated],
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_tokens: int | None = None,
    marks: Marks | None = None,
    unrewarded: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tokenised:
    """Tokenise documents once each; those without any reward are left out, if not `unrewarded`.

    Stops after the document in which `max_tokens` is reached. `marks` (see `pack/marks.py`) are
    told in tokens. Raises `CorpusError` if no document has a reward.
    """
    ids: list[Ids] = []
    segments: list[Offsets] = []
    rewards: list[Rewards] = []
    owners: list[int] = []
    sizes: list[tuple[int, int, int]] = []
    names: list[str] = []
    marked: list[Offsets] = []
    total = straddling = 0
    usable = (item for item in annotated if unrewarded or not np.isnan(item.rewards).all())
    for encoded in encode(usable, tokenizer):
        straddling += encoded.straddling
        segments.append(encoded.starts + total)
        rewards.append(encoded.item.rewards)
        owners.extend([len(sizes)] * len(encoded.starts))
        ids.append(encoded.ids)
        names.append(encoded.item.document.id)
        if marks is not None:
            key = names[-1], encoded.item.document.text
            marked.append(in_tokens(marks.get(key, ()), encoded.offsets) + total)
        text = encoded.item.document.text
        sizes.append((len(encoded.ids), len(text), len(text.encode())))
        total += len(encoded.ids)
        if on_progress is not None:
            on_progress(min(total, max_tokens or total), max_tokens or total)
        if max_tokens is not None and total >= max_tokens:
            break
    if not sizes:
        raise no_rewards()
    lengths, chars, size_bytes = np.array(sizes, dtype=np.int64).T
    return Tokenised(
        ids=np.concatenate(ids),
        documents=bounds_of(lengths),
        segments=np.concatenate(segments),
        rewards=np.concatenate(rewards),
        segment_documents=np.array(owners, dtype=np.int64),
        chars=chars,
        bytes=size_bytes,
        straddling=straddling,
        names=tuple(names),
        marks=None if marks is None else np.concatenate(marked),
    )


def no_rewards() -> CorpusError:
    """The error for text of which nothing can be trained on."""
    return CorpusError(
        "no document has a reward", where="pack", fix="See the failures of the annotation."
    )


def keep_segments(tokenised: Tokenised, kept: Flags) -> Tokenised:
    """The text of some segments [S] alone; documents of which nothing is left are left out."""
    sizes = np.where(kept, tokenised.sizes, 0)
    lengths = np.bincount(tokenised.segment_documents, sizes, len(tokenised.documents) - 1).astype(
        np.int64
    )
    used = lengths > 0
    kept = kept & used[tokenised.segment_documents]
    renumbered = np.cumsum(used) - 1
    return Tokenised(
        ids=tokenised.ids[spread(tokenised.segments[kept], sizes[kept])],
        documents=bounds_of(lengths[used]),
        segments=bounds_of(sizes[kept])[:-1],
        rewards=tokenised.rewards[kept],
        segment_documents=renumbered[tokenised.segment_documents[kept]],
        chars=tokenised.chars[used],
        bytes=tokenised.bytes[used],
    )
