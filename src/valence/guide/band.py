"""Hold generation in one band: its token where a segment starts, no other control token.

Plain `LogitsProcessor`s, for anybody's `generate()`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor, PreTrainedTokenizerFast


class BandProcessor(LogitsProcessor):
    """Bans control tokens everywhere, and forces one of them where a segment starts.

    At a segment start the text may still end: EOS keeps the probability that the model
    gives it, and all other probability goes to the forced token. Where the text does not
    tell that a segment starts, the model does: what it gives to any of the `bands` goes to
    the forced token. The token after a control token is text.
    """

    def __init__(
        self,
        control_ids: Sequence[int],
        eos_id: int,
        forced: int | None = None,
        segment_ends: torch.Tensor | None = None,
        bands: Sequence[int] = (),
    ) -> None:
        """`control_ids`: what is banned, other special tokens too if there are any.

        `segment_ends` [V] marks the tokens that end a segment, `bands` are the control tokens
        that the model may write of itself; one of them is needed with `forced`.
        """
        if forced is not None and segment_ends is None and not bands:
            raise ValueError("a forced control token needs segment_ends or bands")
        self.eos_id, self.forced, self.segment_ends = eos_id, forced, segment_ends
        self._banned = torch.tensor(control_ids, dtype=torch.long)
        self._bands = torch.tensor(bands, dtype=torch.long)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Next-token scores [B, V] for the tokens so far [B, T]."""
        self._move(scores.device)
        plain = scores.index_fill(1, self._banned, -math.inf)
        if self.forced is None:
            return plain
        last = input_ids[:, -1]
        if len(self._bands):
            offered = scores[:, self._bands].logsumexp(dim=-1)
            after_control = torch.isin(last, self._bands)
            plain[:, self.forced] = offered.masked_fill(after_control, -math.inf)
        if self.segment_ends is None:
            return plain
        # No branch on whether a segment starts anywhere: an accelerator would wait for it.
        starts = self.segment_ends[last]
        eos = plain[:, self.eos_id].clone()
        plain[:, self.eos_id] = -math.inf
        rest = plain.logsumexp(dim=-1)
        held = plain.masked_fill_(starts[:, None], -math.inf)
        held[:, self.forced] = torch.where(starts, rest, held[:, self.forced])
        held[:, self.eos_id] = eos
        return held

    def _move(self, device: torch.device) -> None:
        """Have what is looked up where the scores are."""
        if self._banned.device != device:
            self._banned, self._bands = self._banned.to(device), self._bands.to(device)
            if self.segment_ends is not None:
                self.segment_ends = self.segment_ends.to(device)


def line_end_tokens(tokenizer: PreTrainedTokenizerFast, size: int) -> torch.Tensor:
    """Which of `size` token ids hold a line break [V]: after one, a new line starts.

    By what a token decodes to, for every tokenizer spells it otherwise: byte-level BPE as a
    letter, SentencePiece as a byte. Of a token that also begins the next line, as some
    vocabularies have, the line's own control token comes too late.
    """
    known = [index for index in tokenizer.get_vocab().values() if index < size]
    backend = tokenizer.backend_tokenizer
    texts = backend.decode_batch([[index] for index in known], skip_special_tokens=False)
    ends = torch.zeros(size, dtype=torch.bool)
    for index, text in zip(known, texts, strict=True):
        ends[index] = "\n" in text or "\r" in text
    return ends
