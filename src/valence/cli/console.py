"""What all commands share: the app, its consoles, errors in plain words, progress bars."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, ParamSpec

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

from valence.crew import Crew, ProcessLost
from valence.errors import Interrupted, ValenceError

P = ParamSpec("P")

LEADERS_WORD = 5.0
"""Seconds that the other processes of a run leave for the first one to speak."""

app = typer.Typer(
    help="Language models that know good from bad: annotate, train, measure, report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
out = Console(emoji=False)
err = Console(stderr=True, emoji=False)


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
    if Crew.rank() > 0:
        # The process that leads says the same, and its launcher then ends this one. One that
        # is still here afterwards failed alone.
        if isinstance(error, ProcessLost | Interrupted):
            sys.exit(error.exit_code)
        time.sleep(LEADERS_WORD)
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


@contextlib.contextmanager
def bars() -> Iterator[RichDisplay]:
    """A display with progress bars, on the terminal while the block runs."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=err,
    ) as progress:
        yield RichDisplay(progress)
