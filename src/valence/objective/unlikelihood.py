"""Unlikelihood training: imitate what is good, and make what is bad less likely.

Source: Welleck et al. 2019 (arXiv 1908.04319); Korbak et al. 2023 (arXiv 2302.08582), section 2:
log p on good segments, alpha · log(1 - p) on bad ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from valence.control import ControlScheme
from valence.errors import BoundError, RecipeError
from valence.objective.mle import Mle
from valence.objective.protocol import Census, Objective, Weights
from valence.recipe.options import Finite

WHERE = "objective `unlikelihood`"

SLACK = 0.01
"""How far rewards may lie outside [-1, 0] and be taken for the nearer end, by `soft`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlikelihood(Mle):
    """Tokens at or above `threshold` are imitated, those below are made unlikely.

    `alpha` weighs the second part. The scheme's highest bound is the threshold if none is
    given. `soft`: each token is both, like 1 + r and unlike alpha · (-r), for rewards r in
    [-1, 0]. A token without a reward is imitated.
    """

    name = "unlikelihood"
    reads_rewards = True

    alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    threshold: Finite | None = None
    soft: bool = False

    def __post_init__(self) -> None:
        if self.soft and self.threshold is not None:
            raise RecipeError(
                "`soft` mixes by the reward and has no threshold",
                where=WHERE,
                fix="Leave out one of the two.",
            )

    def settle(self, scheme: ControlScheme, census: Census) -> Objective:
        """With a threshold, unless soft.

        Raises `BoundError` if all text is on one side of it, and `RecipeError` if rewards are
        not between -1 and 0 where `soft` needs them so.
        """
        rewards = census.rewards[~np.isnan(census.rewards)]
        if self.soft:
            if len(rewards) and (rewards.min() < -1 - SLACK or rewards.max() > SLACK):
                raise RecipeError(
                    f"`soft` takes rewards between -1 and 0, and they are between"
                    f" {rewards.min():g} and {rewards.max():g}",
                    where=WHERE,
                    fix="Leave out `soft`, or use a scorer whose rewards are probabilities of"
                    " something bad, made negative.",
                )
            return self
        threshold = float(scheme.bounds[-1]) if self.threshold is None else self.threshold
        good = rewards >= threshold
        if good.all() or not good.any():
            seen = f"{rewards.min():g} to {rewards.max():g}" if len(rewards) else "none"
            raise BoundError(
                f"the threshold {threshold:g} puts all segments on one side (rewards: {seen})",
                where=WHERE,
                fix="Choose a threshold between the rewards.",
            )
        return replace(self, threshold=threshold)

    def weigh(self, rewards_N: torch.Tensor, values_N: torch.Tensor | None) -> Weights:
        """1 and 0 for good tokens, 0 and alpha for bad ones; soft: a mixture of both."""
        if self.soft:
            like_N = 1 + rewards_N.clamp(-1.0, 0.0)
        elif self.threshold is None:
            raise RecipeError(
                "the threshold is not settled", where=WHERE, fix="Call `settle` before training."
            )
        else:
            like_N = (rewards_N >= self.threshold).to(rewards_N.dtype)
        like_N = torch.where(rewards_N.isnan(), 1.0, like_N)
        return Weights(like_N=like_N, unlike_N=self.alpha * (1 - like_N))
