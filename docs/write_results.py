"""Write what finished runs measured into the docs: no number there is typed by hand.

python docs/write_results.py runs/demo runs/meaning measures/demo

writes a section of docs/results.md for each run, suite or evaluation, with the figure of a run
beside it, and leaves the other sections as they are; of the run `demo` also docs/demo.svg (every
sample), the table in README.md and docs/demo.md.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from valence.data import DIVERSITY, VERDICT, Measurement
from valence.recipe import (
    EvaluationRecipe,
    MeasureRecipe,
    SuiteRecipe,
    load_any,
    load_recipe,
)
from valence.report.budget import budget_picture
from valence.report.comparison import comparison, explained, markdown_table
from valence.report.content import Report
from valence.report.drawing import Picture
from valence.report.evaluation import build_evaluation_report
from valence.report.figures import strip_figure
from valence.report.front import cost_pictures, front_picture
from valence.report.guides import guide_tables
from valence.report.journey import build_report
from valence.report.metrics import (
    CONFIDENCE,
    GROUPS,
    JUDGING,
    KNOWING,
    confidence_in,
    metric_info,
)
from valence.report.page import look_of
from valence.report.reading import read_conclusions, read_rows
from valence.report.seeds import Summary, by_seed, summarise

DOCS = Path(__file__).parent
SHORT = ("local_violations_per_kchar", "file_violations_per_kchar", "loss_per_text_token")


VERDICTS = (
    {f"{VERDICT}@{share}%": f"AUROC at {share}%" for share in (10, 25, 50, 75)}
    | {VERDICT: "at the end", "verdict_ece": "ECE", "verdict_brier": "Brier"}
    | {"pairwise_accuracy": "pairs told right"},
    {
        f"{VERDICT}@200tokens": "AUROC after 200 tokens",
        f"{VERDICT}@200tokens-whole": "of the same, at the end",
        f"{VERDICT}@200tokens-gain": "what the rest adds",
        "flag_recall": "bad text flagged",
        "flag_false_alarms": "good text flagged",
        "earliness_mean": "share of text before the flag",
        "first_flag_inside_mark": "first flag inside a mark",
        "first_flag_inside_mark_chance": "by chance",
        "first_flag_in_marked_segment": "in a marked segment",
        "first_flag_in_marked_segment_chance": "that by chance",
    },
)
"""Columns of the tables of verdicts: metrics, and what they are called there."""
COLUMNS = 7
"""Metrics in one table at the most."""


def cell(row: Measurement | Summary | str | None) -> str:
    if isinstance(row, str):
        return row.replace("|", "\\|")
    if row is None or row.value is None:
        return "—"
    interval = "" if row.low is None or row.high is None else f" [{row.low:.3g}, {row.high:.3g}]"
    return f"{row.value:.3g}{interval}"


def table(report: Report, metrics: tuple[str, ...]) -> list[str]:
    rows = {(r.model, r.mode, r.metric): r for r in report.measurements}
    labels = [report.info(metric).label for metric in metrics]
    lines = ["| model, mode | " + " | ".join(labels) + " |", "|---|" + "---|" * len(metrics)]
    for model, mode in dict.fromkeys((r.model, r.mode) for r in report.measurements):
        cells = [cell(rows.get((model, mode, metric))) for metric in metrics]
        if set(cells) == {"—"}:
            continue
        lines.append(f"| {model}, {mode} | " + " | ".join(cells) + " |")
    return lines


def picture(report: Report) -> str:
    look = look_of(report)
    metric = report.info(report.strip_metric)
    alt = f"{metric.label} of every sample, by model and mode"
    return strip_figure(report.strips, metric=metric, look=look, prefix="demo", alt=alt)


def on_white(svg: str) -> str:
    """The figure on white, for pages whose own ground may be dark."""
    return svg.replace("<svg ", '<svg style="background:#fff" ', 1)


def figures(report: Report, name: str) -> dict[str, str]:
    """SVGs by file name: the budgets, or else ability against misalignment; and their captions."""
    look = look_of(report)
    pictures = {
        f"results-{name}-{budget.name}": budget_picture(report, budget, look)
        for budget in report.budgets
    }
    front = front_picture(report, look)
    if not pictures and front is not None:
        pictures = {f"results-{name}": front}
    lines = {}
    for stem, picture in pictures.items():
        lines[stem] = drawn(picture, stem)
    return lines


def drawn(picture: Picture, stem: str) -> str:
    """Writes a picture as an SVG; the Markdown that shows it."""
    svg = picture.draw(stem, picture.alt, False)
    (DOCS / f"{stem}.svg").write_text(on_white(svg), encoding="utf-8")
    return f"![{picture.caption}]({stem}.svg)\n\n{picture.caption}"


def conclusions(report: Report) -> list[str]:
    """As a list, of which GitHub folds what the page folds."""
    shown, rest = ([f"- {sentence}" for sentence in part] for part in report.folded())
    if rest:
        fold = f"<details><summary>{len(rest)} comparisons of two</summary>"
        return [*shown, "", fold, "", *rest, "", "</details>", ""]
    return [*shown, ""]


def section(report: Report, name: str) -> str:
    """What was run, all models beside each other, conclusions and the figure, as Markdown."""
    done = dict(report.steps)
    ran = [done[step] for step in ("corpus", "train", "selection") if step in done]
    lines = [f"## {name}", "", report.lead.strip(), "", *(f"- {sentence}" for sentence in ran), ""]
    measured = {row.metric for row in report.measurements}
    for metric in dict.fromkeys([report.front[1], report.front[0], VERDICT]):
        if metric not in measured:
            continue
        shown = comparison(report, metric)
        lines += [f"**{shown.metric.label}**: {explained(shown)}.", "", *markdown_table(shown), ""]
    lines += ["Computed by the run:", "", *conclusions(report)]
    for figure in figures(report, name).values():
        lines += [figure, ""]
    return "\n".join(lines)


def grouped(rows: list[Measurement], measure: MeasureRecipe) -> list[str]:
    """Every number of models that exist or of a suite: a table for each group of metrics.

    Numbers without which the others are read as well are left to the page.
    """
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        info = metric_info(row.metric, measure)
        base = row.metric.partition("@")[0]
        told = confidence_in(base) if info.group == KNOWING else None
        if told is not None:
            continue
        if base not in DIVERSITY[1:] and not base.endswith(("_selected", "_calls")):
            found.setdefault(info.group, {})[row.metric] = None
    lines = []
    for group in (name for name in GROUPS if name in found):
        names = list(found[group])
        if group == JUDGING:
            lines += verdicts(rows, names)
            continue
        for first in range(0, len(names), COLUMNS):
            lines += [*pivot(rows, names[first : first + COLUMNS], measure), ""]
    return lines + confidences(rows, measure)


def verdicts(rows: list[Measurement], measured: list[str]) -> list[str]:
    """How well each judge of each model tells: by how much of the text, how early, and where."""
    cells = {key: summarise(seeds) for key, seeds in by_seed(rows).items()}
    lines = []
    for columns in VERDICTS:
        names = [name for name in columns if name in measured]
        if not names:
            continue
        lines += ["| model, judge | " + " | ".join(columns[name] for name in names) + " |"]
        lines += ["|---|" + "---|" * len(names)]
        for model, mode in dict.fromkeys((model, mode) for model, mode, _ in cells):
            own = [cells.get((model, mode, name)) for name in names]
            # What says the same of every text is on the page, to hold Brier scores against.
            if mode != "constant" and any(one and one.value is not None for one in own):
                lines.append(f"| {model}, {mode} | " + " | ".join(map(cell, own)) + " |")
        lines.append("")
    return lines


def confidences(rows: list[Measurement], measure: MeasureRecipe) -> list[str]:
    """How good each confidence in answers is: a row for each model, mode and confidence."""
    cells = {key: summarise(seeds) for key, seeds in by_seed(rows).items()}
    places: dict[str, dict[tuple[str, str, str], None]] = {}
    for model, mode, metric in cells:
        base, at, place = metric.partition("@")
        told = confidence_in(base)
        if told is not None and metric_info(metric, measure).group == KNOWING:
            places.setdefault(at + place, {})[model, mode, told[0]] = None
    lines = []
    for place, owners in places.items():
        labels = [label for label, _, _ in CONFIDENCE.values()]
        lines += [f"Confidences in answers to {place.removeprefix('@')}:", ""]
        lines += ["| model, mode | confidence | " + " | ".join(labels) + " |"]
        lines += ["|---|---|" + "---|" * len(labels)]
        for model, mode, name in owners:
            own = [cells.get((model, mode, f"{name}_{end}{place}")) for end in CONFIDENCE]
            lines.append(f"| {model}, {mode} | {name} | " + " | ".join(map(cell, own)) + " |")
        lines.append("")
    return lines


def pivot(rows: list[Measurement], metrics: list[str], measure: MeasureRecipe) -> list[str]:
    """Models and modes by metrics; the mean over seeds where there are several."""
    cells = {key: summarise(seeds) for key, seeds in by_seed(rows).items()}
    labels = [metric_info(metric, measure).label.replace("|", "\\|") for metric in metrics]
    lines = ["| model, mode | " + " | ".join(labels) + " |", "|---|" + "---|" * len(metrics)]
    for model, mode in dict.fromkeys((model, mode) for model, mode, _ in cells):
        own = [cells.get((model, mode, metric)) for metric in metrics]
        if any(one is not None and one.value is not None for one in own):
            lines.append(f"| {model}, {mode} | " + " | ".join(map(cell, own)) + " |")
    return lines


def section_of_suite(path: Path) -> tuple[str, str]:
    """The name of a suite and its section: all runs together, then what each concludes."""
    suite = load_any(path / "suite.yaml")
    assert isinstance(suite, SuiteRecipe)
    said = read_conclusions(path).sentences
    lines = [f"## {suite.name}", "", suite.description.strip(), ""]
    lines += grouped(list(read_rows(path)), MeasureRecipe())
    if said:
        lines += ["Computed by the runs:", "", *(f"- {sentence}" for sentence in said), ""]
    return suite.name, "\n".join(lines)


def section_of_evaluation(path: Path) -> tuple[str, str]:
    """The name of an evaluation and its section."""
    recipe = load_any(path / "evaluation.yaml")
    assert isinstance(recipe, EvaluationRecipe)
    report = build_evaluation_report(path)
    lines = [f"## {recipe.name}", "", recipe.description.strip(), ""]
    lines += guides(report, recipe.name)
    told = {metric for each in report.standings for metric in each.metrics}
    rest = [row for row in read_rows(path) if row.metric not in told]
    lines += grouped(rest, recipe.measure)
    if report.conclusions.sentences:
        lines += ["Computed by the evaluation:", "", *conclusions(report)]
    return recipe.name, "\n".join(lines)


def guides(report: Report, name: str) -> list[str]:
    """Which guide is on the front, the best for each budget, and the figure of both."""
    lines = []
    for table in (each for pair in guide_tables(report) for each in pair):
        several = len({model for model, _, _ in table.rows}) > 1
        lines += [f"{table.title}:", "", f"| {table.corner} | {' | '.join(table.columns)} |"]
        lines.append("|---|" + "---|" * len(table.columns))
        for model, mode, cells in table.rows:
            head = f"{model}, {mode}" if several else mode
            lines.append(f"| {head} | {' | '.join(map(cell, cells))} |")
        lines.append("")
    for at, picture in enumerate(cost_pictures(report, look_of(report))):
        stem = f"results-{name}-{at}" if at else f"results-{name}"
        lines += [drawn(picture, stem), ""]
    return lines


def replace_between(text: str, begin: str, end: str, block: str) -> str:
    """The text with what stands between two markers replaced; both at its end if not there."""
    whole = f"{begin}\n{block.rstrip()}\n{end}"
    if begin not in text:
        return f"{text.rstrip()}\n\n{whole}\n"
    if end not in text:
        raise SystemExit(f"`{begin}` has no `{end}` after it; mend that by hand.")
    pattern = re.escape(begin) + r".*?" + re.escape(end)
    return re.sub(pattern, lambda _: whole, text, count=1, flags=re.DOTALL)


def write_section(name: str, block: str) -> None:
    page = DOCS / "results.md"
    head = "# Results\n\nWritten by `docs/write_results.py` from finished runs.\n"
    text = page.read_text(encoding="utf-8") if page.is_file() else head
    begin, end = f"<!-- results: {name} -->", f"<!-- /results: {name} -->"
    text = replace_between(text, begin, end, block)
    page.write_text(text, encoding="utf-8")


def write_demo(report: Report) -> None:
    (DOCS / "demo.svg").write_text(picture(report), encoding="utf-8")
    said = [f"- {sentence}" for sentence in report.conclusions.sentences]
    readme = DOCS.parent / "README.md"
    block = "\n".join(
        [
            *table(report, SHORT[:2]),
            "",
            "95% intervals, one seed; computed by the run:",
            "",
            *said[:3],
        ]
    )
    begin = "<!-- demo-results: written by docs/write_results.py from runs/demo -->"
    end = "<!-- /demo-results -->"
    text = replace_between(readme.read_text(encoding="utf-8"), begin, end, block)
    readme.write_text(text, encoding="utf-8")
    metrics = tuple(metric.name for metric in report.metrics)
    page = [
        "# What the demo measured",
        "",
        "Written by `docs/write_results.py`.",
        "",
        *table(report, metrics),
        "",
    ]
    page += ["## Conclusions", "", *said, "", "## Ledger", "", "| what | |", "|---|---|"]
    page += [f"| {label} | {value} |" for label, value in report.ledger]
    (DOCS / "demo.md").write_text("\n".join(page) + "\n", encoding="utf-8")


def main(runs: list[Path]) -> None:
    for run in runs:
        if (run / "suite.yaml").is_file():
            write_section(*section_of_suite(run))
            continue
        if (run / "evaluation.yaml").is_file():
            write_section(*section_of_evaluation(run))
            continue
        report, name = build_report(run), load_recipe(run / "recipe.yaml").name
        write_section(name, section(report, name))
        if name == "demo":
            write_demo(report)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write runs' numbers into the docs.")
    parser.add_argument("runs", type=Path, nargs="+")
    main(parser.parse_args().runs)
