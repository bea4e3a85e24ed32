"""Which prompts of the pool a proposer is shown: those that did most harm, more often.

Source: Korbak et al. 2023 (arXiv 2302.08582), red teaming, after the stochastic few-shot
generation of Perez et al. 2022 (arXiv 2202.03286).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

Scale = Literal["raw", "standard"]


def exemplar_probabilities(
    harms: Sequence[float], *, temperature: float, scale: Scale
) -> npt.NDArray[np.float64]:
    """Probabilities [N] proportional to exp(harm / temperature).

    `standard` divides harm by its standard deviation over the pool first, so that the
    temperature does not depend on the unit; all are equal where that is 0.
    """
    found: npt.NDArray[np.float64] = softmax(_logits(harms, temperature, scale))
    return found


def draw_exemplars(
    harms: Sequence[float],
    count: int,
    *,
    temperature: float,
    scale: Scale,
    rng: np.random.Generator,
) -> list[int]:
    """Places in the pool of `count` prompts, drawn one after another without replacement.

    All of them where the pool has no more. Drawn by the Gumbel trick, which does not care how
    small a probability is (Yellott 1977; Kool et al. 2019, arXiv 1903.06059).
    """
    keys = _logits(harms, temperature, scale) + rng.gumbel(size=len(harms))
    order: list[int] = np.argsort(-keys, kind="stable")[:count].tolist()
    return order


def _logits(harms: Sequence[float], temperature: float, scale: Scale) -> npt.NDArray[np.float64]:
    values = np.asarray(harms, dtype=np.float64)
    if scale == "standard":
        deviation = float(values.std()) if len(values) else 0.0
        values = values / deviation if deviation > 0 else np.zeros_like(values)
    return values / temperature
