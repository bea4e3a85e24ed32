"""How early a bad text is flagged, while it is written: a running verdict and its threshold.

The threshold lets through so many false alarms on good units, counted as any flag anywhere in
the unit: it is one on the running maximum of P(bad). It is found on one half of the held-out
documents and used on the other, and the other way round: on training text, of which a model is
surer than of any other, it would be too low. A few hundred good units do not tell it exactly, and
what is said of flags holds that: in each resample of documents it is found anew.

Legend: F running verdicts, U units, M marks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from valence.data import Findings
from valence.guide.verdict import Floats
from valence.measure.judging.prefixes import Told
from valence.measure.statistics import shares_together
from valence.pack.branches import JudgedUnits
from valence.pack.ragged import Offsets
from valence.pack.tokenised import Flags

FLAGGED = "flagged"
"""Kind of the series of recall by share of text."""
GRID = tuple(step / 20 for step in range(1, 21))
NEVER = np.iinfo(np.int64).max
MOST_RESAMPLES = 200
"""A resample finds all first flags anew, and a standard deviation needs no more of them."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """Two halves of the documents, of which each gets its threshold from the other.

    `highest` [U] P(bad), whether a unit is `good` [U], and whose `half` [U] it is in.
    """

    highest: Floats
    good: Flags
    half: Flags
    false_alarms: float

    def thresholds(self, drawn: Offsets | None = None) -> Floats | None:
        """A threshold for each unit [U], from the good units of the other half of the documents.

        As often as each was `drawn` [U]; once, if nothing is said. None where a half has no good
        unit.
        """
        found = np.zeros(len(self.highest))
        for side in (True, False):
            others = self.good & (self.half != side)
            highest = self.highest[others]
            if drawn is not None:
                highest = np.repeat(highest, drawn[others])
            threshold = threshold_for(highest, self.false_alarms)
            if threshold is None:
                return None
            found[self.half == side] = threshold
        return found


def halves_of(running: Running, told: Told, false_alarms: float) -> Halves:
    """The halves are drawn by seed, documents (or pairs) whole."""
    names, numbers = np.unique(told.documents, return_inverse=True)
    rng = np.random.default_rng(told.seed)
    half = (rng.permutation(len(names)) % 2 == 1)[numbers]
    return Halves(highest=running.highest(), good=told.good, half=half, false_alarms=false_alarms)


def earliness_findings(
    told: Told,
    judge: str,
    running: Running,
    thresholds: Callable[[Offsets | None], Floats | None],
) -> Findings:
    """Recall, measured false alarms, and the share of the text before the first right flag.

    The share is of text tokens up to and with the one at which the flag came; its mean and
    median are over bad units that were flagged. `thresholds` [U] of what was drawn [U] are found
    anew for each interval's resamples. Units that do not fit into a row are failures. Nothing
    without thresholds.
    """
    found = thresholds(None)
    if found is None:
        return Findings()
    flagging = _Flagging(told=told, running=running, thresholds=thresholds, read=running.read)
    bad, good = flagging.kinds
    right = int((bad & (running.first_flags(found) < NEVER)).sum())
    counts = [int(bad.sum()), int(good.sum()), right, right, *[int(bad.sum())] * len(GRID)]
    resamples = min(told.resamples, MOST_RESAMPLES)
    estimates = shares_together(
        flagging.statistics, told.documents, counts, resamples=resamples, seed=told.seed
    )
    failures = int((~flagging.read).sum())
    names = ("flag_recall", "flag_false_alarms", "earliness_mean", "earliness_median")
    rows = [
        told.row(each, judge, name, failures)
        for name, each in zip(names, estimates[:4], strict=True)
    ]
    return Findings(rows=tuple(rows), series=(told.curve(FLAGGED, judge, GRID, estimates[4:]),))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flagging:
    """What the numbers about flags are, of units as often as they were drawn."""

    told: Told
    running: Running
    thresholds: Callable[[Offsets | None], Floats | None]
    read: Flags

    @property
    def kinds(self) -> tuple[Flags, Flags]:
        """The bad and the good units that were read [U]."""
        return self.read & ~self.told.good, self.read & self.told.good

    def statistics(self, drawn: Offsets) -> list[float | None]:
        """Recall, false alarms, mean and median share of the text before the flag, and the
        share of bad units that are flagged by the time that each share of their text was read.
        """
        thresholds = self.thresholds(drawn)
        if thresholds is None:
            return [None] * (4 + len(GRID))
        first = self.running.first_flags(thresholds)
        bad, good = (np.flatnonzero(kind) for kind in self.kinds)
        bad, good = (np.repeat(kind, drawn[kind]) for kind in (bad, good))
        shares = np.where(first[bad] < NEVER, first[bad] / self.running.units.sizes[bad], np.inf)
        before = np.sort(shares[np.isfinite(shares)])
        by_share = np.searchsorted(before, np.array(GRID) + 1e-9, side="right")
        return [
            len(before) / len(bad) if len(bad) else None,
            float((first[good] < NEVER).mean()) if len(good) else None,
            float(before.mean()) if len(before) else None,
            float(np.median(before)) if len(before) else None,
            *(count / len(bad) if len(bad) else None for count in by_share.tolist()),
        ]
