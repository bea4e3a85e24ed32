"""Where randomness in packing comes from: a generator per seed, purpose and number.

Draws for one purpose never move those for another, so that two objectives which differ in
one thing differ in nothing else.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from valence.pack.ragged import Offsets


class Purpose(IntEnum):
    """What is drawn. Counted from 1, since seeds that differ by a last 0 are the same seed."""

    ORDER = 1
    RENDER = 2
    DROP = 3
    PLACE = 4
    FORKS = 5
    ROWS = 6
    LOTS = 7
    JUDGED = 8


def generator(seed: int, purpose: Purpose, number: int) -> np.random.Generator:
    """A generator for one purpose and one epoch or group."""
    return np.random.default_rng((seed, int(purpose), number))


def lots(seed: int, numbers: Offsets) -> npt.NDArray[np.float64]:
    """Uniform in [0, 1) for each number [S], the same whenever it is asked for.

    Source: splitmix64 (Steele, Lea & Flood 2014), its output function on a Weyl sequence.
    """
    salt = np.random.SeedSequence((seed, int(Purpose.LOTS))).generate_state(1, np.uint64)[0]
    mixed = salt + (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    bits = (mixed >> np.uint64(11)).astype(np.float64)
    return np.asarray(bits * 2.0**-53, dtype=np.float64)
