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
        self.control_ids = list(control_ids)
        self.eos_id, self.forced, self.segment_ends = eos_id, forced, segment_ends
        self.bands = list(bands)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Next-token scores [B, V] for the tokens so far [B, T]."""
        offered = scores[:, self.bands].logsumexp(dim=-1) if self.bands else None
        scores = scores.clone()
        scores[:, self.control_ids] = -math.inf
        if self.forced is None:
            return scores
        if offered is not None:
            bands = torch.tensor(self.bands, device=input_ids.device)
            scores[:, self.forced] = offered.masked_fill(
                torch.isin(input_ids[:, -1], bands), -math.inf
            )
        if self.segment_ends is None:
            return scores
        starts = self.segment_ends.to(input_ids.device)[input_ids[:, -1]]
        if starts.any():
            rows = scores[starts]
            eos = rows[:, self.eos_id].clone()
            rows[:, self.eos_id] = -math.inf
            rest = rows.logsumexp(dim=-1)
            rows.fill_(-math.inf)
            rows[:, self.forced], rows[:, self.eos_id] = rest, eos
            scores[starts] = rows
        return scores


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
