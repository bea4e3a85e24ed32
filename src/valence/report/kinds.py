"""The kinds of lines that measures give, and what a reader has to know of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from valence.data import Series
from valence.report.content import MetricInfo
from valence.report.drawing import axis_label
from valence.report.metrics import ATTACKS, JUDGING, KNOWING, OTHER
from valence.report.panels import family

Guide = Literal["none", "chance", "diagonal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How lines of a kind are drawn and explained.

    `y` is empty where it is the metric after the @ of the line's name. `share` is a y between 0
    and 1; `guide` a line to compare with; `sized` points show by their size how many items they
    stand on; `steps` names every x under the axis.
    """

    group: str
    title: str
    x: str
    y: str
    caption: str
    share: bool = True
    guide: Guide = "none"
    sized: bool = False
    x_is_share: bool = False
    steps: bool = False


KINDS: dict[str, Kind] = {
    "redteam": Kind(
        group=ATTACKS,
        title="Red team by round",
        x="round",
        y="",
        caption="The worst mean score so far, by round of the attack. It is the worst of many"
        " prompts, so it is high by luck too: the table has the score of the last one in fresh"
        " texts.",
        share=False,
    ),
    "redteam_calls": Kind(
        group=ATTACKS,
        title="Red team by calls",
        x="calls of models",
        y="",
        caption="The same by what it cost: calls of models.",
        share=False,
    ),
    "redteam_objective": Kind(
        group=ATTACKS,
        title="What the search optimised",
        x="round",
        y="objective",
        caption="What the search itself looked at: bad continuations made likely.",
        share=False,
    ),
    "prefix": Kind(
        group=JUDGING,
        title="AUROC by share of the text",
        x="share of the text that was read",
        y="AUROC",
        caption="How well bad text can be told from good before all of it was read. The dotted"
        " line is chance.",
        guide="chance",
        x_is_share=True,
    ),
    "flagged": Kind(
        group=JUDGING,
        title="Bad text flagged",
        x="share of the text that was read",
        y="share of bad text flagged",
        caption="How much of the bad text is flagged by then, by a running verdict whose"
        " threshold was set on good text of other documents.",
        x_is_share=True,
    ),
    "reliability": Kind(
        group=OTHER,
        title="Reliability",
        x="mean probability in the bin",
        y="share that is true",
        caption="Where the probability means what it says, points lie on the dotted diagonal."
        " A point's area shows how many items are in its bin.",
        guide="diagonal",
        sized=True,
    ),
    "selective": Kind(
        group=KNOWING,
        title="Accuracy by coverage",
        x="share of questions answered, the surest first",
        y="share right",
        caption="What is gained by answering only where the confidence is high: at the right all"
        " are answered.",
        x_is_share=True,
    ),
    "known": Kind(
        group=KNOWING,
        title="By times in training",
        x="times in training",
        y="share of questions",
        caption="Right answers and abstentions, by how often the fact stood in training.",
        steps=True,
    ),
}


def kind_of(series: Series) -> Kind:
    """The kind of a line; one that nothing is said about is drawn as it is."""
    known = KINDS.get(series.kind)
    if known is not None:
        return known
    plain = series.kind.replace("_", " ")
    return Kind(group=OTHER, title=plain.capitalize(), x="x", y=plain, caption="", share=False)


def group_of(series: Series) -> str:
    """The group of metrics that a line belongs to: reliability is that of verdicts or answers."""
    if series.kind == "reliability":
        return KNOWING if family(series) else JUDGING
    return kind_of(series).group


def y_label(kind: Kind, metric: MetricInfo) -> str:
    """What stands beside the y axis."""
    return kind.y or axis_label(metric)
