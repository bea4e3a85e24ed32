"""One token ahead: what each candidate would lead to, before it is chosen.

Shapes: N rows, K candidates, V vocabulary, D hidden size.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from valence.control import ControlScheme
from valence.errors import ControlError
from valence.guide.protocol import Guide, Site, Step
from valence.model import Checkpoint, head_weight


class Lookahead(Guide):
    """Of the `candidates` likeliest tokens, drop the share after which bad is likeliest next.

    Bad is the worst band's token. Of models that put it into bad text of their own accord
    (`placement: random`) its probability counts; of others, which write a band's token wherever a
    segment starts, its share among the bands: they would be kept from ever starting one. Each step
    reads K more tokens.

    Source: SafeBeam of Maini et al. 2025, Safety Pretraining (arXiv 2504.16980).
    """

    def __init__(self, candidates: int = 10, drop: float = 0.5) -> None:
        if candidates < 2 or not 0 <= drop < 1:
            raise ControlError(
                f"{candidates} candidates of which {drop} are dropped cannot be used",
                where="lookahead",
                fix="Give 2 candidates or more, and a share from 0 to below 1.",
            )
        self.candidates, self.drop = candidates, drop

    def fits(self, checkpoint: Checkpoint, known: ControlScheme | None, mode: str) -> bool:
        """Whether the model was trained with control tokens."""
        return known is not None and checkpoint.scheme is not None

    def begin(self, site: Site) -> None:
        """Raises `ControlError` for a model without control tokens."""
        if site.known is None or site.checkpoint.scheme is None:
            raise ControlError(
                "the model has no control tokens, so none can be looked for",
                where="lookahead",
                fix="Use a model trained with control tokens.",
            )
        self._bands = list(site.known.token_ids(site.checkpoint.tokenizer))
        self._anywhere = site.checkpoint.scheme.placement == "random"
        self._site = site
        device = site.checkpoint.model.device
        self._never = site.band.never.to(device)

    def scores(self, step: Step, scores_NV: torch.Tensor) -> torch.Tensor:
        """Scores without the text tokens after which bad is likely."""
        text_NV = scores_NV.float().index_fill(-1, self._never, -math.inf)
        count = min(self.candidates, text_NV.shape[1])
        top_NK = text_NV.topk(count, dim=-1).indices
        states_NKD = step.fork(top_NK[:, :, None])
        weight, bias = head_weight(self._site.checkpoint.model)
        next_NKV = functional.linear(states_NKD.to(weight.dtype), weight, bias).log_softmax(-1)
        bad_NK = next_NKV[..., self._bands[0]]
        if not self._anywhere:
            bad_NK = bad_NK - next_NKV[..., self._bands].logsumexp(-1)
        kept = count - int(self.drop * count)
        order_NK = bad_NK.argsort(dim=-1, stable=True)[:, :kept]
        left_NK = top_NK.gather(1, order_NK)
        allowed_NV = torch.zeros_like(text_NV, dtype=torch.bool).scatter_(1, left_NK, True)
        allowed_NV[:, self._never] = True
        return scores_NV.masked_fill(~allowed_NV, -math.inf)
