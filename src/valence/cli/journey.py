"""The verbs that carry out a recipe: run, train; report and recipes."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from valence.cli.console import app, bars, in_plain_words, out
from valence.crew import Crew
from valence.display import Silent
from valence.errors import RecipeError

if TYPE_CHECKING:
    from valence.data import Conclusions, Findings, Measurement
    from valence.recipe import Recipe, SuiteRecipe
    from valence.run import Result, Until
    from valence.suite import SuiteResult

CELL = 23
"""Width of a number with its interval and of its borders."""

RecipeArgument = Annotated[
    str, typer.Argument(help="A YAML file, or the name of a packaged recipe (see `recipes`).")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", help="Run directory; runs/NAME by default.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key, for instance train.tokens=200000. Repeatable."),
]
ResumeOption = Annotated[
    bool,
    typer.Option("--resume", help="Continue in a directory of another recipe; keep what fits."),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Remove the run that is in the directory first.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved recipe, sizes and cost; do nothing.")
]


@app.command("run")
@in_plain_words
def run_command(
    recipe: RecipeArgument,
    out_dir: OutOption = None,
    overrides: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Carry out a whole recipe: corpus, reward, models, samples, measures, report."""
    journey(recipe, out_dir, overrides, resume, overwrite, dry_run, "report")


@app.command("train")
@in_plain_words
def train_command(
    recipe: RecipeArgument,
    out_dir: OutOption = None,
    overrides: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Carry out a recipe as far as the trained models."""
    journey(recipe, out_dir, overrides, resume, overwrite, dry_run, "train")


@app.command("report")
@in_plain_words
def report_command(
    directory: Annotated[
        Path, typer.Argument(help="The directory of a run, a suite or a measurement.")
    ],
) -> None:
    """Write the report.html of finished results again."""
    from valence.report.directory import write_any_page

    out.print(str(write_any_page(directory)), soft_wrap=True)


@app.command("recipes")
@in_plain_words
def recipes_command(
    show: Annotated[str | None, typer.Option(help="Print this recipe.")] = None,
) -> None:
    """List the recipes that travel with the package, or print one."""
    from valence.recipe import load_any, packaged_recipes

    if show is not None:
        load_any(show)
        sys.stdout.write(packaged_recipes().get(show) or Path(show).read_text(encoding="utf-8"))
        return
    for name in packaged_recipes():
        about = load_any(name).description
        out.print(f"{name}: {about}", soft_wrap=True, highlight=False)


def journey(
    source: str,
    out_dir: Path | None,
    overrides: list[str] | None,
    resume: bool,
    overwrite: bool,
    dry_run: bool,
    until: Until,
) -> None:
    """Carry out a recipe as far as `until`, with progress bars, and print what came out."""
    from valence.recipe import EvaluationRecipe, SuiteRecipe, load_any

    check_flags(resume, overwrite)
    recipe = load_any(source, overrides or [])
    if isinstance(recipe, EvaluationRecipe):
        raise RecipeError(
            "measures models that exist, and trains none",
            where=source,
            fix="Give it to `valence measure`.",
        )
    leads = Crew.rank() == 0
    if dry_run:
        if leads:
            _print_plan(recipe)
        return
    from transformers.utils import logging

    from valence.precision import keep_freed_memory
    from valence.run import run
    from valence.suite import run_suite

    keep_freed_memory()
    logging.disable_progress_bar()  # Our own display is up.
    result: Result | SuiteResult
    with bars() if leads else contextlib.nullcontext(Silent()) as display:
        if isinstance(recipe, SuiteRecipe):
            result = run_suite(
                recipe, out_dir, until=until, resume=resume, overwrite=overwrite, display=display
            )
        else:
            result = run(
                recipe, out_dir, until=until, resume=resume, overwrite=overwrite, display=display
            )
    if leads:
        print_found(result.findings, result.conclusions)
        page = result.path / "report.html"
        out.print(str(page if until == "report" else result.path), soft_wrap=True, highlight=False)


def check_flags(resume: bool, overwrite: bool) -> None:
    """Raise `RecipeError` for both flags at once."""
    if resume and overwrite:
        raise RecipeError(
            "--resume keeps what is there and --overwrite removes it",
            where="command line",
            fix="Give one of them.",
        )


def print_found(findings: Findings, conclusions: Conclusions) -> None:
    """Tables of what was measured, and what follows; of diversity one number stands for all."""
    from valence.data import DIVERSITY

    told = [row for row in findings.rows if row.metric.partition("@")[0] not in DIVERSITY[1:]]
    for rows in _apart(told):
        out.print(_table(rows))
    for sentence in conclusions.sentences:
        out.print(f"- {sentence}", highlight=False)


def _print_plan(recipe: Recipe | SuiteRecipe) -> None:
    from valence.plan import plan
    from valence.recipe import SuiteRecipe

    sys.stdout.write(recipe.to_yaml())
    table = Table(title="plan", show_header=False)
    if isinstance(recipe, SuiteRecipe):
        from valence.suite import plan_suite

        found = list(plan_suite(recipe))
    else:
        found = plan(recipe)
    for label, value in found:
        table.add_row(label, value)
    out.print(table)


def _apart(rows: list[Measurement]) -> list[list[Measurement]]:
    """Rows of metrics that share a mode together, so that no table is mostly empty or wide."""
    names = max((len(f"{row.model}{row.mode}") for row in rows), default=0) + 8
    columns = max((out.width - names) // CELL, 2)
    groups: list[tuple[set[str], dict[str, list[Measurement]]]] = []
    for metric in dict.fromkeys(row.metric for row in rows):
        ours = [row for row in rows if row.metric == metric]
        modes = {row.mode for row in ours}
        known = next(
            (group for group in groups if group[0] & modes and len(group[1]) < columns), None
        )
        if known is None:
            groups.append((modes, {metric: ours}))
        else:
            known[0].update(modes)
            known[1][metric] = ours
    return [[row for ours in found.values() for row in ours] for _, found in groups]


def _table(rows: list[Measurement]) -> Table:
    metrics = list(dict.fromkeys(row.metric for row in rows))
    table = Table(title="value [95% interval]", caption="n = items; x = failures left out")
    table.add_column("model", no_wrap=True)
    table.add_column("mode", no_wrap=True)
    for metric in metrics:
        table.add_column(metric.replace("_", " ").replace("@", "\n@"), no_wrap=True)
    keys = dict.fromkeys((row.model, row.mode, row.seed) for row in rows)
    several = len({row.seed for row in rows}) > 1
    for model, mode, seed in keys:
        ours = [row for row in rows if (row.model, row.mode, row.seed) == (model, mode, seed)]
        cells = {row.metric: _cell(row) for row in ours}
        name = f"{model} (seed {seed})" if several else model
        table.add_row(name, mode, *(cells.get(metric, "—") for metric in metrics))
    return table


def _cell(row: Measurement) -> str:
    if row.value is None:
        return f"— (n {row.count}, x {row.failures})"
    interval = "" if row.low is None or row.high is None else f"\n[{row.low:.3g}, {row.high:.3g}]"
    failures = f" x {row.failures}" if row.failures else ""
    return f"{row.value:.3g}{failures}{interval}".replace("[", "\\[")
