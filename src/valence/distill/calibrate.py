"""From a student's raw numbers to its teacher's scale: isotonic, and strictly rising.

Raw numbers go into bins of equal count, and the bins' mean rewards are made monotonic by
pooling adjacent violators (Zadrozny and Elkan 2002). Between the pooled bins the map is
linear. A small part of a straight line is mixed in, so that no two raw numbers become one
reward: a tie would cost ranking, and a plateau is only what this split could not resolve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

Floats = npt.NDArray[np.float64]

FEWEST = 10
"""Segments in a bin at the least."""

BINS = 200
LINE = 0.005
"""The share of the straight line."""


@dataclass(frozen=True, slots=True)
class Knots:
    """The map from `raw` to `rewards`, both ascending strictly [K]; linear between them."""

    raw: Floats
    rewards: Floats

    def __call__(self, raw: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Rewards of raw numbers [N], as scoring gives them."""
        return np.asarray(np.interp(raw, self.raw, self.rewards), dtype=np.float32)


def isotonic(raw: npt.NDArray[np.floating], rewards: Floats) -> Knots:
    """The knots for raw numbers [N] whose teacher gave `rewards` [N].

    Outside of the raw numbers seen the line goes on for as far again as they spread; past
    that the map is flat. The knots' rewards stay within those of the teacher.
    """
    order = np.argsort(raw, kind="stable")
    x, y = np.asarray(raw, dtype=np.float64)[order], rewards[order]
    bins = int(np.clip(len(x) // FEWEST, 1, BINS))
    groups = [part for part in np.array_split(np.arange(len(x)), bins) if len(part)]
    sizes = np.array([len(part) for part in groups], dtype=np.float64)
    xs = np.array([x[part].mean() for part in groups])
    ys = np.array([y[part].mean() for part in groups])
    pooled = isotonic_regression(ys, weights=sizes)
    blocks = [slice(a, b) for a, b in zip(pooled.blocks[:-1], pooled.blocks[1:], strict=True)]
    knots_x = np.array([np.average(xs[block], weights=sizes[block]) for block in blocks])
    knots_y = np.array([pooled.x[block][0] for block in blocks])
    rising = np.diff(knots_x, prepend=-np.inf) > 0  # Equal raw numbers cannot part.
    return _strictly(knots_x[rising], knots_y[rising], x, y)


def _strictly(knots_x: Floats, knots_y: Floats, x: Floats, y: Floats) -> Knots:
    room = max(float(x[-1] - x[0]), 1.0)
    ends = x[0] - room, x[-1] + room
    every_x = np.concatenate([[ends[0]], knots_x, [ends[1]]])
    every_y = np.concatenate([knots_y[:1], knots_y, knots_y[-1:]])
    line = y.min() + (y.max() - y.min()) * (every_x - ends[0]) / (ends[1] - ends[0])
    return Knots(every_x, (1 - LINE) * every_y + LINE * line)
