"""The loss of all objectives from hidden states, without ever holding all logits.

Positions are walked over in chunks. A chunk's logits become exponentials in place, and at once
the gradients of hidden states and head, in closed form, so that nothing of size tokens times
vocabulary is kept for the backward pass and nothing is computed twice.

With p the probability of the target, the gradient of a token's loss by its logits is
c · (softmax - onehot), c = like - unlike · p / (1 - p). Factors of a row (c, and the sum that
makes exponentials a softmax) are put on the [D] side of the products, which is far smaller.

Legend: N predicted tokens, n tokens of a chunk, V vocabulary, D hidden size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from valence.objective.protocol import IGNORED, Weights

LEAST = 1e-20
"""1 - p is not taken for smaller than this, and gives no gradient there; so did the 2023 code."""

CHUNK_BYTES = 2**25
"""How much a chunk's logits take on a processor where that is at least `CHUNK_ROWS` tokens.
Smaller ones are slower on a busy machine, because threads wait for each other at the end of
every operation (LOG.md)."""
CHUNK_ROWS = 1024
"""With fewer tokens than this, matrix products are slow."""
MOST_BYTES = 2**28
"""What a chunk's logits never exceed, where that is at least 64 tokens; what they take
elsewhere than on a processor."""
STRIP_BYTES = 2**24
"""Of this size are the parts of a chunk that a processor takes the softmax of: it is about
what its cache holds, and all that exists in float32 where products are in bfloat16."""


def weighted_loss(
    hidden_ND: torch.Tensor,
    weight_VD: torch.Tensor,
    targets_N: torch.Tensor,
    weights: Weights,
    *,
    bias_V: torch.Tensor | None = None,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum over tokens of like · (-log p) + unlike · (-log(1 - p)), in nats, and log p [N].

    Logits are hidden · weightᵀ + bias. Targets are token ids, or `IGNORED`: those add nothing,
    and their log p is given as 0. Gradients reach hidden states, weight and bias; none reach
    the weights of tokens, and log p is detached. Under autocast the matrix products are in its
    type; softmax and sums are in float32 at least. `chunk`: tokens at a time.

    Source: Korbak et al. 2023 (arXiv 2302.08582), section 2; Welleck et al. 2019
    (arXiv 1908.04319) for the unlikelihood.
    """
    if not torch.is_grad_enabled():
        hidden_ND, weight_VD = hidden_ND.detach(), weight_VD.detach()
        bias_V = None if bias_V is None else bias_V.detach()
    compute = _compute_type(hidden_ND, weight_VD)
    wide = torch.promote_types(compute, torch.float32)
    counted_N = targets_N != IGNORED
    like_N = torch.where(counted_N, weights.like_N.detach().to(wide), 0.0)
    unlike_N = weights.unlike_N
    if unlike_N is not None:
        unlike_N = torch.where(counted_N, unlike_N.detach().to(wide), 0.0)
    rows = chunk or chunk_rows(len(hidden_ND), len(weight_VD), compute, hidden_ND.device)
    loss, logprobs_N = _WeightedLoss.apply(  # type: ignore[no-untyped-call]
        hidden_ND, weight_VD, bias_V, targets_N.clamp(min=0), like_N, unlike_N, rows, compute
    )
    return loss, torch.where(counted_N, logprobs_N, 0.0)


def chunk_rows(tokens: int, vocabulary: int, dtype: torch.dtype, device: torch.device) -> int:
    """Tokens per chunk where none are asked for: chunks of nearly equal size."""
    row = vocabulary * dtype.itemsize
    most = max(64, MOST_BYTES // row)
    if device.type == "cpu":
        most = min(most, max(CHUNK_ROWS, CHUNK_BYTES // row))
    chunks = max(1, -(-tokens // most))
    return max(1, -(-tokens // chunks))


def _compute_type(hidden_ND: torch.Tensor, weight_VD: torch.Tensor) -> torch.dtype:
    """The type of the matrix products; like autocast, it leaves float64 alone."""
    kind = hidden_ND.device.type
    own = torch.promote_types(hidden_ND.dtype, weight_VD.dtype)
    if own != torch.float64 and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return own


class _WeightedLoss(torch.autograd.Function):
    """Loss and gradients in one walk; the backward pass only multiplies."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: torch.Tensor,
        weight_VD: torch.Tensor,
        bias_V: torch.Tensor | None,
        targets_N: torch.Tensor,
        like_N: torch.Tensor,
        unlike_N: torch.Tensor | None,
        rows: int,
        compute: torch.dtype,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        needed = ctx.needs_input_grad[:3]
        with torch.autocast(hidden_ND.device.type, enabled=False):
            walk = _Walk(hidden_ND, weight_VD, bias_V, needed, rows, compute)
            for start in range(0, len(targets_N), rows):
                span = slice(start, start + rows)
                walk.pulls(span, targets_N)
                if any(needed):
                    walk.gradients(span, _strength(walk.logprobs_N, like_N, unlike_N, span))
        loss_N = -like_N * walk.logprobs_N
        if unlike_N is not None:
            loss_N -= unlike_N * (-walk.logprobs_N.expm1()).clamp(min=LEAST).log()
        ctx.save_for_backward(walk.hidden_grad_ND, walk.weight_grad_VD, walk.bias_grad_V)
        ctx.kinds = (hidden_ND.dtype, weight_VD.dtype, None if bias_V is None else bias_V.dtype)
        ctx.mark_non_differentiable(walk.logprobs_N)
        return loss_N.sum(), walk.logprobs_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss_grad: torch.Tensor, _: torch.Tensor) -> tuple[Any, ...]:
        # A new tensor each, not one changed in place: the graph may be gone through again.
        found = [
            None if grad is None else (grad * loss_grad).to(kind)
            for grad, kind in zip(ctx.saved_tensors, ctx.kinds, strict=True)
        ]
        return (*found, None, None, None, None, None)


class _Walk:
    """One chunk's buffers, and the gradients as far as the walk has come."""

    def __init__(
        self,
        hidden_ND: torch.Tensor,
        weight_VD: torch.Tensor,
        bias_V: torch.Tensor | None,
        needed: tuple[bool, bool, bool],
        rows: int,
        compute: torch.dtype,
    ) -> None:
        (tokens, size), vocabulary, device = hidden_ND.shape, len(weight_VD), hidden_ND.device
        wide = torch.promote_types(compute, torch.float32)
        self.hidden_ND, self.weight_VD = hidden_ND.to(compute), weight_VD.to(compute)
        self.bias_V = None if bias_V is None else bias_V.to(compute)
        self.logits_nV = torch.empty(min(rows, tokens), vocabulary, dtype=compute, device=device)
        self.in_place = device.type == "cpu"
        strip = rows if device.type != "cpu" else STRIP_BYTES // (vocabulary * wide.itemsize)
        self.strip = max(1, min(strip, rows))
        self.wide_sV = (
            None
            if wide == compute
            else self.logits_nV.new_empty(self.strip, vocabulary, dtype=wide)
        )
        self.logprobs_N = torch.empty(tokens, dtype=wide, device=device)
        self.hidden_grad_ND = torch.empty_like(hidden_ND) if needed[0] else None
        # Zeros that nobody has touched yet cost nothing, unlike a copy of the first product.
        self.weight_grad_VD = self.product_VD = self.bias_grad_V = None
        if needed[1]:
            self.weight_grad_VD = torch.zeros(vocabulary, size, dtype=wide, device=device)
            if wide != compute:
                self.product_VD = torch.empty_like(self.weight_VD)
        if needed[2]:
            self.bias_grad_V = torch.zeros(vocabulary, dtype=wide, device=device)

    def pulls(self, span: slice, targets_N: torch.Tensor) -> None:
        """Logits of a chunk, turned into softmax - onehot; log p is noted on the way."""
        hidden_nD, targets_n1 = self.hidden_ND[span], targets_N[span, None]
        logits_nV = self.logits_nV[: len(hidden_nD)]
        if self.bias_V is None:
            torch.mm(hidden_nD, self.weight_VD.T, out=logits_nV)
        else:
            torch.addmm(self.bias_V, hidden_nD, self.weight_VD.T, out=logits_nV)
        for start in range(0, len(hidden_nD), self.strip):
            part = slice(start, start + self.strip)
            logits_sV, targets_s1 = logits_nV[part], targets_n1[part]
            wide_sV = logits_sV
            if self.wide_sV is not None:
                wide_sV = self.wide_sV[: len(logits_sV)].copy_(logits_sV)
            logprobs_s1 = wide_sV.gather(1, targets_s1) - wide_sV.amax(dim=1, keepdim=True)
            # In place on a processor, whose memory is slow. Elsewhere nothing says that it may be.
            wide_sV = torch.softmax(wide_sV, dim=1, out=wide_sV if self.in_place else None)
            # The largest probability is 1 / sum of exp(logit - largest logit).
            logprobs_s1 += wide_sV.amax(dim=1, keepdim=True).log()
            # p - 1 from log p: where p is near 1, a difference would have no digits left.
            wide_sV.scatter_(1, targets_s1, logprobs_s1.expm1())
            if wide_sV.data_ptr() != logits_sV.data_ptr():
                logits_sV.copy_(wide_sV)
            self.logprobs_N[span][part] = logprobs_s1[:, 0]

    def gradients(self, span: slice, strength_n1: torch.Tensor) -> None:
        """Add what a chunk gives, from what `pulls` left behind."""
        hidden_nD = self.hidden_ND[span]
        pulls_nV = self.logits_nV[: len(hidden_nD)]
        if self.hidden_grad_ND is not None:
            self.hidden_grad_ND[span] = torch.mm(pulls_nV, self.weight_VD) * strength_n1
        if self.weight_grad_VD is not None:
            scaled_nD = (hidden_nD * strength_n1).to(hidden_nD.dtype)
            if self.product_VD is None:
                self.weight_grad_VD.addmm_(pulls_nV.T, scaled_nD)
            else:
                self.weight_grad_VD += torch.mm(pulls_nV.T, scaled_nD, out=self.product_VD)
        if self.bias_grad_V is not None:
            self.bias_grad_V += torch.mv(pulls_nV.T.to(strength_n1.dtype), strength_n1[:, 0])


def _strength(
    logprobs_N: torch.Tensor, like_N: torch.Tensor, unlike_N: torch.Tensor | None, span: slice
) -> torch.Tensor:
    """c [n, 1]: how strongly a token's loss pulls at its logits."""
    if unlike_N is None:
        return like_N[span, None]
    logprobs_n = logprobs_N[span]
    rest_n = -logprobs_n.expm1()
    odds_n = torch.where(rest_n > LEAST, logprobs_n.exp() / rest_n.clamp(min=LEAST), 0.0)
    return (like_N[span] - unlike_N[span] * odds_n)[:, None]
