"""Maximum likelihood: imitate all of the text. The others change parts of this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from valence.control import NO_BAND, Bands, ControlScheme, Rewards
from valence.objective.protocol import Census, Flags, Floats, Objective, ValueHead, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Mle:
    """Plain language modelling: all text, no control tokens, every token counts 1."""

    name = "mle"
    uses_control = False
    reads_rewards = False

    @property
    def selects_documents(self) -> bool:
        """No: it selects nothing."""
        return False

    @property
    def value_head(self) -> ValueHead | None:
        """None."""
        return None

    def settle(self, scheme: ControlScheme, census: Census) -> Objective:
        """Itself: nothing depends on the rewards."""
        return self

    def select(self, rewards: Rewards, document_rewards: Rewards, lots: Floats) -> Flags | None:
        """All segments."""
        return None

    def render(self, bands: Bands, rng: np.random.Generator) -> Bands:
        """No token anywhere."""
        return np.full_like(bands, NO_BAND)

    def weigh(self, rewards_N: torch.Tensor, values_N: torch.Tensor | None) -> Weights:
        """1 for every token."""
        return Weights(like_N=torch.ones_like(rewards_N))

    def value_loss(self, rewards_N: torch.Tensor, values_N: torch.Tensor) -> torch.Tensor:
        """0 for every token."""
        return torch.zeros_like(values_N)
