"""All that there is to see of an annotation, as one report for the terminal or the page.

report = show(Path("annotation"), bound=parse_bound("best-5%"))
print_annotation(report, Console())
write_annotation_page(Path("annotation.html"), report)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from valence.annotate.read import Annotation
from valence.errors import MissingFileError
from valence.report.annotation_content import AnnotationReport, FailureKind, Summary
from valence.report.bound import Bound
from valence.show.agreement import agree
from valence.show.blocks import blocks
from valence.show.calibration import calibrate
from valence.show.costs import said_bytes
from valence.show.summary import summarise
from valence.show.tally import Failures

LABELS = "label"
"""The scorer whose rewards are labels that people gave."""

DEFAULT_BOUND = Bound(best=0.05)

MOST_TOGETHER = 4
"""With more scorers than these, only the first is set beside each of the others."""


def show(
    path: Path,
    scorers: Sequence[str] | None = None,
    *,
    bound: Bound | None = None,
    labels: str | None = None,
    examples: int = 3,
    seed: int = 0,
) -> AnnotationReport:
    """What an annotation holds: text, rewards of the scorers named (or all), and agreement.

    `bound` parts the rewards of each scorer into two bands, the best 5% by default. `labels`
    names rewards that are labels; those of the scorer `label` are found by themselves.
    `examples` segments are shown for each reason to show some, 0 for none. Raises
    `MissingFileError`, `BoundError` and `StoreError`.
    """
    annotation = Annotation(path)
    names = list(dict.fromkeys(scorers)) if scorers else annotation.scorers
    if not names:
        raise MissingFileError(
            "there are no finished rewards",
            where=str(path),
            fix="Make some: valence annotate FILES --scorer NAME --out DIR.",
        )
    labels = labels if labels is not None else _labels_among(annotation)
    if labels is not None and labels not in names:
        names.append(labels)
    asked = bound if bound is not None else DEFAULT_BOUND
    summaries = tuple(
        summarise(
            annotation,
            name,
            bound=None if name == labels and asked.reward is not None else asked,
            examples=examples,
            seed=seed,
        )
        for name in names
    )
    scored = [summary.name for summary in summaries if summary.scored]
    others = [name for name in scored if name != labels]
    return AnnotationReport(
        title=f"Annotation {annotation.path.resolve().name}",
        corpus=_corpus(annotation.documents),
        unread=_unread(annotation),
        summaries=summaries,
        agreements=tuple(
            agree(
                annotation,
                first,
                second,
                bound_first=asked,
                bound_second=asked,
                examples=examples,
                seed=seed,
            )
            for first, second in _pairs(others)
        ),
        calibrations=tuple(
            calibrate(annotation, name, labels, seed=seed)
            for name in others
            if labels is not None and labels in scored
        ),
        notes=_notes(annotation, summaries, others, seed, examples),
    )


def _labels_among(annotation: Annotation) -> str | None:
    found = [
        name for name in annotation.scorers if annotation.rewards(name)["scorer"]["name"] == LABELS
    ]
    return found[0] if len(found) == 1 else None


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    if len(names) <= MOST_TOGETHER:
        return list(combinations(names, 2))
    return [(names[0], other) for other in names[1:]]


def _corpus(manifest: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    lines = [
        ("documents", f"{manifest['documents']:,}"),
        ("of these held out", f"{manifest['held_out']:,}"),
        ("segments", f"{manifest['segments']:,}"),
        ("characters", f"{manifest['chars']:,}"),
        ("text", said_bytes(manifest["bytes"])),
        ("shards", f"{len(manifest['shards']):,}"),
    ]
    failed = sum(manifest.get("failures", {}).values())
    return (*lines, ("documents that could not be read", f"{failed:,}"))


def _unread(annotation: Annotation) -> tuple[FailureKind, ...]:
    failures = Failures()
    for block in blocks(annotation, [], of_documents=["id"]):
        failures.add_unread(block)
    return failures.listed()


def _notes(
    annotation: Annotation,
    summaries: Sequence[Summary],
    scored: Sequence[str],
    seed: int,
    examples: int,
) -> tuple[str, ...]:
    notes = [
        "Counts, shares, means and quantiles are over every scored segment; a quantile is always"
        " a reward that some segment has. Failures are in no mean and in no band.",
        "A segment is in the upper band if its reward is at least the bound. A bound given as a"
        " share is found over all scored segments, of both splits.",
    ]
    if examples:
        notes.append(
            f"Examples are those nearest to the reward named; equally near ones are drawn by lot"
            f" with seed {seed}, from different documents where there are some."
        )
    if len(scored) > MOST_TOGETHER:
        notes.append(f"Agreement is shown of {scored[0]} with each of the others.")
    crowded = [summary.name for summary in summaries if not summary.sources]
    if crowded:
        notes.append(f"Too many sources to list them: {', '.join(crowded)}.")
    if annotation.stale:
        notes.append(f"Rewards of another text, not shown: {', '.join(annotation.stale)}.")
    return tuple(notes)
