"""Reward-weighted and advantage-weighted regression: imitate, more where the reward is higher.

Source: Peters & Schaal 2007 (RWR); Peng et al. 2019 (arXiv 1910.00177, AWR); as objectives for
pretraining Korbak et al. 2023 (arXiv 2302.08582), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field

from valence.errors import TrainingError
from valence.objective.mle import Mle
from valence.objective.protocol import ValueHead, Weights
from valence.recipe.options import Finite

Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rwr(Mle):
    """A token counts exp(reward / beta), at most `clip`; 1 if it has no reward."""

    name = "rwr"
    reads_rewards = True

    beta: Above = 1.0
    clip: Above = 1000.0

    def weigh(self, rewards_N: torch.Tensor, values_N: torch.Tensor | None) -> Weights:
        """exp(r / beta), at most `clip`."""
        weights_N = (rewards_N / self.beta).exp().clamp(max=self.clip)
        return Weights(like_N=torch.where(rewards_N.isnan(), 1.0, weights_N))


@dataclass(frozen=True, slots=True, kw_only=True)
class Awr(Mle):
    """A token counts alpha · w, w = exp((reward - value) / beta), at most `clip`.

    The value is what a head expects from the text so far. It learns by (1 - alpha) times the
    squared error; weights carry no gradient. A token without a reward counts alpha, because a
    token that is as good as expected has w = 1: so plain text and typical text weigh the same.

    `normalise`: advantages of the rewarded tokens of a batch get mean 0 and deviation 1.
    `head`: -sigmoid(h·w), for rewards between -1 and 0, or linear. `detached`: the value loss
    does not train the model below the head. `clip_value`: values are cut to [-1, 0], without
    gradient outside. `fixed_value` stands in for the value in the advantage alone.
    """

    name = "awr"
    reads_rewards = True

    beta: Above = 1.0
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.5
    clip: Above = 1000.0
    normalise: bool = False
    head: Literal["sigmoid", "linear"] = "sigmoid"
    detached: bool = False
    clip_value: bool = False
    fixed_value: Finite | None = None

    @property
    def value_head(self) -> ValueHead:
        """The head that the options describe."""
        return ValueHead(kind=self.head, detached=self.detached)

    def weigh(self, rewards_N: torch.Tensor, values_N: torch.Tensor | None) -> Weights:
        """alpha · exp((r - v) / beta), with the exponential at most `clip`."""
        if values_N is None:
            raise TrainingError(
                "advantages need values", where="objective `awr`", fix="Train it with a value head."
            )
        plain_N = rewards_N.isnan()
        values_N = self._cut(values_N.detach())
        if self.fixed_value is not None:
            values_N = torch.full_like(values_N, self.fixed_value)
        advantages_N = torch.where(plain_N, 0.0, rewards_N - values_N)
        if self.normalise:
            advantages_N = _normalised(advantages_N, ~plain_N)
        weights_N = (advantages_N / self.beta).exp().clamp(max=self.clip)
        return Weights(like_N=self.alpha * torch.where(plain_N, 1.0, weights_N))

    def value_loss(self, rewards_N: torch.Tensor, values_N: torch.Tensor) -> torch.Tensor:
        """(1 - alpha) · (r - v)² for each token that has a reward."""
        errors_N = torch.where(rewards_N.isnan(), 0.0, rewards_N - self._cut(values_N))
        return (1 - self.alpha) * errors_N.square()

    def _cut(self, values_N: torch.Tensor) -> torch.Tensor:
        return values_N.clamp(-1.0, 0.0) if self.clip_value else values_N


def _normalised(advantages_N: torch.Tensor, counted_N: torch.Tensor) -> torch.Tensor:
    """Mean 0 and unbiased deviation 1 over the counted ones; a single one becomes 0."""
    count = counted_N.sum()
    mean = torch.where(counted_N, advantages_N, 0.0).sum() / count.clamp(min=1)
    off_N = torch.where(counted_N, advantages_N - mean, 0.0)
    deviation = (off_N.square().sum() / (count - 1).clamp(min=1)).sqrt()
    return off_N / (deviation + 1e-10)
