"""Text to tokens, and which token each segment begins at, with any fast tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from valence.annotate.read import Annotated
from valence.model import encode_texts, special_ids
from valence.pack.ragged import Offsets

Ids = npt.NDArray[np.int32]

BATCH = 64
"""Documents that are tokenised together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One document as text tokens.

    `ids` [N]; `offsets` [N, 2] the characters of each; `starts` [S] the first token of each
    segment; `straddling` counts tokens that reach over a segment's start.
    """

    item: Annotated
    ids: Ids
    offsets: Offsets
    starts: Offsets
    straddling: int


def encode(annotated: Iterable[Annotated], tokenizer: PreTrainedTokenizerFast) -> Iterator[Encoded]:
    """Tokenise documents, each whole and alone; no special token comes of any text."""
    specials = special_ids(tokenizer)
    source = iter(annotated)
    while group := list(islice(source, BATCH)):
        texts = [item.document.text for item in group]
        for item, encoded in zip(
            group, encode_texts(tokenizer, texts, specials=specials), strict=True
        ):
            starts, crossed = align(item.document.text, encoded.offsets, item.ends)
            yield Encoded(
                item=item,
                ids=encoded.ids,
                offsets=encoded.offsets,
                starts=starts,
                straddling=crossed,
            )


def align(text: str, offsets: Offsets, ends: Offsets) -> tuple[Offsets, int]:
    """First token of each segment [S], from token offsets [N, 2] and segment ends [S].

    A token that reaches over a segment's start belongs to the segment that holds its
    first character that is not blank, or else its first. Returns also how many do.
    """
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    first = np.searchsorted(offsets[:, 0], starts, side="left").astype(np.int64)
    before = np.maximum(first - 1, 0)
    # Several tokens may spell one character: only a token that begins earlier crosses.
    token_ends = offsets[before, 1] if len(offsets) else starts
    crossing = np.flatnonzero((first > 0) & (token_ends > starts))
    for index in crossing:
        token_start, token_end = offsets[before[index]]
        head = text[token_start : starts[index]]
        if not head.strip() and text[starts[index] : token_end].strip():
            first[index] = before[index]
    return first, len(crossing)
