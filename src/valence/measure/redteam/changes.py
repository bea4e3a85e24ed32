"""How a token-level search changes a prompt: candidates for one step, by three methods.

`random`: any token at any place. `greedy`: any token at one place, the places in turn, in a new
random order each time round. `gcg`, greedy coordinate gradient: at any place one of the tokens
that the gradient picks for it (Zou et al. 2023, arXiv 2307.15043, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from valence.measure.redteam.tokens import Ids

Change = Literal["random", "greedy", "gcg"]

Candidates = Callable[[Ids, int, np.random.Generator], list[Ids]]
"""From a prompt, the number of the step, and random numbers: prompts that differ in one token."""

Gradient = Callable[[Ids], torch.Tensor]


def random_changes(tokens: npt.NDArray[np.int64], count: int) -> Candidates:
    """`count` prompts, each with one random token at a random place."""

    def change(ids: Ids, step: int, rng: np.random.Generator) -> list[Ids]:
        places = rng.integers(0, len(ids), count).tolist()
        return _replaced(ids, places, rng.choice(tokens, count).tolist())

    return change


def greedy_changes(tokens: npt.NDArray[np.int64], count: int, seed: int) -> Candidates:
    """`count` prompts with random tokens at the place whose turn it is."""

    def change(ids: Ids, step: int, rng: np.random.Generator) -> list[Ids]:
        turn, place = divmod(step, len(ids))
        order = np.random.default_rng((seed, turn, len(ids))).permutation(len(ids))
        drawn = rng.choice(tokens, min(count, len(tokens)), replace=False)
        return _replaced(ids, [int(order[place])] * len(drawn), drawn.tolist())

    return change


def gradient_changes(
    tokens: npt.NDArray[np.int64], count: int, top_k: int, gradient: Gradient
) -> Candidates:
    """`count` prompts with one of a place's `top_k` most promising tokens at a random place."""

    def change(ids: Ids, step: int, rng: np.random.Generator) -> list[Ids]:
        slopes_TN = gradient(ids).cpu()[:, torch.from_numpy(tokens)]
        best_TK = slopes_TN.topk(min(top_k, len(tokens)), dim=-1).indices.numpy()
        places = rng.integers(0, len(ids), count)
        picked = best_TK[places, rng.integers(0, best_TK.shape[1], count)]
        return _replaced(ids, places.tolist(), tokens[picked].tolist())

    return change


def _replaced(ids: Ids, places: list[int], tokens: list[int]) -> list[Ids]:
    """The prompts that are new, each once, in order."""
    found = (
        (*ids[:place], token, *ids[place + 1 :])
        for place, token in zip(places, tokens, strict=True)
    )
    return [changed for changed in dict.fromkeys(found) if changed != ids]
