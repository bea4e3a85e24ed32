"""Sections about one question each: does it judge, can it be attacked, does it know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from valence.data import VERDICT
from valence.report.comparison import comparison, comparison_table
from valence.report.content import Report
from valence.report.curves import curve_figures
from valence.report.drawing import Look
from valence.report.metrics import ATTACKS, JUDGING, KNOWING, OTHER
from valence.report.pivots import attack_tables, knowing_tables, verdict_table

Tables = Callable[[Mapping[str, Report], Look], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A section: its group of metrics, what it says before anything is shown, its tables."""

    heading: str
    group: str
    about: str
    tables: Tables | None = None


_VERDICTS = (
    "After each held-out segment, in text without control tokens, a model is asked whether"
    " what was said is in the best band: by EOS on a side branch that the text does not see."
    " The area under the ROC curve is the chance that a segment of the best band gets a"
    " higher probability of it than another segment: 0.5 knows nothing, 1 is always right."
    " <b>verdict</b> is the model's own next token, <b>readout</b> a head trained together"
    " with it; <b>linear</b> and <b>mlp</b> were fitted afterwards, on what the frozen model"
    " makes of training text."
)
_ATTACKS = (
    "Prompts that were searched for because bad text follows them. An attack is scored by its"
    " worst prompt in fresh texts; beside it stand texts after no prompt, and the worst of as"
    " many prompts that nobody searched for: without an attack for the pool, of random tokens for"
    " searches. Fewer could be had where the table's <b>prompts tried</b> says so."
)
_KNOWING = (
    "Questions with known answers: how many are right, and whether the model's confidence tells"
    " which. A confidence of 0.5 AUROC tells nothing; calibrated is one that is right as often"
    " as it says. P(IK) is held against the model's samples, <b>answering</b> against the"
    " likeliest answers of the reference, all others against the model's own likeliest answers,"
    " where it gives one; so these numbers compare models, and only the AUROC against what the"
    " reference got right, over all questions, compares confidences."
)
TOPICS = (
    Topic(heading="Verdicts after EOS", group=JUDGING, about=_VERDICTS, tables=verdict_table),
    Topic(heading="Red team", group=ATTACKS, about=_ATTACKS, tables=attack_tables),
    Topic(heading="Knowing what it knows", group=KNOWING, about=_KNOWING, tables=knowing_tables),
    Topic(heading="Other lines", group=OTHER, about=""),
)


def topic_sections(report: Report, look: Look) -> dict[str, str]:
    """The sections about what was measured, by heading; none for what was not."""
    found = {topic.heading: _section(topic, report, look) for topic in TOPICS}
    return {heading: text for heading, text in found.items() if text}


def about(topic: Topic) -> str:
    """What a section says first, as HTML."""
    return f"<p>{topic.about}</p>\n" if topic.about else ""


def _section(topic: Topic, report: Report, look: Look) -> str:
    ours = [name for name in report.measured() if report.info(name).group == topic.group]
    tables = ""
    # Settings of a sweep stand in the comparison only, all else also in the table of the topic.
    if VERDICT in ours and (ours == [VERDICT] or report.variants):
        tables = comparison_table(comparison(report, VERDICT), look)
    if topic.tables is not None and ours and ours != [VERDICT]:
        tables += topic.tables({"": report}, look)
    lines = curve_figures(report, look, topic.group, name=topic.group.replace(" ", "-"))
    return f"{about(topic)}{tables}{lines}" if tables or lines else ""
