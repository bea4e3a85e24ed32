"""What is said about an annotation, the same in the terminal and on the page."""

from __future__ import annotations

import re

from valence.report.annotation_content import (
    Agreement,
    Bands,
    Calibration,
    Detection,
    Example,
    Interval,
    Summary,
)
from valence.report.bound import Bound, percent
from valence.report.table import format_value

# All controls (C0 but for line feed, DEL, C1), what is invisible, and what reorders text.
_UNSEEN = re.compile(
    "[\0-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Text in which nothing can move the cursor, change colours or reorder what is read.

    Such characters become their names (`\\x1b`, `\\u202e`); a tab is an arrow and line feeds
    stay.
    """
    return _UNSEEN.sub(lambda found: _name(found.group()), text)


def _name(char: str) -> str:
    return "→" if char == "\t" else repr(char)[1:-1] if not char.isprintable() else char


def interval(found: Interval) -> str:
    """A value with its 95% interval."""
    if found.low is None or found.high is None:
        return format_value(found.value)
    return f"{format_value(found.value)} [{format_value(found.low)}, {format_value(found.high)}]"


def share(part: int, whole: int) -> str:
    """A share in percent with its counts."""
    return f"{percent(part / whole if whole else None)} ({part:,} of {whole:,})"


def overview(summary: Summary) -> tuple[str, ...]:
    """The first sentences about one scorer's rewards."""
    failed = summary.segments - summary.scored
    if not summary.scored:
        return (f"No segment could be scored, of {summary.segments:,}.",)
    said = [
        f"{summary.scored:,} segments scored, mean {format_value(summary.mean)}; by character"
        f" {format_value(summary.mean_by_char)}.",
        f"Failed: {share(failed, summary.segments)} segments." if failed else "No segment failed.",
    ]
    said += [
        f"{percent(count / summary.scored)} of them have exactly {format_value(value)}."
        for value, count in summary.histogram.masses
        if count >= 0.2 * summary.scored
    ]
    return (*said, *(bands(summary.bands) if summary.bands is not None else ()))


def bands(found: Bands) -> tuple[str, ...]:
    """What a bound comes to, and where it does not do what was asked."""
    upper = found.upper / found.scored
    said = [
        f"At or above {bound_said(found.asked, found.reward)}: {share(found.upper, found.scored)}"
        f" segments, {percent(found.upper_chars / found.chars if found.chars else None)} of their"
        " characters."
    ]
    if found.upper in (0, found.scored):
        side = "below" if found.upper == 0 else "at or above"
        said.append(f"This bound parts nothing: all of them are {side} it.")
    elif found.asked.best is not None and abs(upper - found.asked.best) > 0.005:
        said.append(
            f"Not {percent(found.asked.best)}, because {percent(found.tied / found.scored)} have"
            f" exactly that reward; strictly above it are"
            f" {percent((found.upper - found.tied) / found.scored)}."
        )
    return tuple(said)


def bound_said(asked: Bound, reward: float) -> str:
    """A bound as a reward, and as what was asked for."""
    if asked.best is None:
        return format_value(reward)
    return f"{format_value(reward)} (asked for: {asked})"


def agreement_lines(found: Agreement) -> tuple[tuple[str, str], ...]:
    """The measures of an agreement, as label and value."""
    first, second = found.first, found.second
    sampled = "" if found.sampled is None else f" (sample of {found.sampled:,})"
    (both_below, _), (_, both_above) = found.table
    return (
        ("segments that both scored", f"{found.segments:,} in {found.documents:,} documents"),
        ("left out, failed by one or both", f"{found.left_out:,}"),
        (f"Spearman's correlation{sampled}", interval(found.spearman)),
        (f"Pearson's correlation{sampled}", interval(found.pearson)),
        ("the same band", share(both_below + both_above, found.segments)),
        ("Cohen's kappa at the bounds", interval(found.kappa)),
        (f"AUROC, {first} for the bands of {second}{sampled}", format_value(found.auroc[0])),
        (f"AUROC, {second} for the bands of {first}{sampled}", format_value(found.auroc[1])),
    )


def detection_cells(found: Detection) -> tuple[str, ...]:
    """One row of the table of detection; its heads are `DETECTION`."""
    return (
        found.split,
        f"{found.segments:,}",
        share(found.lower, found.segments),
        interval(found.auroc),
        interval(found.average_precision),
        interval(found.f1),
        interval(found.bound),
    )


DETECTION = (
    "segments of",
    "number",
    "lower by label",
    "AUROC",
    "average precision",
    "best F1",
    "at the bound",
)


def calibration_about(found: Calibration) -> str:
    """How to read a calibration."""
    sampled = "" if found.sampled is None else f" A sample of {found.sampled:,} segments."
    return (
        f"{found.labels} below {format_value(found.bound)} is what {found.name} should find with"
        " low rewards. The bound with the best F1 is fitted to these same labels, so the F1 is"
        f" a little too good.{sampled}"
    )


def heading(example: Example) -> str:
    """Where an example stands and what its rewards are."""
    rewards = ", ".join(
        f"{name} {'failed' if reward is None else format_value(reward)}"
        for name, reward in example.rewards
    )
    return f"{rewards} · {visible(example.document)}, characters {example.start:,}–{example.end:,}"


def around(example: Example, most: int | None = None) -> tuple[str, str]:
    """The text before and after a segment, `most` characters of each, with signs of more."""
    before, after = example.before, example.after
    if most is not None:
        before, after = before[max(0, len(before) - most) :], after[:most]
    more = example.goes_on or len(after) < len(example.after)
    return ("…" if len(before) < example.start and before else "") + before, after + (
        "…" if more and after else ""
    )


def cut(example: Example) -> str:
    """What of an example's segment is not shown; empty where all of it is."""
    before, after = example.left_out
    parts = [
        f"{count:,} characters {where}"
        for count, where in ((before, "before"), (after, "after"))
        if count
    ]
    return f"of this segment not shown: {' and '.join(parts)}" if parts else ""
