"""The verbs on rewards that are there: show, distill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.table import Table

from valence.cli.console import app, bars, in_plain_words, out
from valence.cli.journey import OverwriteOption

if TYPE_CHECKING:
    from valence.distill.run import Kind


@app.command("show")
@in_plain_words
def show_command(
    annotation: Annotated[Path, typer.Argument(help="An annotation, or a run that has one.")],
    scorers: Annotated[
        list[str] | None,
        typer.Option("--scorer", "-s", help="Rewards to show, by name; all by default."),
    ] = None,
    bound: Annotated[
        str | None,
        typer.Option(
            help="Where good begins: a reward (--bound=-0.1), best-5%, worst-5%."
            " The best 5% by default."
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Rewards that are human labels, to calibrate against.")
    ] = None,
    examples: Annotated[
        int, typer.Option("-n", "--examples", min=0, help="Segments to read at each quantile.")
    ] = 3,
    html: Annotated[Path | None, typer.Option(help="Also write a page.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
) -> None:
    """Look at rewards: how they lie, what they are of, where two scorers disagree."""
    from valence.report.annotation import print_annotation
    from valence.report.annotation_page import write_annotation_page
    from valence.report.bound import parse_bound
    from valence.show import show

    found = show(
        annotation,
        scorers or None,
        bound=None if bound is None else parse_bound(bound),
        labels=labels,
        examples=examples,
        seed=seed,
    )
    print_annotation(found, out)
    if html is not None:
        out.print(str(write_annotation_page(html, found)), soft_wrap=True, markup=False)


@app.command("distill")
@in_plain_words
def distill_command(
    annotations: Annotated[
        list[Path], typer.Argument(help="Annotations, or runs that have one, with the rewards.")
    ],
    scorer: Annotated[str, typer.Option("--scorer", "-s", help="The teacher's rewards, by name.")],
    out_dir: Annotated[Path, typer.Option("--out", "-o", help="Directory of the student.")],
    bound: Annotated[
        str,
        typer.Option(
            help="The band that the student must find: below a reward (--bound=-0.5), worst-3%."
        ),
    ],
    kind: Annotated[str, typer.Option(help="linear, mlp or transformer.")] = "linear",
    base: Annotated[
        str | None, typer.Option(help="A model directory that a transformer starts from.")
    ] = None,
    max_segments: Annotated[
        int, typer.Option(min=2, help="Segments to learn from at the most.")
    ] = 200_000,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Train a small, fast student on a scorer's rewards, and say how faithful it is."""
    from valence.distill import distill
    from valence.report.bound import parse_bound

    if kind == "transformer":
        from transformers.utils import logging

        logging.disable_progress_bar()  # Our own display is up.
    with bars() as display:
        found = distill(
            annotations,
            scorer,
            out_dir,
            bound=parse_bound(bound),
            kind=cast("Kind", kind),
            base=base,
            max_segments=max_segments,
            seed=seed,
            overwrite=overwrite,
            display=display,
        )
    table = Table(title=f"{found.kind} student of {found.name}, on held-out documents")
    for head in ("metric", "value", "95% interval", "n"):
        table.add_column(head)
    for row in found.measurements:
        table.add_row(
            row.metric.replace("_", " "),
            "—" if row.value is None else f"{row.value:.3g}",
            "" if row.low is None or row.high is None else f"{row.low:.3g} to {row.high:.3g}",
            f"{row.count:,}",
        )
    out.print(table, markup=False)
    speed = found.throughput
    if speed.student is not None:
        times = "" if speed.ratio is None else f", {speed.ratio:,.3g} times its teacher"
        out.print(f"{speed.student:.3g} MB/s per core{times}", highlight=False)
    out.print(str(out_dir / "fidelity.html"), soft_wrap=True, highlight=False, markup=False)
