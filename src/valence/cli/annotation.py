"""The verb that puts rewards on a corpus: annotate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from valence.cli.console import app, bars, in_plain_words, out
from valence.cli.journey import (
    DryRunOption,
    OutOption,
    OverwriteOption,
    ResumeOption,
    SetOption,
    journey,
)
from valence.errors import MissingFileError, RecipeError

if TYPE_CHECKING:
    from valence.annotate import Annotation

SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        help="Files, folders or globs (text, .jsonl, .csv, .parquet, also .gz and .zst); or one"
        " annotation to add rewards to; or one recipe, carried out as far as its annotation."
    ),
]


@app.command("annotate")
@in_plain_words
def annotate_command(
    sources: SourcesArgument,
    scorers: Annotated[
        list[str] | None,
        typer.Option(
            "--scorer",
            "-s",
            help="A scorer by name, as package.module:factory, or with options as YAML:"
            " '{regex: {patterns: [...]}}'. Repeatable.",
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--with", help="An option of the only --scorer, as key=value. Repeatable."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What the only --scorer's rewards are called.")
    ] = None,
    out_dir: OutOption = None,
    dataset: Annotated[
        bool, typer.Option("--dataset", help="The source is a Hugging Face data set, streamed.")
    ] = False,
    text_column: Annotated[str, typer.Option(help="The column that holds the text.")] = "text",
    id_column: Annotated[str | None, typer.Option(help="The column that names a document.")] = None,
    segment: Annotated[
        str, typer.Option(help="line, sentence, window, document or wtpsplit.")
    ] = "line",
    max_chars: Annotated[
        int | None, typer.Option(help="Take a seeded random part of about this size.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that score.")] = 2,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster.")] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds that one document may take; 0 for no limit.")
    ] = 600.0,
    max_failures: Annotated[
        float | None,
        typer.Option(help="More failed documents end with code 3; below 1, a share of all."),
    ] = None,
    model_size: Annotated[
        float | None, typer.Option(help="Parameters of a model to compare the cost with.")
    ] = None,
    tokens: Annotated[
        float | None, typer.Option(help="Tokens that this model would be trained on.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    overrides: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Put rewards on a corpus, once; or carry out a recipe as far as the annotation."""
    if _is_recipe(sources):
        journey(sources[0], out_dir, overrides, resume, overwrite, dry_run, "annotate")
        return
    from valence.annotate import annotate
    from valence.recipe import CorpusRecipe, ScoreRecipe, build_part, override

    known = _known_annotation(sources, out_dir)
    corpus: dict[str, Any] = {
        "reader": "datasets" if dataset else "files",
        "paths": sources,
        "text_column": text_column,
        "id_column": id_column,
        "segmenter": segment,
        "max_chars": max_chars,
    }
    score: dict[str, Any] = {
        "engine": engine,
        "address": address,
        "workers": workers,
        "timeout": timeout or None,
        "max_failures": max_failures,
        "pretraining": _pretraining(model_size, tokens),
    }
    tree: dict[str, Any] = {"corpus": corpus, "score": score}
    override(tree, overrides or [])
    made = None if known else build_part(CorpusRecipe, tree["corpus"], where="corpus")
    specs = _specs(scorers or [], options or [], name)
    parts = [
        build_part(ScoreRecipe, {**tree["score"], "scorer": spec, "name": name}, where="score")
        for spec in specs
    ]
    place = known or out_dir
    if place is None:
        raise RecipeError(
            "where should the annotation go?",
            where="--out",
            fix="Give a directory: --out annotations/mine.",
        )
    if dry_run:
        _print_plan(place, made, parts, seed)
        return
    with bars() as display:
        asked: list[ScoreRecipe | None] = [*parts] or [None]
        for part in asked:
            found = annotate(
                place, part, made, seed=seed, overwrite=overwrite, display=display, strict=False
            )
    _print_annotation(found, [part.folder for part in parts])
    from valence.annotate.run import check_failures

    for part in parts:
        check_failures(found, part)


def _is_recipe(sources: list[str]) -> bool:
    """Whether the one source is a recipe: a YAML file, or the name of a packaged one."""
    from valence.recipe import packaged_recipes

    if len(sources) != 1:
        return False
    source = sources[0]
    if Path(source).suffix in (".yaml", ".yml"):
        return True
    return not Path(source).exists() and source in packaged_recipes()


def _known_annotation(sources: list[str], out_dir: Path | None) -> Path | None:
    """The annotation that the one source is, if it is one."""
    from valence.annotate import Annotation

    if len(sources) != 1 or not Path(sources[0]).is_dir():
        return None
    try:
        found = Annotation(Path(sources[0])).path
    except MissingFileError:
        return None
    if out_dir is not None and out_dir != found:
        raise RecipeError(
            "the source is an annotation, and rewards are added to it where it is",
            where="--out",
            fix="Leave --out away.",
        )
    return found


def _pretraining(model_size: float | None, tokens: float | None) -> dict[str, float] | None:
    if (model_size is None) != (tokens is None):
        raise RecipeError(
            "the cost of a pretraining run needs both",
            where="--model-size and --tokens",
            fix="For example: --model-size 1.3e9 --tokens 26e9.",
        )
    return None if model_size is None else {"parameters": model_size, "tokens": tokens or 0.0}


def _specs(scorers: list[str], options: list[str], name: str | None) -> list[Any]:
    """The scorers as specs: plain names, or maps of a name to its options."""
    from valence.recipe import override, read_value

    if len(scorers) != 1 and (options or name is not None):
        raise RecipeError(
            f"there are {len(scorers)} scorers, and these go with one",
            where="--with and --name",
            fix="Give one --scorer, or its options as YAML: '{regex: {patterns: [...]}}'.",
        )
    specs: list[Any] = []
    for scorer in scorers:
        spec = read_value(scorer, where="--scorer") if scorer.lstrip().startswith("{") else scorer
        specs.append(spec)
    if options:
        inner: dict[str, Any] = {}
        override(inner, options, option="--with")
        if not isinstance(specs[0], str):
            raise RecipeError(
                "the scorer has its options already", where="--with", fix="Give them once."
            )
        specs[0] = {specs[0]: inner}
    return specs


def _print_plan(place: Path, corpus: Any, parts: list[Any], seed: int) -> None:
    from valence.annotate.plan import plan_annotation

    table = Table(title="plan", show_header=False)
    for label, value in plan_annotation(place, corpus, parts, seed=seed):
        table.add_row(label, value)
    out.print(table)


def _print_annotation(annotation: Annotation, names: list[str]) -> None:
    text = annotation.documents
    table = Table(title="annotation", show_header=False)
    table.add_row("documents", f"{text['documents']:,} ({text['held_out']:,} held out)")
    table.add_row("segments", f"{text['segments']:,}")
    table.add_row("text", f"{text['bytes'] / 1e6:,.2f} MB")
    if text["unread"]:
        table.add_row("not read", f"{text['unread']:,} ({_kinds(text['failures'])})")
    for name in names:
        rewards = annotation.rewards(name)
        table.add_row(name, rewards["scorer"]["meaning"])
        table.add_row("  segments with a reward", f"{rewards['scored_segments']:,}")
        failed = rewards["failed_documents"]
        kinds = f" ({_kinds(rewards['failures'])})" if failed else ""
        table.add_row("  documents that failed", f"{failed:,}{kinds}")
        speed = rewards["bytes"] / 1e6 / max(rewards["core_seconds"], 1e-9)
        table.add_row(
            "  cost",
            f"{rewards['calls']:,} calls, {rewards['core_seconds']:,.1f} processor seconds"
            f" ({speed:,.2f} MB/s per core); {rewards['flops']:.3g} FLOPs"
            f" ({rewards['flops_are']})",
        )
        if rewards["pretraining"] is not None:
            run = rewards["pretraining"]
            table.add_row(
                "  share of pretraining",
                f"{run['share']:.2g} of {run['flops']:.3g} FLOPs; {run['share_for_all_tokens']:.2g}"
                f" if all {run['tokens']:.3g} tokens were scored",
            )
    out.print(table, markup=False)
    out.print(str(annotation.path), soft_wrap=True, highlight=False, markup=False)


def _kinds(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind}: {count:,}" for kind, count in counts.items())
