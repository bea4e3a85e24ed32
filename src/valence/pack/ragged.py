"""Index arithmetic on pieces of different lengths that lie in one flat array."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Offsets = npt.NDArray[np.int64]


def spread(starts: Offsets, lengths: Offsets) -> Offsets:
    """Indices of all elements of pieces [P], in order: `starts[0]`, `starts[0] + 1`, ..."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total, dtype=np.int64)


def bounds_of(lengths: Offsets) -> Offsets:
    """Where each piece begins when they are laid end to end, and where the last ends [P + 1]."""
    bounds = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=bounds[1:])
    return bounds
