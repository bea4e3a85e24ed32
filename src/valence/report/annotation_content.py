"""What is said about an annotation, as plain data. Everything is computed before it comes here.

Counts and shares are exact. What a sample stands behind says so (`sampled`).
"""

from __future__ import annotations

from dataclasses import dataclass

from valence.data import Mark
from valence.report.bound import Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with its 95% interval; None where it could not be measured."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """A value that `share` of all lie at or below (an observed one: the next higher)."""

    share: float
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts between `edges` [B + 1], without those values that hold much of the mass alone.

    `masses` are those values with their counts, ascending. `threshold` is where a symmetric
    logarithmic axis turns linear; None where the edges are evenly spaced.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    masses: tuple[tuple[float, int], ...]
    threshold: float | None

    @property
    def total(self) -> int:
        """How many values there are."""
        return sum(self.counts) + sum(count for _, count in self.masses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """How many scored segments (and characters) are at or above a bound.

    `tied` have exactly the bound as their reward.
    """

    asked: Bound
    reward: float
    scored: int
    upper: int
    tied: int
    chars: int
    upper_chars: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One part of the corpus: a split or a source. `upper` is None without a bound."""

    name: str
    documents: int
    segments: int
    scored: int
    mean: float | None
    upper: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One segment to read, with a little of the document around it.

    `goes_on` says that the document does not end with `after`; `left_out` are the characters
    of the segment that are not shown, before and after `text`. Marks are offsets in `text`;
    `rewards` are by scorer, None where it failed.
    """

    document: str
    start: int
    end: int
    rewards: tuple[tuple[str, float | None], ...]
    before: str
    text: str
    after: str
    goes_on: bool
    left_out: tuple[int, int]
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Segments that were chosen for one reason, which is the title."""

    title: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureKind:
    """How often something failed in one way, and what it said the first time.

    `segments` is 0 where a document has none, because it could not be read.
    """

    stage: str
    kind: str
    documents: int
    segments: int
    document: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSummary:
    """One part of a composed reward: its quantiles, and its correlation with the total."""

    name: str
    scored: int
    mean: float | None
    quantiles: tuple[Quantile, ...]
    correlation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One scorer's rewards. All that is None or empty could not be measured."""

    name: str
    scorer: str
    meaning: str
    device: str
    segments: int
    scored: int
    mean: float | None
    mean_by_char: float | None
    quantiles: tuple[Quantile, ...]
    histogram: Histogram
    bands: Bands | None
    splits: tuple[Group, ...]
    sources: tuple[Group, ...]
    examples: tuple[Examples, ...]
    failures: tuple[FailureKind, ...]
    parts: tuple[PartSummary, ...]
    mean_length: float | None
    lengths: tuple[Quantile, ...]
    ledger: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far two scorers agree on the segments that both could score.

    `table[i][j]` counts segments in band i of the first and band j of the second (0 below
    its bound). `kappa` is Cohen's; `auroc` says how well the first's reward finds the
    second's upper band, and the other way round. Intervals are over documents.
    """

    first: str
    second: str
    bounds: tuple[float, float]
    asked: tuple[Bound, Bound]
    segments: int
    left_out: int
    documents: int
    sampled: int | None
    table: tuple[tuple[int, int], tuple[int, int]]
    kappa: Interval
    spearman: Interval
    pearson: Interval
    auroc: tuple[float | None, float | None]
    disagreements: tuple[Examples, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Segments of neighbouring rewards (`low` to `high`) and their mean label."""

    low: float
    high: float
    mean: float
    count: int
    label: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """How well a reward finds what the labels put into the lower band.

    `average_precision` and `f1` take that band as what is searched for, `lower` of the
    `segments` are in it; `bound` has the best F1 here.
    """

    split: str
    segments: int
    lower: int
    auroc: Interval
    average_precision: Interval
    f1: Interval
    bound: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A scorer against labels. A label below `bound` is the lower, unwanted band."""

    name: str
    labels: str
    bound: float
    sampled: int | None
    reliability: tuple[Reliability, ...]
    detection: tuple[Detection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationReport:
    """An annotation: what was read (`corpus` as label and value), and each scorer's rewards."""

    title: str
    corpus: tuple[tuple[str, str], ...]
    unread: tuple[FailureKind, ...]
    summaries: tuple[Summary, ...]
    agreements: tuple[Agreement, ...]
    calibrations: tuple[Calibration, ...]
    notes: tuple[str, ...]
