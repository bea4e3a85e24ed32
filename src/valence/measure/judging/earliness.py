"""How early a bad text is flagged, while it is written: a running verdict and its threshold.

The threshold lets through so many false alarms on good units, counted as any flag anywhere in
the unit: it is one on the running maximum of P(bad). It is found on one half of the held-out
documents and used on the other, and the other way round: on training text, of which a model is
surer than of any other, it would be too low.

Legend: F running verdicts, U units, M marks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valence.data import Findings, Series
from valence.guide.verdict import Floats
from valence.measure.judging.prefixes import Told
from valence.measure.statistics import Estimate, clustered, mean, share_of
from valence.pack.branches import JudgedUnits
from valence.pack.ragged import Offsets
from valence.pack.tokenised import Flags

FLAGGED = "flagged"
"""Kind of the series of recall by share of text."""
GRID = tuple(step / 20 for step in range(1, 21))
NEVER = np.iinfo(np.int64).max


def running_places(units: JudgedUnits, stride: int) -> tuple[Offsets, Offsets]:
    """Units and their text tokens at every running verdict [F]: each `stride`, and the end."""
    counts = -(-units.sizes // stride)
    numbers = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    steps = np.arange(len(numbers), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    return numbers, np.minimum((steps + 1) * stride, units.sizes[numbers])


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Running verdicts on units: the unit and the text tokens of each [F], and P(bad) there [F].

    P(bad) is NaN where nothing was read.
    """

    units: JudgedUnits
    numbers: Offsets
    tokens: Offsets
    bad: Floats

    @property
    def read(self) -> Flags:
        """Whether a unit was read from its first running verdict to its last [U]."""
        found = np.ones(len(self.units.starts), dtype=np.bool_)
        found[self.numbers[np.isnan(self.bad)]] = False
        return found

    def highest(self) -> Floats:
        """The largest P(bad) of each unit [U]; NaN for one that was not read."""
        found = np.full(len(self.units.starts), -np.inf)
        np.maximum.at(found, self.numbers, np.nan_to_num(self.bad, nan=-np.inf))
        return np.where(self.read, found, np.nan)

    def first_flags(self, thresholds: Floats) -> Offsets:
        """Text tokens that were read when each unit was first flagged [U]; `NEVER` if it was not.

        A flag is a P(bad) above the unit's threshold [U].
        """
        found = np.full(len(self.units.starts), NEVER)
        flagged = self.bad > thresholds[self.numbers]  # NaN is not above anything.
        np.minimum.at(found, self.numbers[flagged], self.tokens[flagged])
        return found


def threshold_for(highest: Floats, false_alarms: float) -> float | None:
    """The lowest threshold that a new good unit passes with a given chance at most.

    Split conformal prediction (Vovk et al., 2005): with `n` good units and `k` of them above the
    threshold, a new one is above it with a chance of (k + 1) / (n + 1) where they are exchangeable.
    Infinite, so that nothing is flagged, where too few units are there to promise the chance.
    None without any unit.
    """
    known = np.sort(highest[~np.isnan(highest)])
    if not len(known):
        return None
    # What floats make a little less than a whole number is one.
    above = int(np.floor(false_alarms * (len(known) + 1) + 1e-9)) - 1
    if above < 0:
        return float(np.inf)
    return float(known[max(len(known) - 1 - above, 0)])


def thresholds_of(running: Running, told: Told, false_alarms: float) -> Floats | None:
    """A threshold for each unit [U], from the good units of the other half of the documents.

    The halves are drawn by seed, documents (or pairs) whole. None where a half has no good unit.
    """
    highest = running.highest()
    names, numbers = np.unique(told.documents, return_inverse=True)
    rng = np.random.default_rng(told.seed)
    half = (rng.permutation(len(names)) % 2 == 1)[numbers]
    found = np.zeros(len(highest))
    for side in (True, False):
        threshold = threshold_for(highest[told.good & (half != side)], false_alarms)
        if threshold is None:
            return None
        found[half == side] = threshold
    return found


def earliness_findings(told: Told, judge: str, running: Running, thresholds: Floats) -> Findings:
    """Recall, measured false alarms, and the share of the text before the first right flag.

    The share is of text tokens up to and with the one at which the flag came; its mean and
    median are over bad units that were flagged. Units that do not fit into a row are failures.
    """
    read = running.read
    failures = int((~read).sum())
    first, sizes = running.first_flags(thresholds), running.units.sizes
    flagged = first < NEVER
    bad = read & ~told.good
    right = bad & flagged
    shares = first[right] / sizes[right]
    documents = told.documents

    def median(index: Offsets) -> float | None:
        return float(np.median(shares[index])) if len(index) else None

    estimates = {
        "flag_recall": share_of(flagged[bad].astype(float), clusters=documents[bad]),
        "flag_false_alarms": share_of(
            flagged[read & told.good].astype(float), clusters=documents[read & told.good]
        ),
        "earliness_mean": mean(
            shares, clusters=documents[right], resamples=told.resamples, seed=told.seed
        ),
        "earliness_median": clustered(
            median, documents[right], resamples=told.resamples, seed=told.seed
        ),
    }
    rows = [told.row(each, judge, name, failures) for name, each in estimates.items()]
    return Findings(rows=tuple(rows), series=(_recall_by_share(told, judge, first, sizes, bad),))


def _recall_by_share(told: Told, judge: str, first: Offsets, sizes: Offsets, bad: Flags) -> Series:
    """Share of bad units that are flagged by the time that a share of their text was read."""
    points: list[Estimate] = [
        share_of(
            (first[bad] <= share * sizes[bad] + 1e-9).astype(float), clusters=told.documents[bad]
        )
        for share in GRID
    ]
    return told.curve(FLAGGED, judge, GRID, points)
