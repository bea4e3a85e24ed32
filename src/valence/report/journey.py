"""The page of one run, from what the run left in its directory and nothing else."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path

from valence.data import LOSS, VERDICT, Conclusions, Mark, Measurement
from valence.errors import MissingFileError, StoreError
from valence.recipe import Recipe, load_recipe
from valence.report.account import ledger, notes, stage_facts, steps
from valence.report.content import Budget, Curve, MarkedSample, MetricInfo, Report, Variant
from valence.report.page import render
from valence.report.seeds import by_seed, summarise
from valence.store import read_json, write_text

ALL_SHOWN = 9
"""Up to so many models all have their samples on the page."""

LABELS = {
    "local_violations_per_kchar": ("local violations / 1,000 chars", "each line alone"),
    "file_violations_per_kchar": ("file violations / 1,000 chars", "whole text, with context"),
    "broken_share": ("broken share", "could not be tokenised as Python; exact binomial interval"),
    LOSS: ("loss / text token", "nats, held-out text; control tokens not counted"),
    "bits_per_byte": ("bits / byte", "held-out text"),
    "distinct_2": ("distinct-2", "share of distinct word pairs within a sample"),
    VERDICT: ("AUROC of the verdict", "after held-out segments; 0.5 is chance, 1 is always right"),
}


def write_page(run: Path) -> Path:
    """Write `report.html` into a run directory that has results; returns its path."""
    if not (run / "results.json").is_file():
        raise MissingFileError(
            "the directory has no results.json, so there is nothing to report yet",
            where=str(run),
            fix="Finish the run first: valence run RECIPE --out DIR.",
        )
    path = run / "report.html"
    write_text(path, render(build_report(run)))
    return path


def _results(run: Path) -> tuple[Measurement, ...]:
    path = run / "results.json"
    try:
        return tuple(Measurement(**row) for row in read_json(path))
    except TypeError as error:
        raise _unreadable(path, "measurements", error) from None


def _conclusions(run: Path) -> Conclusions:
    path = run / "conclusions.json"
    try:
        found = read_json(path)
        return Conclusions(pairs=tuple(found["pairs"]), overall=tuple(found["overall"]))
    except (TypeError, KeyError) as error:
        raise _unreadable(path, "conclusions", error) from None


def _unreadable(path: Path, what: str, error: Exception) -> StoreError:
    return StoreError(
        f"does not hold {what} ({error})",
        where=str(path),
        fix="Delete it and run the recipe again with --resume.",
    )


def build_report(run: Path) -> Report:
    """Everything the page says, read from the run directory."""
    recipe = load_recipe(run / "recipe.yaml")
    rows, conclusions = _results(run), _conclusions(run)
    folders = _measure_folders(run, rows)
    modes = [token.strip("<|>") or token for token in recipe.control.tokens]
    return Report(
        title=f"Valence: {recipe.name}",
        lead=recipe.description,
        steps=tuple(steps(run, recipe)),
        conclusions=conclusions,
        notes=tuple(notes(recipe)),
        metrics=tuple(_metric_infos(recipe, rows)),
        measurements=rows,
        front=(LOSS, recipe.measure.headline),
        strips=_strips(folders),
        strip_metric=recipe.measure.headline,
        samples=tuple(_samples(folders)),
        curves=tuple(_curves(run, recipe)),
        ledger=tuple(ledger(run, recipe)),
        recipe=recipe.to_yaml(),
        variants=_variants(recipe),
        budgets=tuple(_budgets(run, recipe)),
        budget_modes=("none", modes[-1], modes[0]),
        shown=_shown(recipe, rows),
    )


def _measure_folders(run: Path, rows: tuple[Measurement, ...]) -> list[Path]:
    """The folders of measures in the order of the results: that of the recipe."""
    order = list(dict.fromkeys((row.model, row.mode, row.seed) for row in rows))

    found = {}
    for folder in (run / "measures").iterdir():
        path = folder / "measurements.json"
        if path.is_file():
            first = read_json(path)[0]
            found[first["model"], first["mode"], first["seed"]] = folder
    # What an earlier recipe left in the directory is not part of these results.
    return [found[key] for key in order if key in found]


def _metric_infos(recipe: Recipe, rows: tuple[Measurement, ...]) -> Iterator[MetricInfo]:
    lower: dict[str, bool | None] = {
        LOSS: True, "bits_per_byte": True, "distinct_2": None, VERDICT: False,
    }  # fmt: skip
    for name, metric in recipe.measure.metrics.items():
        lower[name] = metric.scale < 0
        if metric.failures_as is not None:
            lower[metric.failures_as] = True
    measured = {row.metric for row in rows}
    order = [*recipe.measure.metrics, *(m for m in lower if m not in recipe.measure.metrics)]
    for name in dict.fromkeys(order):
        if name in measured:
            plain = name.replace("_per_kchar", " / 1,000 chars").replace("_", " ")
            label, note = LABELS.get(name, (plain, ""))
            yield MetricInfo(name=name, label=label, lower_is_better=lower[name], note=note)


def _strips(folders: list[Path]) -> dict[tuple[str, str], tuple[float, ...]]:
    found: dict[tuple[str, str], tuple[float, ...]] = {}
    for folder in folders:
        if (folder / "strip.json").is_file():
            first = read_json(folder / "measurements.json")[0]
            key = (first["model"], first["mode"])
            found[key] = (*found.get(key, ()), *read_json(folder / "strip.json"))
    return found


def _samples(folders: list[Path]) -> Iterator[MarkedSample]:
    seen: set[tuple[str, str]] = set()
    for folder in folders:
        shown = read_json(folder / "shown.json") if (folder / "shown.json").is_file() else []
        if not shown or (shown[0]["model"], shown[0]["mode"]) in seen:
            continue  # One seed's samples are enough to read.
        seen.add((shown[0]["model"], shown[0]["mode"]))
        for sample in shown:
            yield MarkedSample(
                model=sample["model"],
                mode=sample["mode"],
                index=sample["index"],
                text=sample["text"],
                ended=sample["ended"],
                marks=tuple(Mark(**mark) for mark in sample["marks"]),
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
    headline = recipe.measure.headline
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
