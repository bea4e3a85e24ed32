"""Maximum likelihood: imitate all of the text. The loss that the other objectives share."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from valence.control import NO_BAND, Bands
from valence.objective.protocol import IGNORED


def next_token_loss(logits_BTV: torch.Tensor, labels_BT: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each next token, in nats, over positions that have a label."""
    # Labels move instead of logits: slicing the large tensor would copy it.
    next_BT = functional.pad(labels_BT[:, 1:], (0, 1), value=IGNORED)
    return functional.cross_entropy(
        logits_BTV.flatten(0, 1).float(), next_BT.flatten(), ignore_index=IGNORED
    )


class Mle:
    """Plain language modelling: no control tokens."""

    name = "mle"
    uses_control = False

    def render(self, bands: Bands, rng: np.random.Generator) -> Bands:
        """No token anywhere."""
        return np.full_like(bands, NO_BAND)

    def loss(self, logits_BTV: torch.Tensor, labels_BT: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy, in nats per token."""
        return next_token_loss(logits_BTV, labels_BT)
