"""Write what a finished run measured into the docs: no number there is typed by hand.

    python docs/write_results.py runs/demo

writes docs/demo.svg (every sample), the table in README.md and docs/demo.md.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from valence.data import Measurement
from valence.report.content import Report
from valence.report.drawing import Look
from valence.report.figures import strip_figure
from valence.report.journey import build_report

DOCS = Path(__file__).parent
SHORT = ("local_violations_per_kchar", "file_violations_per_kchar", "loss_per_text_token")


def cell(row: Measurement | None) -> str:
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
    keys = list(report.strips)
    look = Look(
        models=tuple(dict.fromkeys(model for model, _ in keys)),
        modes=tuple(dict.fromkeys(mode for _, mode in keys)),
    )
    metric = report.info(report.strip_metric)
    alt = f"{metric.label} of every sample, by model and mode"
    return strip_figure(report.strips, metric=metric, look=look, prefix="demo", alt=alt)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a run's numbers into the docs.")
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    report = build_report(run)
    (DOCS / "demo.svg").write_text(picture(report), encoding="utf-8")
    said = [f"- {sentence}" for sentence in report.conclusions]
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
    text = re.sub(
        re.escape(begin) + r".*?<!-- /demo-results -->",
        lambda _: f"{begin}\n{block}\n<!-- /demo-results -->",
        readme.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
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


if __name__ == "__main__":
    main()
