"""Fitting the small network: a vector a bucket, two poolings, one hidden layer. Needs torch.

The loss is that of the linear student, over the same thresholds. The vectors start near 0,
and training ends when the calibration split has not gained for `PATIENCE` epochs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from valence.display import Progress, unseen
from valence.distill.examples import Examples
from valence.distill.linear import Targets, targets
from valence.score.features import grams
from valence.score.student import mlp, raw_of
from valence.show.ranking import Ranking

WIDTH, UNITS = 16, 32
BATCH, EPOCHS, PATIENCE, RATE = 128, 20, 3, 3e-3
DROPOUT = 0.2

Tensors = dict[str, npt.NDArray[np.float32]]


def fit_mlp(
    train: Examples,
    calibration: Examples,
    bound: float,
    bits: int,
    seed: int,
    on_progress: Progress = unseen,
) -> tuple[Tensors, tuple[tuple[float, float], ...]]:
    """The tensors of a student of the kind `mlp`, and epochs with their AUROC at the bound."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _fit(train, calibration, bound, bits, seed, on_progress)


def _fit(
    train: Examples,
    calibration: Examples,
    bound: float,
    bits: int,
    seed: int,
    on_progress: Progress,
) -> tuple[Tensors, tuple[tuple[float, float], ...]]:
    import torch

    aims = targets(train, bound)
    table = torch.zeros(1 << bits, WIDTH).uniform_(-0.05, 0.05)
    table[0] = 0
    table.requires_grad_()
    hidden = (torch.randn(2 * WIDTH, UNITS) / WIDTH**0.5).requires_grad_()
    bias = torch.zeros(UNITS, requires_grad=True)
    out = (torch.randn(UNITS) / UNITS**0.5).requires_grad_()
    levels = torch.zeros(aims.below.shape[1], requires_grad=True)
    dense = torch.optim.AdamW([hidden, bias, out, levels], lr=RATE)
    sparse: torch.optim.Optimizer = torch.optim.SparseAdam([table], lr=RATE)
    rng = np.random.default_rng([seed, 2])
    best: tuple[float, Tensors] | None = None
    tried: list[tuple[float, float]] = []
    for epoch in range(1, EPOCHS + 1):
        order = rng.permutation(len(train))
        for at in range(0, len(order), BATCH):
            on_progress((epoch - 1) * len(order) + at, EPOCHS * len(order))
            chosen = order[at : at + BATCH]
            bad = _bad([train.texts[i] for i in chosen], bits, table, hidden, bias, out)
            loss = _loss(bad[:, None] + levels, aims, chosen)
            dense.zero_grad()
            sparse.zero_grad()
            loss.backward()
            dense.step()
            sparse.step()
        named = {"table": table, "hidden": hidden, "hidden_bias": bias, "out": out}
        tensors = {name: tensor.detach().numpy().copy() for name, tensor in named.items()}
        tensors["table"][0] = 0
        found = raw_of(mlp(tensors), calibration.texts, bits).astype(np.float64)
        lower = calibration.rewards < bound
        auroc = Ranking(found, lower).measure(calibration.weights).auroc or 0.5
        tried.append((float(epoch), round(auroc, 6)))
        if best is None or auroc > best[0]:
            best = auroc, tensors
        elif len(tried) > PATIENCE and max(auroc for _, auroc in tried[-PATIENCE:]) < best[0]:
            break
    assert best is not None
    return best[1], tuple(tried)


def _loss(logits: Any, aims: Targets, chosen: npt.NDArray[np.int64]) -> Any:
    import torch

    below = torch.from_numpy(aims.below[chosen]).float()
    share = torch.from_numpy(aims.share).float()
    weights = torch.from_numpy(aims.weights[chosen]).float()
    losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, below, reduction="none")
    return (weights * (losses @ share)).mean()


def _bad(texts: list[bytes], bits: int, table: Any, hidden: Any, bias: Any, out: Any) -> Any:
    """What `score.student.mlp` computes, less its sign, with gradients and dropout."""
    import torch
    from torch.nn import functional

    found = grams(texts, bits)
    places = np.diff(found.starts - 1, append=len(found.parts[0]))
    owner = np.repeat(np.arange(len(found.starts)), places)
    tokens = np.arange(len(found.starts))
    buckets = np.concatenate([found.words, found.pairs, *found.parts]).astype(np.int64)
    owners = np.concatenate([tokens, tokens, owner, owner, owner])
    kept = buckets > 0
    buckets, owners = buckets[kept], owners[kept]
    order = np.argsort(owners, kind="stable")
    offsets = np.searchsorted(owners[order], tokens)
    by_token = functional.embedding_bag(
        torch.from_numpy(buckets[order]),
        table,
        torch.from_numpy(offsets),
        mode="sum",
        sparse=True,
    )
    lengths = torch.from_numpy(found.tokens())
    whole = torch.segment_reduce(by_token, "sum", lengths=lengths) / lengths.sqrt()[:, None]
    worst = torch.segment_reduce(by_token, "max", lengths=lengths)
    pooled = functional.dropout(torch.cat([whole, worst], dim=1), DROPOUT)
    return torch.relu(pooled @ hidden + bias) @ out
