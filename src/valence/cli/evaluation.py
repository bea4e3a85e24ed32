"""The verb that measures: a model that exists, several of them, or a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from valence.cli.console import app, bars, in_plain_words, out
from valence.cli.journey import (
    DryRunOption,
    OutOption,
    OverwriteOption,
    ResumeOption,
    SetOption,
    check_flags,
    journey,
    print_found,
)
from valence.errors import RecipeError

ModelsArgument = Annotated[
    list[str],
    typer.Argument(
        help="Checkpoint directories, as DIR or NAME=DIR; or an evaluation's recipe; or a run's,"
        " carried out as far as results.json."
    ),
]


@app.command("measure")
@in_plain_words
def measure_command(
    models: ModelsArgument,
    out_dir: OutOption = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="What to measure: a YAML file with `sample` and `measure`, or a packaged recipe.",
        ),
    ] = None,
    scorers: Annotated[
        list[str] | None,
        typer.Option("--scorer", "-s", help="A scorer whose mean reward is a metric. Repeatable."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="A file of prompts to continue (key `text`, or lines)."),
    ] = None,
    per_prompt: Annotated[
        int | None, typer.Option(min=1, help="Samples of each prompt; 1 by default.")
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Prompts are what a user says.")] = False,
    text: Annotated[
        list[str] | None,
        typer.Option(help="Text files to measure the loss on, as NAME=FILE. Repeatable."),
    ] = None,
    labelled: Annotated[
        Path | None, typer.Option(help="An annotation: losses and verdicts on its held-out text.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("-n", "--count", min=1, help="Samples per mode, without prompt.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Text tokens per sample.")] = None,
    mode: Annotated[
        list[str] | None, typer.Option(help="A mode to measure; all by default. Repeatable.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1)] = None,
    overrides: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Measure what models say, in which mode, and how sure that is."""
    if len(models) == 1 and not _is_model(models[0]):
        _refuse(
            models[0],
            {
                "--recipe": recipe, "--scorer": scorers, "--prompts": prompts,
                "--per-prompt": per_prompt, "--chat": chat, "--text": text,
                "--labelled": labelled, "--count": count, "--max-tokens": max_tokens,
                "--mode": mode, "--seed": seed,
            },
        )  # fmt: skip
        _measure_recipe(models[0], out_dir, overrides, resume, overwrite, dry_run)
        return
    from valence.recipe import EvaluationRecipe, build_part, override, read_tree

    tree, where = ({}, "command line") if recipe is None else read_tree(recipe)
    sample, measure = tree.setdefault("sample", {}), tree.setdefault("measure", {})
    tree["models"] = _named(models)
    tree.setdefault("name", "-".join(tree["models"])[:60])
    if isinstance(sample, dict):
        sample |= {k: v for k, v in (("count", count), ("max_tokens", max_tokens)) if v is not None}
    if seed is not None:
        tree["seed"] = seed
    if scorers:
        measure.setdefault("metrics", {}).update(_metrics(scorers))
    if prompts is not None:
        measure.setdefault("scenarios", {})["prompts"] = {
            "prompts": str(prompts), "per_prompt": per_prompt or 1, "chat": chat,
        }  # fmt: skip
    elif per_prompt is not None or chat:
        raise RecipeError(
            "there are no prompts that it could be about",
            where="--chat" if chat else "--per-prompt",
            fix="Give --prompts FILE with it; scenarios of a recipe say it themselves.",
        )
    for one in text or []:
        name, path = _pair(one, "--text")
        measure.setdefault("ability", {}).setdefault("texts", {})[name] = {"path": path}
    if labelled is not None:
        measure["labelled"] = {"annotation": str(labelled)}
    if mode:
        measure["modes"] = mode
    override(tree, overrides or [])
    check_flags(resume, overwrite)
    evaluate_and_print(
        build_part(EvaluationRecipe, tree, where=where),
        out_dir, resume, overwrite, dry_run,
    )  # fmt: skip


def _refuse(source: str, options: dict[str, Any]) -> None:
    """Raise `RecipeError` for options beside a recipe, which says itself what they say."""
    given = [name for name, value in options.items() if value is not None and value is not False]
    if given:
        raise RecipeError(
            f"{', '.join(given)} would not be heeded: the recipe says what is measured, and how",
            where=source,
            fix="Leave them out, and change the recipe, or its keys with --set (for instance"
            " --set seed=1 --set 'measure.modes=[good]' --set sample.count=64).",
        )


def _measure_recipe(
    source: str,
    out_dir: Path | None,
    overrides: list[str] | None,
    resume: bool,
    overwrite: bool,
    dry_run: bool,
) -> None:
    """A recipe: of an evaluation, or of a run as far as its results."""
    from valence.recipe import EvaluationRecipe, load_any

    found = load_any(source, overrides or [])
    if isinstance(found, EvaluationRecipe):
        check_flags(resume, overwrite)
        evaluate_and_print(found, out_dir, resume, overwrite, dry_run)
    else:
        journey(source, out_dir, overrides, resume, overwrite, dry_run, "measure")


def evaluate_and_print(
    recipe: Any, out_dir: Path | None, resume: bool, overwrite: bool, dry_run: bool
) -> None:
    """Carry out an evaluation with bars, and print what it found."""
    import sys

    if dry_run:
        sys.stdout.write(recipe.to_yaml())
        return
    from transformers.utils import logging

    from valence.evaluate import evaluate
    from valence.precision import keep_freed_memory

    keep_freed_memory()
    logging.disable_progress_bar()
    with bars() as display:
        result = evaluate(recipe, out_dir, resume=resume, overwrite=overwrite, display=display)
    print_found(result.findings, result.conclusions)
    out.print(str(result.path / "report.html"), soft_wrap=True, highlight=False)


def _is_model(source: str) -> bool:
    """Whether this names a checkpoint and not a recipe."""
    return "=" in source or (Path(source).is_dir() and not source.endswith((".yaml", ".yml")))


def _named(models: list[str]) -> dict[str, Any]:
    """Directories by name; several of one name are seeds of one model."""
    found: dict[str, list[str]] = {}
    for model in models:
        name, equals, path = model.partition("=")
        if not equals:
            name, path = Path(model).resolve().name, model
        found.setdefault(name, []).append(path)
    return {name: paths[0] if len(paths) == 1 else paths for name, paths in found.items()}


def _metrics(scorers: list[str]) -> dict[str, Any]:
    """A metric for each scorer, named after it."""
    from valence.recipe import read_value
    from valence.score.table import spec_parts

    found: dict[str, Any] = {}
    for given in scorers:
        spec = read_value(given, where="--scorer") if "{" in given else given
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in spec_parts(spec)[0])
        found[name] = {"scorer": spec}
    return found


def _pair(given: str, option: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals:
        raise RecipeError(
            f"`{given}` is not of the form NAME=FILE",
            where=option,
            fix="For example: --text wikitext2=test.txt",
        )
    return name, value
