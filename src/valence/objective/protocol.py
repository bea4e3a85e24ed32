"""What an objective is: which label stands before each segment, and the loss. One file each.

An objective sees the bands of all labelled units (segments, or documents) of the training
text at once, flat and in corpus order, and answers with the bands to render: `NO_BAND`
renders no control token. Placement and dropout are the control scheme's and come after.
All models of a run see the same text in the same order, so that only this differs.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from valence.control import Bands

IGNORED = -100
"""Label of a position that is not trained."""


class Objective(Protocol):
    """One training objective."""

    @property
    def name(self) -> str: ...

    @property
    def uses_control(self) -> bool:
        """Whether the trained model knows control tokens."""
        ...

    def render(self, bands: Bands, rng: np.random.Generator) -> Bands:
        """Bands [U] to put before each labelled unit, from the true ones [U]."""
        ...

    def loss(self, logits_BTV: torch.Tensor, labels_BT: torch.Tensor) -> torch.Tensor:
        """Scalar loss; labels are token ids, not shifted, `IGNORED` where there is nothing."""
        ...
