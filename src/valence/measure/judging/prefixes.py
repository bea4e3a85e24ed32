"""Verdicts on prefixes: how good the judges are after 10, 25, ... 100% of a unit's text.

Legend: U units, S shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from valence.data import VERDICT, Evidence, Findings, Measurement, Ranking, Series
from valence.guide.verdict import Floats
from valence.measure.calibration import auroc, auroc_difference, brier, ece, reliability_series
from valence.measure.statistics import Estimate, line, nothing
from valence.pack.ragged import Offsets
from valence.pack.tokenised import Flags

CONSTANT = "constant"
"""Mode of what always says the share of good units in training text."""
PREFIX = "prefix"
"""Kind of the series of AUROC by share of text."""
FEWEST = 10
"""Documents of either kind that an area stands on where most units are left out."""


def tokens_at(share: float, sizes: Offsets) -> Offsets:
    """Text tokens in a share of units of these sizes [U]: rounded down, at least 1."""
    # What floats make a little less than a whole number is one: 0.29 * 100.
    found: Offsets = np.maximum(np.floor(share * sizes + 1e-9), 1).astype(np.int64)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Whose numbers these are, what is true, and how intervals are made.

    `good` [U] whether the unit is in the best band, `documents` [U]; `bins` of the calibration
    error.
    """

    model: str
    seed: int
    good: Flags
    documents: Offsets
    resamples: int
    bins: int

    def row(self, estimate: Estimate, mode: str, metric: str, failures: int) -> Measurement:
        """An estimate as a row of results."""
        return estimate.measurement(
            model=self.model, mode=mode, metric=metric, failures=failures, seed=self.seed
        )

    def evidence(self, judge: str, said: Floats, read: Flags) -> Evidence:
        """What a judge said of the units that were read [U]: what its AUROC stands on."""
        ranking = Ranking(
            metric=VERDICT,
            clusters=tuple(str(number) for number in self.documents[read].tolist()),
            truth=tuple(self.good[read].tolist()),
            scores=tuple(said.tolist()),
        )
        return Evidence(model=self.model, mode=judge, seed=self.seed, items=ranking)

    def curve(
        self, kind: str, judge: str, shares: Sequence[float], estimates: Sequence[Estimate]
    ) -> Series:
        """Estimates of a judge by share of the text, to draw."""
        return line(kind, judge, shares, estimates, model=self.model, mode=judge, seed=self.seed)


def label_of(share: float) -> str:
    """What stands after a metric's name for a share of the text: `@25%`, nothing for all."""
    return "" if share == 1 else f"@{100 * share:g}%"


def prefix_findings(
    told: Told, said: Mapping[str, Sequence[Floats]], shares: Sequence[float], base: float
) -> Findings:
    """AUROC, ECE and Brier score of P(good) at each share, for each judge.

    `said` has for each judge and share the probabilities [U], NaN where nothing was read; the
    last share is the whole. `base` is the share of good units in training text, whose Brier
    score stands beside the judges'. Units that were not read at the end are failures, of all
    shares: so all shares are of the same units.
    """
    rows: list[Measurement] = []
    series: list[Series] = []
    evidence: list[Evidence] = []
    reached = np.zeros(len(told.good), dtype=np.bool_)
    for judge, by_share in said.items():
        read = np.logical_and.reduce([np.isfinite(each) for each in by_share])
        failures = int((~read).sum())
        areas = []
        for share, probabilities in zip(shares, by_share, strict=True):
            some = _scores(told, probabilities, read)
            areas.append(some["auroc"])
            rows += [
                told.row(estimate, judge, f"verdict_{name}{label_of(share)}", failures)
                for name, estimate in some.items()
            ]
        series.append(told.curve(PREFIX, judge, shares, areas))
        evidence.append(told.evidence(judge, by_share[-1][read], read))
        series.append(
            reliability_series(
                by_share[-1][read], told.good[read], bins=told.bins,
                clusters=told.documents[read],
                name=judge, model=told.model, mode=judge, seed=told.seed,
            )
        )  # fmt: skip
        reached |= read
    constant = np.full(int(reached.sum()), base)
    estimate = brier(
        constant,
        told.good[reached],
        clusters=told.documents[reached],
        resamples=told.resamples,
        seed=told.seed,
    )
    rows.append(told.row(estimate, CONSTANT, "verdict_brier", int((~reached).sum())))
    return Findings(rows=tuple(rows), series=tuple(series), evidence=tuple(evidence))


def _scores(told: Told, probabilities: Floats, read: Flags) -> dict[str, Estimate]:
    said, good, documents = probabilities[read], told.good[read], told.documents[read]
    return {
        "auroc": auroc(said, good, clusters=documents),
        "ece": ece(said, good, bins=told.bins, clusters=documents, seed=told.seed),
        "brier": brier(said, good, clusters=documents, resamples=told.resamples, seed=told.seed),
    }


def cut_findings(told: Told, cut: int, said: Mapping[str, tuple[Floats, Floats]]) -> Findings:
    """AUROC after `cut` tokens and at the end, of the same units, and the second minus the first.

    `said` has for each judge both probabilities [U] of the units that are longer than `cut`. Where
    the good or the bad ones are of fewer than `FEWEST` documents there is no value: an area of a
    handful of pairs is 0 or 1 by luck. The founding experiments judged at 200 tokens (Soatto et
    al. 2023, arXiv 2305.18449); what they could not see is the difference.
    """
    rows: list[Measurement] = []
    for judge, (early, whole) in said.items():
        read = ~(np.isnan(early) | np.isnan(whole))
        failures = int((~read).sum())
        good, documents = told.good[read], told.documents[read]
        early, whole = early[read], whole[read]
        estimates = {
            "": auroc(early, good, clusters=documents),
            "-whole": auroc(whole, good, clusters=documents),
            "-gain": auroc_difference(whole, early, good, clusters=documents),
        }
        few = min(len(np.unique(documents[kind])) for kind in (good, ~good)) < FEWEST
        for name, estimate in estimates.items():
            shown = nothing(len(good)) if few else estimate
            rows.append(told.row(shown, judge, f"verdict_auroc@{cut}tokens{name}", failures))
    return Findings(rows=tuple(rows))
