"""The page of a suite: several runs, each with a page of its own, and what they have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from valence.errors import StoreError
from valence.recipe import SuiteRecipe, load_any
from valence.report.content import Report
from valence.report.curves import curve_figures
from valence.report.drawing import Look
from valence.report.frame import figure, framed
from valence.report.front import front_picture
from valence.report.journey import build_report
from valence.report.marked import escape, marked_html
from valence.report.metrics import GROUPS
from valence.report.pivots import metric_table
from valence.report.reading import require_results
from valence.report.topics import TOPICS, about
from valence.store import write_text

_OPEN_TABLES = 4
"""Of more metrics than this the tables are folded, by group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The recipe of a suite and the reports of its runs that have results, in order."""

    recipe: SuiteRecipe
    reports: Mapping[str, Report]

    @property
    def look(self) -> Look:
        """A model has one colour in all runs."""
        reports = self.reports.values()
        return Look(
            models=tuple(dict.fromkeys(m for report in reports for m in report.models())),
            modes=tuple(dict.fromkeys(m for report in reports for m in report.modes())),
            bases={m: report.variant(m).base for report in reports for m in report.models()},
        )

    def shared(self) -> list[str]:
        """Metrics that several runs have, groups in the order of a page."""
        found: dict[str, int] = {}
        for report in self.reports.values():
            for name in report.measured():
                found[name] = found.get(name, 0) + 1
        names = [name for name, runs in found.items() if runs > 1]
        return sorted(names, key=lambda name: GROUPS.index(self.group(name)))

    def group(self, name: str) -> str:
        """Where a metric stands."""
        group = next(r for r in self.reports.values() if name in r.measured()).info(name).group
        return group if group in GROUPS else GROUPS[-1]


def write_suite_page(path: Path) -> Path:
    """Write `report.html` into the directory of a suite; returns its path.

    Links lead to the pages of its runs, which must have been written. Raises
    `MissingFileError`, `RecipeError` and `StoreError`.
    """
    require_results(path, "Finish the suite first: valence run SUITE --out DIR.")
    page = path / "report.html"
    write_text(page, render_suite(build_suite(path)))
    return page


def build_suite(path: Path) -> Suite:
    """The reports of all runs of a suite that have results."""
    recipe = load_any(path / "suite.yaml")
    if not isinstance(recipe, SuiteRecipe):
        raise StoreError(
            "does not hold a suite",
            where=str(path / "suite.yaml"),
            fix="Run the suite again with --overwrite.",
        )
    done = [name for name in recipe.runs if (path / name / "results.json").is_file()]
    return Suite(recipe=recipe, reports={name: build_report(path / name) for name in done})


def render_suite(suite: Suite) -> str:
    """The whole document; the same text for the same suite."""
    look = suite.look
    contents = {
        "Conclusions": _conclusions(suite),
        **_topics(suite, look),
        **_tables(suite, look),
        **{
            f"Run: {name}": _run(name, report, look, f"run{at}")
            for at, (name, report) in enumerate(suite.reports.items())
        },
        "Recipe": _recipe(suite),
    }
    return framed(f"Valence: {suite.recipe.name}", suite.recipe.description, contents)


def _conclusions(suite: Suite) -> str:
    """What each run concludes, under a link to its page."""
    parts = [_concluded(name, suite.reports.get(name)) for name in suite.recipe.runs]
    return "\n".join(parts)


def _concluded(name: str, report: Report | None) -> str:
    if report is None:
        return f"<h3>{escape(name)}</h3>\n<p>This run is not finished.</p>"
    said = report.conclusions.overall or report.conclusions.pairs
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in said)
    text = f"<ul>{items}</ul>" if items else "<p>No conclusion was drawn.</p>"
    return f"<h3>{_link(name)}</h3>\n{text}"


def _link(name: str) -> str:
    return f'<a href="{quote(name)}/report.html">{escape(name)}</a>'


def _topics(suite: Suite, look: Look) -> dict[str, str]:
    """One table of all runs for each question that they asked."""
    found = {}
    for topic in TOPICS:
        ours = {
            name: report
            for name, report in suite.reports.items()
            if any(report.info(metric).group == topic.group for metric in report.measured())
        }
        tables = topic.tables(ours, look) if ours and topic.tables is not None else ""
        if tables:
            found[topic.heading] = about(topic) + tables
    return found


def _tables(suite: Suite, look: Look) -> dict[str, str]:
    """A table for each metric that several runs have: a row for each run."""
    groups: dict[str, list[str]] = {}
    for name in suite.shared():
        groups.setdefault(suite.group(name), []).append(metric_table(suite.reports, name, look))
    if not groups:
        return {}
    folded = sum(map(len, groups.values())) > _OPEN_TABLES
    text = "".join(
        f"<details{'' if folded else ' open'}><summary>{escape(group)} ({len(tables)})"
        f"</summary>{''.join(tables)}</details>\n"
        for group, tables in groups.items()
    )
    return {"Metric by metric": text}


def _run(name: str, report: Report, look: Look, slug: str) -> str:
    """A run in small: what it is, its pictures (their ids begin with `slug`), a link."""
    lead = f"<p>{escape(report.lead)}</p>" if report.lead else ""
    pictures = "\n".join(_pictures(report, look, slug))
    return (
        f"{lead}\n<p>{_link(name)} has every number, samples to read and the training.</p>\n"
        f'<div class="small">{pictures}</div>'
    )


def _pictures(report: Report, look: Look, slug: str) -> Iterator[str]:
    front = front_picture(report, look) if report.samples or report.strips else None
    if front is not None:
        yield figure(front.draw, name=f"{slug}-front", alt=front.alt, caption=front.caption)
    for group in GROUPS:
        yield curve_figures(report, look, group, name=f"{slug}-{group.replace(' ', '-')}")


def _recipe(suite: Suite) -> str:
    text = marked_html(suite.recipe.to_yaml(), ())
    pre = f'<pre tabindex="0"><code>{text}</code></pre>'
    return f"<details><summary>The suite as it was read</summary>{pre}</details>"
