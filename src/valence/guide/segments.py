"""Where segments end in a text that is being written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from transformers import PreTrainedTokenizerFast

from valence.corpus.segment import build_segmenter
from valence.errors import ControlError
from valence.guide.band import line_end_tokens
from valence.guide.rows import Row
from valence.model import Checkpoint
from valence.pack.encoding import align
from valence.recipe import SegmentRecipe

SegmentKind = Literal["line", "sentence", "window", "document"]


class Boundaries:
    """Ends of segments, in tokens of a row after its prompt.

    `kind` is that of a segmenter: a line ends with its line break. Where a sentence ends is
    known once the next one has begun. A `document` ends where the text does. With `tokens` a
    segment is a window of so many text tokens.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        kind: str,
        control_ids: Sequence[int],
        *,
        tokens: int = 64,
    ) -> None:
        if kind not in get_args(SegmentKind) or tokens < 1:
            raise ControlError(
                f"segments of kind `{kind}` (window {tokens}) cannot be told while text is written",
                where="guide: segments",
                fix="Set `segments` to line, sentence, window or document.",
            )
        self.kind, self.tokenizer, self.tokens = kind, tokenizer, tokens
        self._controls = frozenset(control_ids)
        self._ends = None
        if kind == "line":
            size = max(tokenizer.get_vocab().values()) + 1
            self._ends = line_end_tokens(tokenizer, size).tolist()
        self._split = None
        if kind == "sentence":
            self._split = build_segmenter(SegmentRecipe(kind="sentence"))

    @property
    def quick(self) -> bool:
        """Whether the tokens alone tell where a segment ends."""
        return self._split is None

    def after(self, row: Row, begin: int) -> list[int]:
        """Ends of the segments that begin at the token `begin` or later, in order.

        Of a row that is done the last is where its text ends.
        """
        tokens = row.tokens[begin:]
        ends = [begin + end for end in self._within(tokens)]
        if row.done and row.tokens[begin:] and (not ends or ends[-1] != len(row.tokens)):
            ends.append(len(row.tokens))
        return ends

    def _within(self, tokens: Sequence[int]) -> list[int]:
        if self._ends is not None:
            return [place for place, token in enumerate(tokens, start=1) if self._ends[token]]
        text = [place for place, token in enumerate(tokens) if token not in self._controls]
        if self.kind == "window":
            return [place + 1 for place in text[self.tokens - 1 :: self.tokens]]
        if self._split is None or not text:
            return []
        ids = [tokens[place] for place in text]
        said = self.tokenizer.decode(ids)
        begins = [len(self.tokenizer.decode(ids[:count])) for count in range(len(ids))]
        offsets = np.stack([begins, [*begins[1:], len(said)]], axis=1)
        firsts, _ = align(said, offsets, np.array(self._split(said)))
        # A control token before a sentence's first token is its own.
        return [text[first - 1] + 1 for first in firsts[1:].tolist() if 0 < first < len(ids)]


def boundaries(
    checkpoint: Checkpoint, control_ids: Sequence[int], kind: SegmentKind | None, window: int
) -> Boundaries:
    """Boundaries of a kind, by default of the segments that the model was trained on."""
    return Boundaries(
        checkpoint.tokenizer, kind or checkpoint.segmenter, control_ids, tokens=window
    )
