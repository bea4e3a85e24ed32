"""The command table: parse, build, call, print. Every verb is one public Python call."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, ParamSpec

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from valence import __version__
from valence.errors import Interrupted, RecipeError, ValenceError

if TYPE_CHECKING:
    from valence.data import Measurement
    from valence.recipe import Recipe
    from valence.run import Result, Until

P = ParamSpec("P")

app = typer.Typer(
    help="Language models that know good from bad: annotate, train, measure, report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
out = Console(emoji=False)
err = Console(stderr=True, emoji=False)

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


def in_plain_words(command: Callable[P, None]) -> Callable[P, None]:
    """A user's mistake ends the command with one or two lines and exit code 2, no traceback."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ValenceError as error:
            _fail(error)
        except KeyboardInterrupt:
            _fail(Interrupted("interrupted", fix="The same command continues what is finished."))
        except BrokenPipeError:  # The reader of our output has gone, which is its right.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            from valence.store import storage_error

            _fail(storage_error(error, Path(error.filename or "output")))

    return guarded


def _fail(error: ValenceError) -> NoReturn:
    err.print(f"valence: {error}", soft_wrap=True, highlight=False, markup=False)
    sys.exit(error.exit_code)


class RichDisplay:
    """Progress bars with an estimate for every long stage; plain lines without a terminal."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """One bar for one stage."""
        task = self.progress.add_task(title, total=None)
        if not self.progress.console.is_terminal:
            self.progress.console.print(f"{title} ...")
        yield lambda done, total: self.progress.update(task, completed=done, total=total)
        seen = self.progress.tasks[task].total or 1
        self.progress.update(task, completed=seen, total=seen)
        if not self.progress.console.is_terminal:
            self.progress.console.print(f"{title}: {self.progress.tasks[task].elapsed or 0:.1f} s")

    def skipped(self, title: str) -> None:
        """A stage that was finished before."""
        self.progress.console.print(f"{title}: done before")


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
    _journey(recipe, out_dir, overrides, resume, overwrite, dry_run, "report")


@app.command("annotate")
@in_plain_words
def annotate_command(
    recipe: RecipeArgument,
    out_dir: OutOption = None,
    overrides: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Carry out a recipe as far as the annotation: text and its rewards."""
    _journey(recipe, out_dir, overrides, resume, overwrite, dry_run, "annotate")


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
    _journey(recipe, out_dir, overrides, resume, overwrite, dry_run, "train")


@app.command("measure")
@in_plain_words
def measure_command(
    recipe: RecipeArgument,
    out_dir: OutOption = None,
    overrides: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Carry out a recipe as far as results.json, without the page."""
    _journey(recipe, out_dir, overrides, resume, overwrite, dry_run, "measure")


@app.command("report")
@in_plain_words
def report_command(
    run_dir: Annotated[Path, typer.Argument(help="A run directory with results.")],
) -> None:
    """Write a finished run's report.html again."""
    from valence.report.journey import write_page

    out.print(str(write_page(run_dir)), soft_wrap=True)


@app.command("sample")
@in_plain_words
def sample_command(
    model: Annotated[Path, typer.Argument(help="A checkpoint directory.")],
    mode: Annotated[
        str | None, typer.Option(help="good, bad, banned, or none; its best by default.")
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many texts.")] = 1,
    prompt: Annotated[str, typer.Option(help="Text to continue, whatever it says.")] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="Text tokens at the most.")] = 256,
    temperature: Annotated[float, typer.Option(help="Above 0.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Above 0, at most 1.")] = 0.9,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
) -> None:
    """Write texts with a trained model, in one of its modes."""
    from valence.guide.loop import sample_checkpoint

    if prompt != prompt.encode(errors="replace").decode():  # Bytes that were no text.
        raise RecipeError("is not valid UTF-8", where="--prompt", fix="Give text.")
    for index, text in enumerate(
        sample_checkpoint(
            model,
            mode=mode,
            count=count,
            prompt=prompt,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
    ):
        if count > 1:
            err.rule(f"{index + 1} of {count}")
        sys.stdout.write(prompt + text + "\n")


@app.command("recipes")
@in_plain_words
def recipes_command(
    show: Annotated[str | None, typer.Option(help="Print this recipe.")] = None,
) -> None:
    """List the recipes that travel with the package, or print one."""
    from valence.recipe import load_recipe, packaged_recipes

    if show is not None:
        load_recipe(show)
        sys.stdout.write(packaged_recipes().get(show) or Path(show).read_text(encoding="utf-8"))
        return
    for name in packaged_recipes():
        about = load_recipe(name).description
        out.print(f"{name}: {about}", soft_wrap=True, highlight=False)


def _version(asked: bool) -> None:
    if asked:
        out.print(f"valence {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Language models that know good from bad: annotate, train, measure, report."""


def _journey(
    source: str,
    out_dir: Path | None,
    overrides: list[str] | None,
    resume: bool,
    overwrite: bool,
    dry_run: bool,
    until: Until,
) -> None:
    from valence.recipe import load_recipe

    if resume and overwrite:
        raise RecipeError(
            "--resume keeps what is there and --overwrite removes it",
            where="command line",
            fix="Give one of them.",
        )
    recipe = load_recipe(source, overrides or [])
    if dry_run:
        _print_plan(recipe)
        return
    from transformers.utils import logging

    from valence.precision import keep_freed_memory
    from valence.run import run

    keep_freed_memory()
    logging.disable_progress_bar()  # Our own display is up.
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=err,
    ) as progress:
        result = run(
            recipe,
            out_dir,
            until=until,
            resume=resume,
            overwrite=overwrite,
            display=RichDisplay(progress),
        )
    _print_result(result, until)


def _print_plan(recipe: Recipe) -> None:
    from valence.plan import plan

    sys.stdout.write(recipe.to_yaml())
    table = Table(title="plan", show_header=False)
    for label, value in plan(recipe):
        table.add_row(label, value)
    out.print(table)


def _print_result(result: Result, until: Until) -> None:
    if result.measurements:
        out.print(_table(result.measurements))
        for sentence in result.conclusions:
            out.print(f"- {sentence}", highlight=False)
    page = result.path / "report.html"
    shown = page if until == "report" else result.path
    out.print(str(shown), soft_wrap=True, highlight=False)


def _table(rows: list[Measurement]) -> Table:
    metrics = list(dict.fromkeys(row.metric for row in rows))
    table = Table(title="value [95% interval]", caption="n = items; x = failures left out")
    table.add_column("model", no_wrap=True)
    table.add_column("mode", no_wrap=True)
    for metric in metrics:
        table.add_column(metric.replace("_", " "))
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


def main() -> None:
    """The `valence` command."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # Threads that wait spin for microseconds before they sleep: never spinning costs a
    # quarter of the speed, and spinning long makes training collapse beside other work.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    app()


if __name__ == "__main__":
    main()
