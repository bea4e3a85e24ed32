"""How well a model judges what was said, at the end of every unit alone.

Kept for who reads verdicts this way; `valence.measure.judging` measures the rest.

Legend: N verdicts, D hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from valence.control import ControlScheme
from valence.measure import calibration
from valence.measure.judging import readouts
from valence.measure.judging.readouts import Floats, judge_by, verdict_of
from valence.measure.judging.states import Reader
from valence.measure.statistics import Estimate
from valence.model import Checkpoint
from valence.objective.readout import Kind, Readout
from valence.pack import Tokenised
from valence.pack.branches import join, judged_units
from valence.precision import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What a model said after each judged unit.

    `states` [N, D] after EOS; `good` [N] the probability of the best band among the bands;
    `bands` [N] the true ones; `documents` [N].
    """

    states: torch.Tensor
    good: Floats
    bands: npt.NDArray[np.int64]
    documents: npt.NDArray[np.int64]


def read_verdicts(
    checkpoint: Checkpoint,
    scheme: ControlScheme,
    text: Tokenised,
    *,
    window: int,
    precision: Precision = "fp32",
) -> Verdicts:
    """The verdicts of a model on text, after every unit with a band.

    A unit that does not fit into a row of `window` text tokens has none, and of text without
    any nothing is read: N may be 0.
    """
    units = judged_units(text, scheme)
    branches, _ = join([(np.arange(len(units.starts), dtype=np.int64), units.sizes)])
    reader = Reader(checkpoint=checkpoint, window=window, precision=precision)
    states, numbers = reader.states(text, units, branches)
    order = np.argsort(numbers)
    read, states = branches.units[numbers[order]], states[torch.from_numpy(order)]
    return Verdicts(
        states=states,
        good=verdict_of(checkpoint, scheme)(states),
        bands=units.bands[read],
        documents=units.documents[read],
    )


def fit_readout(kind: Kind, verdicts: Verdicts, bands: int, *, seed: int) -> Readout:
    """A read-out fitted afterwards, on the frozen states of training text."""
    return readouts.fit_readout(kind, verdicts.states, verdicts.bands, bands, seed=seed)


def said_by(readout: Readout, verdicts: Verdicts, best: int) -> Floats:
    """The probability [N] of the best band by a read-out."""
    return judge_by(readout, best)(verdicts.states)


def auroc(
    good: Floats,
    bands: npt.NDArray[np.int64],
    documents: npt.NDArray[np.int64],
    best: int,
    *,
    resamples: int,
    seed: int,
) -> Estimate:
    """Area under the ROC curve of P(best band) [N], for telling the best band from the others.

    The interval is over documents (see `calibration.auroc`); it needs neither `resamples` nor
    `seed`, which are there for who gives them. None where only one kind is there, or where
    nothing was said (NaN).
    """
    return calibration.auroc(good, bands == best, clusters=documents)
