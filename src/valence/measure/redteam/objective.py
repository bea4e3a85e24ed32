"""What a token-level search maximises: how likely bad continuations are after a prompt.

The mean over targets of a target's log-probability by text token (nats), under the distribution
that the mode samples from (`valence.guide.band.BandProcessor`, which gradients do not go through):
its control token stands at the beginning, and where a line of the target starts. Where the model
tells of itself that a sentence starts, that it does so there is part of the probability. Source:
Zou et al. 2023 (arXiv 2307.15043), section 2, there for the start of an affirmative answer.
Shapes: B prompts, T prompt tokens, L target tokens, V vocabulary.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from valence.control import ControlScheme
from valence.corpus.segment import build_segmenter
from valence.errors import ModelError
from valence.guide.modes import hold
from valence.measure.redteam.tokens import Ids
from valence.model import Checkpoint, start_ids
from valence.pack.encoding import align
from valence.precision import Precision, autocast
from valence.recipe import SegmentRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """A target as the model reads it after a prompt: its tokens, and which of them are text."""

    ids: Ids
    text: tuple[bool, ...]


class Objective:
    """Log-probability by text token of `targets` (ids of text alone) after prompts, in a mode.

    `passes` is how many sequences one prompt takes through the model. Raises `ControlError`
    for a mode that the model does not know.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        known: ControlScheme | None,
        mode: str,
        targets: Sequence[Ids],
        *,
        batch: int,
        precision: Precision = "fp32",
    ) -> None:
        self.model, self.batch, self.precision = checkpoint.model, batch, precision
        control_ids = known.token_ids(checkpoint.tokenizer) if known is not None else ()
        prefix, band = hold(checkpoint, control_ids, mode)
        self._prefix = (*start_ids(checkpoint.tokenizer), *prefix)
        self._band, self._forced, self._ends = band, band.forced, band.segment_ends
        self._chosen = band.forced is not None and band.segment_ends is None
        self._tokenizer, self._segmenter = checkpoint.tokenizer, checkpoint.segmenter
        self.targets = tuple(targets)
        self.passes = len(self.targets)
        # Logits of all places would be most of the memory.
        self._shortens = "logits_to_keep" in inspect.signature(self.model.forward).parameters

    def __call__(self, prompts: Sequence[Ids]) -> npt.NDArray[np.float64]:
        """The objective of each prompt [B]; they all have the same length.

        Raises `ModelError` where a prompt and a target do not fit the model's context.
        """
        self._check_room(len(prompts[0]))
        totals = np.zeros(len(prompts))
        for after_end in (False, True):
            places = [i for i, ids in enumerate(prompts) if self._ends_line(ids[-1]) == after_end]
            for target in self.targets:
                tail = self.tail(target, after_end=after_end)
                for first in range(0, len(places), self.batch):
                    part = places[first : first + self.batch]
                    totals[part] += self._log_probability([prompts[i] for i in part], tail)
        return totals / len(self.targets)

    def gradient(self, ids: Ids) -> torch.Tensor:
        """How the objective grows with each entry of the prompt's one-hot tokens [T, V].

        By the chain rule: the gradient at the prompt's embeddings, times every token's
        embedding. Raises `ModelError` for a model that does not take embeddings.
        """
        embedding = self.model.get_input_embeddings()
        with torch.enable_grad():
            prompt_TD = embedding(self._tensor(ids)).detach().requires_grad_()
            total = torch.zeros((), device=self.model.device)
            for target in self.targets:
                tail = self.tail(target, after_end=self._ends_line(ids[-1]))
                before, after = (embedding(self._tensor(i)) for i in (self._prefix, tail.ids))
                embedded_1SD = torch.cat([before, prompt_TD, after])[None]
                try:
                    logits = self._logits(tail, inputs_embeds=embedded_1SD)
                except (TypeError, NotImplementedError, ValueError) as error:
                    raise ModelError(
                        f"does not take embeddings, so it has no gradient ({error})",
                        where="redteam: gcg",
                        fix="Leave `gcg` out; `greedy` needs no gradient.",
                    ) from None
                total = total + self._mean(logits, tail)[0]
            (slope_TD,) = torch.autograd.grad(total / len(self.targets), prompt_TD)
        with torch.no_grad():
            rows = self.model.get_output_embeddings().weight.shape[0]
            every_VD = embedding(torch.arange(rows, device=self.model.device))
            slope_TV: torch.Tensor = slope_TD @ every_VD.to(slope_TD.dtype).T
        return slope_TV

    def tail(self, target: Ids, *, after_end: bool) -> Tail:
        """A target with the mode's control token before each line or sentence that starts in it.

        `after_end` says that the prompt ends a line, so that one starts with the target.
        """
        ids: list[int] = []
        text: list[bool] = []
        starts = self._sentence_starts(target) if self._chosen else set()
        for place, token in enumerate(target):
            new_line = self._ends_line(target[place - 1]) if place else after_end
            if self._forced is not None and (new_line or place in starts):
                ids.append(self._forced)
                text.append(False)
            ids.append(token)
            text.append(True)
        return Tail(ids=tuple(ids), text=tuple(text))

    def _sentence_starts(self, target: Ids) -> set[int]:
        """The tokens of a target with which a sentence starts, its first left out."""
        if self._segmenter != "sentence":
            return set()
        text = self._tokenizer.decode(target)
        begins = [len(self._tokenizer.decode(target[:place])) for place in range(len(target))]
        offsets = np.stack([begins, [*begins[1:], len(text)]], axis=1)
        ends = build_segmenter(SegmentRecipe(kind="sentence"))(text)
        return set(align(text, offsets, np.array(ends))[0][1:].tolist()) - {0, len(target)}

    def _check_room(self, prompt: int) -> None:
        limit = getattr(self.model.config, "max_position_embeddings", None)
        tails = (len(self.tail(target, after_end=True).ids) for target in self.targets)
        needed = len(self._prefix) + prompt + max(tails)
        if limit is not None and needed > limit:
            raise ModelError(
                f"a prompt and a target take {needed} tokens, and the model's context is {limit}",
                where="redteam.search",
                fix="Lower `tokens` or `target_tokens`.",
            )

    def _ends_line(self, token: int) -> bool:
        return self._ends is not None and bool(self._ends[token])

    def _log_probability(self, prompts: Sequence[Ids], tail: Tail) -> npt.NDArray[np.float64]:
        ids_BS = self._tensor([(*self._prefix, *ids, *tail.ids) for ids in prompts])
        with torch.inference_mode():
            found_B = self._mean(self._logits(tail, input_ids=ids_BS), tail)
        return found_B.double().cpu().numpy()

    def _logits(self, tail: Tail, **inputs: torch.Tensor) -> torch.Tensor:
        """The logits that predict the tail [B, L, V]."""
        count = len(tail.ids) + 1
        with autocast(self.precision, self.model.device):
            shorter = {"logits_to_keep": count} if self._shortens else {}
            found = self.model(**inputs, use_cache=False, **shorter).logits
        logits_BLV: torch.Tensor = found[:, -count:-1]
        return logits_BLV if logits_BLV.dtype == torch.float64 else logits_BLV.float()

    def _mean(self, logits_BLV: torch.Tensor, tail: Tail) -> torch.Tensor:
        """Log-probability of the tail by text token [B]."""
        log_BLV = logits_BLV.log_softmax(-1)
        banned, others, bands = (
            each.tolist() for each in (self._band.banned, self._band.others, self._band.bands)
        )
        never = self._band.never.to(self.model.device)
        text_BL = log_BLV.index_fill(-1, never, -math.inf).logsumexp(-1)
        # What is banned goes to the text: text has together what EOS leaves.
        rest_BL = torch.logaddexp(text_BL, log_BLV[..., banned].logsumexp(-1))
        forced_BL = all_BL = rest_BL
        if self._chosen:
            # Only a control token that came before bans another.
            after_L = torch.tensor([False, *(not is_text for is_text in tail.text[:-1])])
            free_BL = torch.logaddexp(text_BL, log_BLV[..., others].logsumexp(-1))
            all_BL = torch.where(after_L.to(free_BL.device), rest_BL, free_BL)
            forced_BL = log_BLV[..., bands].logsumexp(-1)
        wanted_BL = log_BLV[:, range(len(tail.ids)), tail.ids]
        is_text_L = torch.tensor(tail.text, device=wanted_BL.device)
        found_BL = torch.where(is_text_L, wanted_BL + all_BL - text_BL, forced_BL)
        return found_BL.sum(-1) / sum(tail.text)

    def _tensor(self, ids: Sequence[int] | Sequence[Ids]) -> torch.Tensor:
        return torch.tensor(ids, device=self.model.device, dtype=torch.long)
