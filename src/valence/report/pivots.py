"""Metrics that belong together as one table: verdicts, attacks, confidences.

Each function takes reports by the title of their rows: one report without a title on the page
of a run, one for each run on the page of a suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from valence.data import VERDICT
from valence.report.content import Report
from valence.report.drawing import Look
from valence.report.grid import GridRow, Summaries, grid, summaries
from valence.report.marked import escape
from valence.report.metrics import (
    CONFIDENCE,
    KNOWING,
    KNOWLEDGE,
    UNSEARCHED,
    attack_parts,
    confidence_in,
    plain,
)
from valence.report.table import swatch

Column = tuple[str, str, str]
"""Group, name, metric."""

_AT_END: tuple[Column, ...] = (
    ("calibration at the end", "ECE", "verdict_ece"),
    ("calibration at the end", "Brier", "verdict_brier"),
    ("pairs", "right order", "pairwise_accuracy"),
    ("running verdict", "bad flagged", "flag_recall"),
    ("running verdict", "false alarms", "flag_false_alarms"),
    ("running verdict", "text before the flag", "earliness_mean"),
    ("running verdict", "median of that", "earliness_median"),
    ("first flag", "before the mark", "first_flag_before_mark"),
    ("first flag", "inside", "first_flag_inside_mark"),
    ("first flag", "inside by chance", "first_flag_inside_mark_chance"),
    ("first flag", "after", "first_flag_after_mark"),
    ("first flag", "in a marked segment", "first_flag_in_marked_segment"),
    ("first flag", "in one by chance", "first_flag_in_marked_segment_chance"),
)
_WITHOUT, _WORST = "without an attack", "worst prompt, fresh texts"
_COUNTED = {
    "selected": "as it was chosen",
    "prompts": "prompts tried",
    "calls": "calls of models",
}
"""Groups of attacks' numbers by what they count; the two before are of metrics."""


def verdict_table(reports: Mapping[str, Report], look: Look) -> str:
    """How well each model judges, by what reads it out: a row for each of its judges."""
    measured = _measured(reports)
    areas, long = _areas(measured)
    columns = [*areas, *(each for each in _AT_END if each[2] in measured), *long]
    return _table("Verdicts by model and read-out", "model · read-out", columns, reports, look)


def _areas(measured: Iterable[str]) -> tuple[list[Column], list[Column]]:
    """AUROC by share of the text, and of long texts after some tokens and at the end."""
    found = [name.removeprefix(f"{VERDICT}@") for name in measured if name.startswith(VERDICT)]
    shares = sorted((each for each in found if each.endswith("%")), key=lambda s: float(s[:-1]))
    cuts = dict.fromkeys(each.partition("-")[0] for each in found if "tokens" in each)
    group = "AUROC after so much of the text"
    columns = [(group, share, f"{VERDICT}@{share}") for share in shares]
    columns.append((group if shares else "AUROC", "100%" if shares else "at the end", VERDICT))
    long = []
    for cut in cuts:
        number = cut.removesuffix("tokens")
        group = f"AUROC of texts longer than {number} tokens"
        long += [
            (group, f"after {number}", f"{VERDICT}@{cut}"),
            (group, "at the end", f"{VERDICT}@{cut}-whole"),
            (group, "difference", f"{VERDICT}@{cut}-gain"),
        ]
    return columns, long


def attack_tables(reports: Mapping[str, Report], look: Look) -> str:
    """Attacks beside each other, a table for each metric that they were scored by."""
    names = [name for name in _measured(reports) if name.startswith("redteam_")]
    tables = []
    for metric in dict.fromkeys(name.partition("@")[2] for name in names):
        parted = (name.removeprefix("redteam_").partition("@") for name in names)
        ours = [base for base, _, of in parted if of == metric]
        columns = [
            (group, _attack(name), f"redteam_{name}@{metric}")
            for group in (_WITHOUT, _WORST, *_COUNTED.values())
            for name in ours
            if _attack_group(name) == group
        ]
        title = f"Attacks, by {plain(metric)}"
        tables.append(_table(title, "model · mode", columns, reports, look))
    return "".join(tables)


def _attack_group(name: str) -> str:
    """Under which head an attack's number stands."""
    attack, counted = attack_parts(name)
    plainly = attack == "unprompted" or attack in UNSEARCHED
    return _COUNTED.get(counted) or (_WITHOUT if plainly else _WORST)


def _attack(name: str) -> str:
    """What of the group a number is."""
    attack, counted = attack_parts(name)
    if attack == "unprompted":
        return "no prompt"
    if attack not in UNSEARCHED:
        return attack
    who = UNSEARCHED[attack]
    return {"": f"worst of {who}", "mean": f"mean of {who}"}.get(counted, who)


def knowing_tables(reports: Mapping[str, Report], look: Look) -> str:
    """What is known and abstained from, and how good each confidence is, by set of questions."""
    tables = []
    measured = [
        name
        for report in reports.values()
        for name in report.measured()
        if report.info(name).group == KNOWING
    ]
    places = map(_where, measured)
    for place in dict.fromkeys(places):
        known = [(f"{name}@{place}" if place else name) for name in KNOWLEDGE]
        columns = [("", KNOWLEDGE[_base(name)][0], name) for name in known if name in measured]
        title = f"Answers to {place or 'questions'}"
        tables.append(_table(title, "model · mode", columns, reports, look))
        tables.append(_confidences(place, reports, look))
    return "".join(tables)


def metric_table(reports: Mapping[str, Report], metric: str, look: Look) -> str:
    """One metric of all runs: a row for each run, a column for each model and mode."""
    found = {name: summaries(report.measurements) for name, report in reports.items()}
    columns = _owners({k: v for each in found.values() for k, v in each.items() if k[2] == metric})
    rows = [
        GridRow(
            head=escape(name),
            cells=tuple(each.get((model, mode, metric)) for model, mode in columns),
        )
        for name, each in found.items()
    ]
    info = next(r for r in reports.values() if metric in r.measured()).info(metric)
    kept = [row for row in rows if any(row.cells)]
    return grid(info.label, "run", [_column(*column) for column in columns], {"": kept})


def _column(model: str, mode: str) -> tuple[str, str]:
    return model, "no token" if mode == "none" else mode


def _confidences(place: str, reports: Mapping[str, Report], look: Look) -> str:
    """A row for each model, mode and confidence."""
    groups: dict[str, list[GridRow]] = {}
    for title, report in reports.items():
        found = summaries(report.measurements)
        for model, mode in _owners(found):
            title_of = f"{title}: {model} · {mode}" if title else f"{model} · {mode}"
            ours = (n for n in report.measured() if report.info(n).group == KNOWING)
            names = (confidence_in(_base(n)) for n in ours if _where(n) == place)
            for confidence in dict.fromkeys(each[0] for each in names if each is not None):
                at = f"@{place}" if place else ""
                cells = tuple(
                    found.get((model, mode, f"{confidence}_{ending}{at}")) for ending in CONFIDENCE
                )
                if any(cells):
                    head = f"{swatch(look, model)}{escape(plain(confidence))}"
                    groups.setdefault(title_of, []).append(GridRow(head=head, cells=cells))
    columns = [("", label) for label, _, _ in CONFIDENCE.values()]
    return grid(f"Confidences in answers to {place or 'questions'}", "confidence", columns, groups)


def _table(
    title: str, corner: str, columns: Sequence[Column], reports: Mapping[str, Report], look: Look
) -> str:
    """A row for each model and mode that has one of the metrics."""
    groups = {
        name: _rows(summaries(report.measurements), [metric for _, _, metric in columns], look)
        for name, report in reports.items()
    }
    return grid(title, corner, [(group, name) for group, name, _ in columns], groups)


def _rows(found: Summaries, metrics: Sequence[str], look: Look) -> list[GridRow]:
    rows = []
    for model, mode in _owners(found):
        cells = tuple(found.get((model, mode, metric)) for metric in metrics)
        if any(cells):
            head = f"{swatch(look, model)}{escape(model)} · {escape(mode)}"
            rows.append(GridRow(head=head, cells=cells))
    return rows


def _owners(found: Summaries) -> list[tuple[str, str]]:
    """Models and modes, those of a model together."""
    pairs = list(dict.fromkeys((model, mode) for model, mode, _ in found))
    models = list(dict.fromkeys(model for model, _ in pairs))
    return sorted(pairs, key=lambda pair: models.index(pair[0]))


def _measured(reports: Mapping[str, Report]) -> dict[str, None]:
    return dict.fromkeys(name for report in reports.values() for name in report.measured())


def _base(name: str) -> str:
    return name.partition("@")[0]


def _where(name: str) -> str:
    return name.partition("@")[2]
