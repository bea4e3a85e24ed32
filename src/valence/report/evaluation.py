"""The page of an evaluation: measures of models that were made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from valence.data import LOSS, VERDICT, Measurement
from valence.errors import StoreError
from valence.recipe import EvaluationRecipe, load_any
from valence.report.account import facts_of
from valence.report.asked import reading_notes, samples_sentence, scenario_steps
from valence.report.content import Report
from valence.report.front import front_metrics
from valence.report.metrics import metric_infos
from valence.report.page import render
from valence.report.reading import (
    measure_folders,
    parted,
    read_conclusions,
    read_lines,
    read_rows,
    read_samples,
    read_standings,
    read_strips,
    require_results,
)
from valence.store import write_text


def write_evaluation_page(path: Path) -> Path:
    """Write `report.html` into the directory of an evaluation that has results; returns its path.

    Raises `MissingFileError`, `RecipeError` and `StoreError`.
    """
    require_results(path, "Finish the evaluation first: valence measure MODEL --out DIR.")
    page = path / "report.html"
    write_text(page, render(build_evaluation_report(path)))
    return page


def build_evaluation_report(path: Path) -> Report:
    """Everything the page says, read from the directory."""
    recipe = _recipe(path)
    rows, gaps = parted(read_rows(path))
    folders = measure_folders(path, rows)
    first = recipe.measure.first
    return Report(
        title=f"Valence: {recipe.name}",
        lead=recipe.description,
        steps=tuple(_steps(recipe)),
        conclusions=read_conclusions(path),
        notes=tuple(_notes(recipe)),
        metrics=metric_infos((row.metric for row in rows), recipe.measure),
        measurements=rows,
        # Models that were made elsewhere may have different tokens: bytes are the same.
        front=front_metrics(rows, recipe.measure, ("bits_per_byte", LOSS)),
        strips=read_strips(folders),
        strip_metric=first or VERDICT,
        samples=tuple(read_samples(folders)),
        curves=(),
        ledger=tuple(_ledger(path, rows)),
        recipe=recipe.to_yaml(),
        series=read_lines(path),
        gaps=gaps,
        differences=read_rows(path, "differences.json"),
        standings=read_standings(path),
        trained=False,
    )


def _recipe(path: Path) -> EvaluationRecipe:
    recipe = load_any(path / "evaluation.yaml")
    if not isinstance(recipe, EvaluationRecipe):
        raise StoreError(
            "does not hold an evaluation",
            where=str(path / "evaluation.yaml"),
            fix="Measure again: valence measure MODEL --out DIR --overwrite.",
        )
    return recipe


def _steps(recipe: EvaluationRecipe) -> Iterator[tuple[str, str]]:
    for name, paths in recipe.models.items():
        yield f"model {name}", ", ".join((paths,) if isinstance(paths, str) else paths)
    if recipe.measure.labelled is not None:
        labelled = recipe.measure.labelled
        yield (
            "labelled text",
            f"{labelled.annotation}, at most {recipe.measure.loss_chars:,} held-out characters.",
        )
    if recipe.sample is not None:
        yield "samples", samples_sentence(recipe.sample)
    yield from scenario_steps(recipe.measure)


def _notes(recipe: EvaluationRecipe) -> Iterator[str]:
    yield from reading_notes(recipe.measure)
    seeds = max((len(p) for p in recipe.models.values() if not isinstance(p, str)), default=1)
    if seeds > 1:
        yield (
            f"Up to {seeds} trainings of a model: intervals of means are over them (Student's t);"
            " the variance over samples is part of that between them."
        )
    else:
        yield "One training of each model: the intervals hold no variance between trainings."
    if recipe.measure.labelled is not None:
        yield (
            "Labelled text that a model was trained on flatters it: nothing here knows what a"
            " model has seen."
        )


def _ledger(path: Path, rows: tuple[Measurement, ...]) -> Iterator[tuple[str, str]]:
    """What was made, as (label, value)."""
    yield "checkpoints", f"{len({(row.model, row.seed) for row in rows}):,}"
    marks = sorted((path / "stages").glob("samples.*.json"))
    facts = [facts_of(path, mark.name.removesuffix(".json")) for mark in marks]
    if facts:
        yield "samples", f"{sum(one.get('samples', 0) for one in facts):,}"
        yield "text tokens in them", f"{sum(one.get('tokens', 0) for one in facts):,}"
    stages = sorted((path / "stages").glob("*.json"))
    seconds = sum(
        facts_of(path, one.name.removesuffix(".json")).get("seconds", 0) for one in stages
    )
    if seconds:
        yield "seconds, all measures", f"{seconds:,.0f}"
