"""The page of one run, from what the run left in its directory and nothing else."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from valence.data import Mark, Measurement
from valence.errors import MissingFileError, StoreError
from valence.recipe import Recipe, load_recipe
from valence.report.content import Curve, MarkedSample, MetricInfo, Report
from valence.report.page import render
from valence.store import read_json, write_text

ABILITY = "loss_per_text_token"

LABELS = {
    "local_violations_per_kchar": ("local violations / 1,000 chars", "each line alone"),
    "file_violations_per_kchar": ("file violations / 1,000 chars", "whole text, with context"),
    "broken_share": ("broken share", "could not be tokenised as Python; exact binomial interval"),
    "loss_per_text_token": ("loss / text token", "nats, held-out text; control tokens not counted"),
    "bits_per_byte": ("bits / byte", "held-out text"),
    "distinct_2": ("distinct-2", "share of distinct word pairs within a sample"),
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


def build_report(run: Path) -> Report:
    """Everything the page says, read from the run directory."""
    recipe = load_recipe(run / "recipe.yaml")
    try:
        rows = tuple(Measurement(**row) for row in read_json(run / "results.json"))
    except TypeError as error:
        raise StoreError(
            f"does not hold measurements ({error})",
            where=str(run / "results.json"),
            fix="Delete it and run the recipe again.",
        ) from None
    folders = _measure_folders(run, rows)
    return Report(
        title=f"Valence: {recipe.name}",
        lead=recipe.description,
        steps=tuple(_steps(run, recipe)),
        conclusions=tuple(read_json(run / "conclusions.json")),
        notes=tuple(_notes(recipe)),
        metrics=tuple(_metric_infos(recipe, rows)),
        measurements=rows,
        front=(ABILITY, recipe.measure.headline),
        strips=_strips(folders),
        strip_metric=recipe.measure.headline,
        samples=tuple(_samples(folders)),
        curves=tuple(_curves(run, recipe)),
        ledger=tuple(_ledger(run, recipe)),
        recipe=recipe.to_yaml(),
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
    lower: dict[str, bool | None] = {ABILITY: True, "bits_per_byte": True, "distinct_2": None}
    for name, metric in recipe.measure.metrics.items():
        lower[name] = metric.scale < 0
        if metric.failures_as is not None:
            lower[metric.failures_as] = True
    measured = {row.metric for row in rows}
    order = [*recipe.measure.metrics, *(m for m in lower if m not in recipe.measure.metrics)]
    for name in dict.fromkeys(order):
        if name in measured:
            label, note = LABELS.get(name, (name.replace("_", " "), ""))
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


def _facts(run: Path, name: str) -> dict[str, Any]:
    marker = run / "stages" / f"{name.replace('/', '.')}.json"
    facts: dict[str, Any] = read_json(marker)["facts"] if marker.is_file() else {}
    return facts


def _stage_facts(run: Path, recipe: Recipe, kind: str) -> dict[str, dict[str, Any]]:
    """Facts of the stages `kind/...` of all the recipe's models that are finished."""
    found = {label: _facts(run, f"{kind}/{label}") for label in recipe.labels}
    return {label: facts for label, facts in found.items() if facts}


def _reward_facts(run: Path, recipe: Recipe) -> dict[str, Any]:
    return _facts(run / "annotation", f"rewards/{recipe.score.folder}")


def _steps(run: Path, recipe: Recipe) -> Iterator[tuple[str, str]]:
    text = _facts(run / "annotation", "documents")
    rewards = _reward_facts(run, recipe)
    shares = read_json(run / "scheme.json")["shares"]
    yield "corpus", _corpus_sentence(text, recipe)
    yield (
        "reward",
        f"{rewards['scorer']['meaning']}. {rewards['failed_documents']} documents could not be"
        f" scored ({_kinds(rewards['failures'])}); they are left out, not given a number.",
    )
    listed = ", ".join(f"{mode} {share:.1%}" for mode, share in shares.items())
    yield "bands", f"Training {recipe.corpus.segmenter.kind}s by band: {listed}."
    yield "train", _train_sentence(run, recipe)
    plan = recipe.sample
    yield (
        "samples",
        f"{plan.count} per model and mode, from the end-of-text token, at most {plan.max_tokens}"
        f" text tokens, temperature {plan.temperature:g}, top-p {plan.top_p:g}. `good` and `bad`"
        " put that band's token at each segment start, `banned` only forbids control tokens;"
        " none of them is ever part of the text.",
    )
    yield (
        "measures",
        f"Fixed before looking, on samples and on {recipe.measure.loss_chars:,} held-out"
        " characters. The held-out text keeps its own good and bad segments, so the loss in"
        " good mode pays for the bad ones; `labelled` gives every segment its true token.",
    )


def _corpus_sentence(text: dict[str, Any], recipe: Recipe) -> str:
    source = (
        "Python's own standard library"
        if recipe.corpus.reader == "stdlib"
        else ", ".join(recipe.corpus.paths)
    )
    said = (
        f"{source}: {text['documents']} documents, {text['chars']:,} characters,"
        f" {text['segments']:,} segments; {text['held_out']} documents held out by a hash of"
        f" their name. Not read: {_kinds(text['failures'])}."
    )
    if recipe.corpus.unformat is not None:
        shares = ", ".join(f"{share:.0%}" for share in recipe.corpus.unformat.shares)
        said += (
            " The text is real, the mess is ours: a seeded unformatter first worsened the style"
            f" of {shares} of the lines of each file, without changing what the program does."
        )
    return said


def _train_sentence(run: Path, recipe: Recipe) -> str:
    models = _stage_facts(run, recipe, "models")
    packs = _stage_facts(run, recipe, "packs")
    one, pack = next(iter(models.values())), next(iter(packs.values()))
    return (
        f"{len(models)} models of class {recipe.model.model_type},"
        f" {one['parameters_without_embeddings']:,} parameters without embeddings"
        f" ({one['parameters']:,} with), each on the same {pack['text_tokens']:,} text tokens"
        f" ({pack['epochs']:.2f} epochs), sequences of {recipe.train.block},"
        f" {one['steps']} steps, optimiser {recipe.train.optimizer}."
    )


def _notes(recipe: Recipe) -> Iterator[str]:
    yield "Intervals are 95%: bootstrap over samples or documents, exact binomial for shares."
    if len(recipe.seeds) == 1:
        yield "One training seed: the intervals hold no variance between trainings."
    yield (
        "The placebo saw as many control tokens as the conditional model, on shuffled labels."
        " What it gains is owed to the markers, not to feedback."
    )
    yield (
        "The training loss of a model with control tokens is an average over those too, so its"
        " curve lies lower; compare the held-out loss."
    )
    yield "A sample that a scorer could not score is a failure, counted beside the number."


def _ledger(run: Path, recipe: Recipe) -> Iterator[tuple[str, str]]:
    rewards, text = _reward_facts(run, recipe), _facts(run / "annotation", "documents")
    models, packs = _stage_facts(run, recipe, "models"), _stage_facts(run, recipe, "packs")
    flops = sum(facts["flops"] for facts in models.values())
    seconds = sum(facts["train_seconds"] for facts in models.values())
    rate = flops / seconds if seconds else 0.0
    yield "reward calls (one a document)", f"{rewards['calls']:,}"
    yield "segments with a reward", f"{rewards['scored_segments']:,} of {rewards['segments']:,}"
    yield "reward, processor seconds", f"{rewards['core_seconds']:.1f}"
    yield (
        "reward, speed per core",
        f"{text['bytes'] / 1e6 / max(rewards['core_seconds'], 1e-9):.2f} MB/s",
    )
    yield "training FLOPs, all models (estimate)", f"{flops:.3g}"
    yield "training seconds, all models", f"{seconds:.0f}"
    threads = max((facts["threads"] for facts in models.values()), default=1)
    cost = rewards["core_seconds"] / threads * rate
    yield (
        "reward's share of training FLOPs",
        f"{cost / flops:.2%} of all models', {cost / flops * len(models):.2%} of one model's"
        " (its seconds on all cores, at the rate that training reached)"
        if flops
        else "not measured",
    )
    for name, pack in packs.items():
        extra = pack["control_tokens"] / pack["text_tokens"]
        yield f"extra tokens, {name}", f"{pack['control_tokens']:,} control tokens, {extra:.1%}"
    straddling = next(iter(packs.values()))["straddling_tokens"]
    yield "text tokens that reach over a segment's start", f"{straddling:,}"
    for name, facts in models.items():
        yield (
            f"training, {name}",
            f"{facts['train_seconds']:.0f} s, {facts['tokens_per_second']:,.0f} tokens/s,"
            f" first step after {facts['first_step_seconds']:.1f} s",
        )
    precision = _facts(run, "precision")
    if precision:
        both = precision["step_seconds"]
        yield (
            "precision",
            f"{precision['chosen']} (a step took {both['fp32']:.2f} s in fp32 and"
            f" {both['bf16']:.2f} s in bf16)",
        )
    yield "text digest", text["digest"][:16]
    yield "reward digest", rewards["digest"][:16]


def _kinds(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind}: {count}" for kind, count in counts.items()) or "none"
