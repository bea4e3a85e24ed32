"""The plain data that flows through Valence. No torch, no files, no behaviour to override.

Reward: higher is preferred, everywhere. A failure is never a number: whatever can go
wrong for one piece of text is a `Failure`, and the type checker keeps it out of sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from valence.errors import NotFiniteError


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text as it was read, byte for byte, and where it came from.

    `columns` holds what else its row had, by name, as plain JSON values.
    """

    id: str
    text: str
    source: str
    columns: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Half-open range of character offsets in a document's text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A range of a text worth pointing at: half-open character offsets, code, message."""

    start: int
    end: int
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A reward; higher is preferred. Always finite.

    `parts` are the rewards that it was made of, in the order of its scorer's `parts` (None:
    that part has none); `marks` point at what lowered it, in offsets of the document. Both
    are kept beside the reward where the scorer says that it has them.
    """

    value: float
    parts: tuple[float | None, ...] = ()
    marks: tuple[Mark, ...] = ()

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise NotFiniteError(
                f"a score must be finite, not {self.value}", fix="Return a Failure instead."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no score: the stage it happened in, a short countable kind, a message."""

    stage: str
    kind: str
    message: str


Result = Score | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A document that could not be read: its id as far as it is known, its source, and why."""

    id: str
    source: str
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerId:
    """What produced a reward: name, version and a digest of code, options or weights."""

    name: str
    version: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}+{self.digest[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One text that a model wrote.

    `ended` tells whether the model ended it itself (EOS) or ran into the length limit;
    `tokens` counts text tokens, control tokens never among them; `no_room` that the model's context
    was full before it had the tokens that were asked for.
    """

    model: str
    mode: str
    seed: int
    index: int
    prompt: str
    text: str
    ended: bool
    tokens: int
    no_room: bool = False


LOSS = "loss_per_text_token"
"""Metric that stands for ability: nats per held-out text token."""
LABELLED = "labelled"
"""Mode in which every held-out segment has its true token: what training looked like."""
DIVERSITY = (
    "distinct_2",
    "repetition_4",
    "ends_in_loop",
    "distinct_1_of_5000_words",
    "distinct_2_of_5000_words",
    "distinct_3_of_5000_words",
    "self_bleu_5",
    "ended_share",
)
"""Metrics of every set of samples: how they repeat themselves and each other, how they end."""
VERDICT = "verdict_auroc"
"""Metric of how well a model judges what was said, after EOS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One number with its 95% interval.

    `count` is how many items the value stands on, `failures` how many were left out.
    `value` is None where nothing could be measured; it is never 0 for that.
    """

    model: str
    mode: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    count: int
    failures: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Numbers of one model and mode that make a line: a curve by round, a reliability plot.

    `kind` says what the numbers are and so how they are drawn; `name` tells several of a kind
    apart. `y`, `low`, `high` (95%) and `count` have a place for each `x`; None where nothing
    could be measured there.
    """

    kind: str
    name: str
    model: str
    mode: str
    seed: int
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    count: tuple[int, ...]

    def __post_init__(self) -> None:
        sizes = {len(each) for each in (self.x, self.y, self.low, self.high, self.count)}
        if len(sizes) != 1:
            raise ValueError(f"{self.kind} of {self.model}: lists of {sorted(sizes)} numbers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A metric that is a ratio of sums, item by item: documents, answers to prompts, questions.

    `names` [N] tell which items these are; `tops` [N] are for instance nats and `bottoms` [N]
    tokens; `clusters` [N] what items are drawn with, such as their prompt, where they are not
    drawn one by one. `failures` are items that have no number. `share`: items are right or wrong,
    a top of 1 or 0 over a bottom of 1.
    """

    metric: str
    names: tuple[str, ...]
    tops: tuple[float, ...]
    bottoms: tuple[float, ...]
    clusters: tuple[str, ...] | None = None
    failures: int = 0
    share: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A metric that is an AUROC, item by item: `scores` [N] of what is true or not [N].

    `clusters` [N] are what items are drawn with, such as their document.
    """

    metric: str
    clusters: tuple[str, ...]
    truth: tuple[bool, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a number of one model and mode stands on, kept to compare others on the same items."""

    model: str
    mode: str
    seed: int
    items: Items | Ranking


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a measure found of a model: rows of results, lines to draw, and what rows stand on."""

    rows: tuple[Measurement, ...] = ()
    series: tuple[Series, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        return Findings(
            rows=self.rows + other.rows,
            series=self.series + other.series,
            evidence=self.evidence + other.evidence,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a setting (a model in a mode, with a guide or without) stands among all the others.

    `metrics` are what was compared, of one scenario. Settings are (model, mode). Those of
    `beaten_by` have values at least as good in all metrics and better in one; of `shown_by`
    intervals show that. Those of `outdone_by` are shown to be better in something, and worse in
    nothing; nothing tells this one and those `alike` apart. `reduction` is by how much each token
    through the model, beyond those of the mode without a guide, takes the logarithm of the
    headline down, with its 95% interval; None without such a token or without a logarithm, an
    end None where there is none.
    """

    model: str
    mode: str
    metrics: tuple[str, ...]
    beaten_by: tuple[tuple[str, str], ...] = ()
    shown_by: tuple[tuple[str, str], ...] = ()
    outdone_by: tuple[tuple[str, str], ...] = ()
    alike: tuple[tuple[str, str], ...] = ()
    reduction: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusions:
    """Sentences that follow from measurements: on pairs of models, and on all of them."""

    pairs: tuple[str, ...] = ()
    overall: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """All of them, the pairs first."""
        return self.pairs + self.overall


def tile(ends: Iterable[int]) -> tuple[Segment, ...]:
    """Segments that tile a text, from their end offsets in ascending order."""
    segments = []
    start = 0
    for end in ends:
        segments.append(Segment(start=start, end=end))
        start = end
    return tuple(segments)
