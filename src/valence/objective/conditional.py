"""Conditional training: each segment is preceded by the token of its band.

Source: Korbak et al. 2023 (arXiv 2302.08582). The placebo is the same with the labels
shuffled between segments: it shows what control tokens do when they carry no feedback,
because they also mark where segments begin. Credit feedback only beyond the placebo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valence.control import Bands
from valence.objective.mle import Mle


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditional(Mle):
    """The true band before each segment, the plain loss."""

    name = "conditional"
    uses_control = True

    def render(self, bands: Bands, rng: np.random.Generator) -> Bands:
        """The bands as they are."""
        return bands


@dataclass(frozen=True, slots=True, kw_only=True)
class Placebo(Conditional):
    """Conditional training on labels shuffled between segments: the control."""

    name = "placebo"

    def render(self, bands: Bands, rng: np.random.Generator) -> Bands:
        """The bands of all segments in random order, so that each band keeps its share."""
        return rng.permutation(bands)
