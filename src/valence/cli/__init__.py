"""The command table: parse, build, call, print. Every verb is one public Python call."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from valence import __version__
from valence.cli import annotation, evaluation, guiding, journey, models, rewards
from valence.cli.console import app, err, out

__all__ = [
    "annotation",
    "app",
    "err",
    "evaluation",
    "guiding",
    "journey",
    "main",
    "models",
    "out",
    "rewards",
]


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


def main() -> None:
    """The `valence` command."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # Threads that wait spin for microseconds before they sleep: never spinning costs a
    # quarter of the speed, and spinning long makes training collapse beside other work.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    app()
