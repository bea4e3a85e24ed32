"""The page of one run, from what the run left in its directory and nothing else."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path

from valence.data import VERDICT, Measurement
from valence.recipe import Recipe, load_recipe
from valence.report.account import ledger, notes, stage_facts, steps
from valence.report.content import Budget, Curve, Report, Variant
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
from valence.report.seeds import by_seed, summarise
from valence.store import write_text

ALL_SHOWN = 9
"""Up to so many models all have their samples on the page."""


def write_page(run: Path) -> Path:
    """Write `report.html` into a run directory that has results; returns its path."""
    require_results(run, "Finish the run first: valence run RECIPE --out DIR.")
    path = run / "report.html"
    write_text(path, render(build_report(run)))
    return path


def build_report(run: Path) -> Report:
    """Everything the page says, read from the run directory."""
    recipe = load_recipe(run / "recipe.yaml")
    rows, gaps = parted(read_rows(run))
    folders = measure_folders(run, rows)
    first = recipe.measure.first
    modes = [token.strip("<|>") or token for token in recipe.control.tokens]
    return Report(
        title=f"Valence: {recipe.name}",
        lead=recipe.description,
        steps=tuple(steps(run, recipe)),
        conclusions=read_conclusions(run),
        notes=tuple(notes(recipe)),
        metrics=metric_infos((row.metric for row in rows), recipe.measure),
        measurements=rows,
        front=front_metrics(rows, recipe.measure),
        strips=read_strips(folders),
        strip_metric=first or VERDICT,
        samples=tuple(read_samples(folders)),
        curves=tuple(_curves(run, recipe)),
        ledger=tuple(ledger(run, recipe)),
        recipe=recipe.to_yaml(),
        variants=_variants(recipe),
        budgets=tuple(_budgets(run, recipe)),
        budget_modes=("none", modes[-1], modes[0]),
        shown=_shown(recipe, rows),
        series=read_lines(run),
        gaps=gaps,
        differences=read_rows(run, "differences.json"),
        standings=read_standings(run),
    )


def _variants(recipe: Recipe) -> dict[str, Variant]:
    """Where each model belongs, if a sweep made some of them."""
    entries = recipe.models
    keys = dict.fromkeys(key for entry in entries.values() for key in entry.axes)
    plain = [key for key in keys if key.partition(".")[0] in ("train", "model", "control")]
    return {
        name: Variant(
            base=entry.base_name or name,
            axes=entry.axes,
            shared={k: recipe.settings(name).value(k) for k in plain if k not in entry.axes},
        )
        for name, entry in entries.items()
        if keys
    }


def _shown(recipe: Recipe, rows: tuple[Measurement, ...]) -> tuple[str, ...]:
    """Of many models, the setting of each base that is best on the headline."""
    if len(recipe.models) <= ALL_SHOWN:
        return ()
    headline = recipe.measure.first
    if headline is None:
        return ()
    sign = 1 if recipe.measure.metrics[headline].scale < 0 else -1
    best: dict[str, tuple[float, str]] = {}
    for (model, _, metric), seeds in by_seed(rows).items():
        value = summarise(seeds).value
        if metric == headline and value is not None and model in recipe.models:
            base = recipe.models[model].base_name or model
            best[base] = min(best.get(base, (math.inf, model)), (sign * value, model))
    return tuple(model for _, model in best.values())


def _budgets(run: Path, recipe: Recipe) -> Iterator[Budget]:
    """Sizes in which the settings of some base differ."""
    models = stage_facts(run, recipe, "models")
    tokens = {name: float(recipe.settings(name).train.tokens) for name in recipe.models}
    sizes = {
        name: float(facts["parameters_without_embeddings"])
        for name in recipe.models
        if (facts := models.get(recipe.label(name, recipe.seed)))
    }
    for name, label, axes, amounts in (
        ("tokens", "text tokens in training", ("train.tokens",), tokens),
        ("parameters", "parameters without embeddings", ("model.",), sizes),
    ):
        kinds: dict[str, set[float]] = {}
        for model, amount in amounts.items():
            entry = recipe.models[model]
            if any(key.startswith(axes) for key in entry.axes):
                kinds.setdefault(entry.base_name or model, set()).add(amount)
        if any(len(found) > 1 for found in kinds.values()):
            yield Budget(name=name, label=label, axes=axes, amounts=amounts)


def _curves(run: Path, recipe: Recipe) -> Iterator[Curve]:
    path = run / "metrics.jsonl"
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError):  # A killed run may leave half a line.
            entries.append(json.loads(line))
    for model, seed in itertools.product(recipe.models, recipe.seeds):
        ours = [e for e in entries if (e["model"], e["seed"]) == (model, seed)]
        yield Curve(
            model=model,
            seed=seed,
            tokens=tuple(float(entry["text_tokens"]) for entry in ours),
            loss=tuple(float(entry["loss"]) for entry in ours),
        )
