"""Hold generation in one band: its token where a segment starts, no other control token.

Plain `LogitsProcessor`s, for anybody's `generate()`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor, PreTrainedTokenizerFast


def ban(scores_NV: torch.Tensor, banned: torch.Tensor, ends: int | torch.Tensor) -> torch.Tensor:
    """Log-probabilities [N, V] without some tokens, whose probability goes to the text.

    EOS, or all of several `ends` [E], keep what the model gives them. Were they renormalised too,
    texts would end early: where a conditional model writes a control token, text has next to no
    probability, and EOS beside it would have ten times its own.
    """
    log_NV = scores_NV.float().log_softmax(dim=-1)
    end_NE = log_NV[:, ends].clone()
    lost_N = log_NV[:, banned].logsumexp(dim=-1)
    text_NV = log_NV.index_fill_(1, banned, -math.inf)
    text_NV[:, ends] = -math.inf
    text_NV += _gain(text_NV.logsumexp(dim=-1), lost_N)[:, None]
    text_NV[:, ends] = end_NE
    return text_NV


def _gain(text_N: torch.Tensor, lost_N: torch.Tensor) -> torch.Tensor:
    """What to add to text of log-probability `text_N` to have that of `lost_N` too.

    Nothing where there is no text to have it. Summed up, not the rest of 1 that EOS leaves:
    where a model is all but sure of EOS, that rest is rounded to nothing.
    """
    return torch.where(text_N > -math.inf, torch.logaddexp(text_N, lost_N) - text_N, 0.0)


class BandProcessor(LogitsProcessor):
    """Bans control tokens everywhere, and forces one of them where a segment starts.

    At a segment start the text may still end: EOS, and whatever else ends a text, keep the
    probability that the model gives them, and all other probability goes to the forced token.
    Where the text does not tell that a segment starts, the model does: what it gives to any of
    the `bands` goes to the forced token. The token after a control token is text. Gives
    log-probabilities.
    """

    def __init__(
        self,
        control_ids: Sequence[int],
        eos_id: int,
        forced: int | None = None,
        segment_ends: torch.Tensor | None = None,
        bands: Sequence[int] = (),
        *,
        ends: Sequence[int] = (),
    ) -> None:
        """`control_ids`: what is banned, other special tokens too if there are any.

        `ends` are tokens beside EOS that end a text, as those that close a turn of a chat.
        `segment_ends` [V] marks the tokens that end a segment, `bands` are the control tokens
        that the model may write of itself; one of them is needed with `forced`.
        """
        if forced is not None and segment_ends is None and not bands:
            raise ValueError("a forced control token needs segment_ends or bands")
        self.eos_id, self.forced, self.segment_ends = eos_id, forced, segment_ends
        self.ends = torch.tensor(list(dict.fromkeys((eos_id, *ends))), dtype=torch.long)
        self.banned = torch.tensor(control_ids, dtype=torch.long)
        others = [token for token in control_ids if token not in set(bands)]
        self.others = torch.tensor(others, dtype=torch.long)
        self.bands = torch.tensor(bands, dtype=torch.long)

    @property
    def never(self) -> torch.Tensor:
        """Tokens that are no text: what is banned, and what ends it."""
        return torch.cat([self.banned, self.ends])

    def choosing(self, last_N: torch.Tensor) -> torch.Tensor | None:
        """After which last tokens nothing but the forced token or an end may come [N].

        It is the model's choice whether to end, not one among words: neither temperature nor
        top-p has a say. None where that is never so.
        """
        self._move(last_N.device)
        return None if self.segment_ends is None else self.segment_ends[last_N]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Next-token log-probabilities [N, V] for the tokens so far [N, T]."""
        self._move(scores.device)
        if self.forced is None:
            return ban(scores, self.banned, self.ends)
        last_N = input_ids[:, -1]
        log_NV = scores.float().log_softmax(dim=-1)
        end_NE = log_NV[:, self.ends].clone()
        lost_N = log_NV[:, self.others].logsumexp(dim=-1)
        bands_N = log_NV[:, self.bands].logsumexp(dim=-1)
        after_N = torch.isin(last_N, self.bands)
        held_N = bands_N.masked_fill(after_N, -math.inf)
        lost_N = torch.where(after_N, torch.logaddexp(lost_N, bands_N), lost_N)
        held_NV = log_NV.index_fill_(1, self.banned, -math.inf)
        held_NV[:, self.ends] = -math.inf
        text_N = held_NV.logsumexp(dim=-1)
        held_NV += _gain(text_N, lost_N)[:, None]
        held_NV[:, self.ends] = end_NE
        held_NV[:, self.forced] = held_N
        if self.segment_ends is None:
            return held_NV
        # No branch on whether a segment starts anywhere: an accelerator would wait for it.
        starts_N = self.segment_ends[last_N]
        held_NV.masked_fill_(starts_N[:, None], -math.inf)
        held_NV[:, self.ends] = end_NE
        forced_N = torch.stack([text_N, lost_N, held_N]).logsumexp(dim=0)
        held_NV[:, self.forced] = torch.where(starts_N, forced_N, held_N)
        return held_NV

    def _move(self, device: torch.device) -> None:
        """Have what is looked up where the scores are."""
        if self.banned.device != device:
            self.banned, self.others = self.banned.to(device), self.others.to(device)
            self.bands, self.ends = self.bands.to(device), self.ends.to(device)
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
