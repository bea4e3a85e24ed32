"""What a run did and what it cost, in words, from the markers that its stages left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from valence.recipe import Recipe
from valence.report.asked import reading_notes, samples_sentence, scenario_steps
from valence.store import read_json

Facts = dict[str, Any]

_LISTED = 12
"""Up to so many trainings have a line each in the ledger; more are put together."""


def facts_of(run: Path, name: str) -> Facts:
    """What a finished stage recorded; nothing where it is not there."""
    marker = run / "stages" / f"{name.replace('/', '.')}.json"
    facts: Facts = read_json(marker)["facts"] if marker.is_file() else {}
    return facts


def stage_facts(run: Path, recipe: Recipe, kind: str) -> dict[str, Facts]:
    """Facts of the stages `kind/...` of all the recipe's models that are finished, by label."""
    found = {label: facts_of(run, f"{kind}/{label}") for label in recipe.labels}
    return {label: facts for label, facts in found.items() if facts}


def _trainings(run: Path, recipe: Recipe) -> dict[str, Facts]:
    """Facts of the models that were trained; one that was kept as it was has none of these."""
    found = stage_facts(run, recipe, "models")
    return {label: facts for label, facts in found.items() if "train_seconds" in facts}


def steps(run: Path, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The stages of the run, each with a sentence or two."""
    text, rewards = _annotation_facts(run, recipe)
    yield "corpus", _corpus_sentence(text, recipe)
    if rewards:
        yield (
            "reward",
            f"{rewards['scorer']['meaning']}. {rewards['failed_documents']} documents could not"
            f" be scored ({_kinds(rewards['failures'])}); they are left out, not given a number.",
        )
    if (run / "scheme.json").is_file():
        shares = read_json(run / "scheme.json")["shares"]
        listed = ", ".join(f"{mode} {share:.1%}" for mode, share in shares.items())
        unit = "Training segments" if recipe.annotation else f"Training {_segments(recipe)}"
        yield "bands", f"{unit} by band: {listed}."
    yield "train", _train_sentence(run, recipe)
    selection = list(_selections(run, recipe))
    if selection:
        yield "selection", " ".join(selection)
    plan = recipe.sample
    if plan is not None:
        yield "samples", samples_sentence(plan)
    yield from scenario_steps(recipe.measure)
    yield (
        "measures",
        f"Fixed before looking, on samples and on {recipe.measure.loss_chars:,} held-out"
        " characters. The held-out text keeps its own good and bad segments, so the loss in"
        " good mode pays for the bad ones; `labelled` gives every segment its true token.",
    )


def notes(recipe: Recipe) -> Iterator[str]:
    """What a reader has to know to read the numbers."""
    yield from reading_notes(recipe.measure)
    if len(recipe.seeds) == 1:
        yield "One training seed: the intervals hold no variance between trainings."
    else:
        yield (
            f"{len(recipe.seeds)} training seeds: intervals of means are over seeds (Student's t,"
            f" {len(recipe.seeds) - 1} degrees of freedom), conclusions rest on differences between"
            " models of the same seed. The variance over samples is part of that between seeds."
        )
    if len(recipe.models) > 4:
        yield (
            "Many models are compared, and a best one is chosen after looking: with 95% intervals"
            " one difference in twenty that is none is shown as one."
        )
    if any(entry.objective_name == "placebo" for entry in recipe.models.values()):
        yield (
            "The placebo saw as many control tokens as the conditional model, on shuffled labels."
            " What it gains is owed to the markers, not to feedback."
        )
    yield (
        "The training loss of a model with control tokens is an average over those too, and that"
        " of other objectives is weighed, so their curves lie elsewhere; compare the held-out loss."
    )


def ledger(run: Path, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What the run cost, as (label, value)."""
    text, rewards = _annotation_facts(run, recipe)
    models, packs = _trainings(run, recipe), stage_facts(run, recipe, "packs")
    flops = sum(facts["flops"] for facts in models.values())
    seconds = sum(facts["train_seconds"] for facts in models.values())
    if rewards:
        yield from _reward_lines(text, rewards)
    yield "training FLOPs, all models (estimate)", f"{flops:.3g}"
    yield "training seconds, all models", f"{seconds:.0f}"
    if rewards:
        threads = max((facts.get("threads", 1) for facts in models.values()), default=1)
        cost = rewards["core_seconds"] / threads * (flops / seconds if seconds else 0.0)
        yield (
            "reward's share of training FLOPs",
            f"{cost / flops:.2%} of all models', {cost / flops * len(models):.2%} of one model's"
            " (its seconds on all cores, at the rate that training reached)"
            if flops
            else "not measured",
        )
    for name, group in _grouped(recipe, packs).items():
        extra = sum(pack["control_tokens"] for pack in group)
        share = extra / max(sum(pack["text_tokens"] for pack in group), 1)
        forks = sum(pack.get("fork_tokens", 0) for pack in group)
        left_out = sum(pack.get("forks_left_out", 0) for pack in group)
        beside = f" and {forks:,} verdicts ({left_out:,} left out: no room)" if forks else ""
        yield f"extra tokens, {name}", f"{extra:,} control tokens, {share:.1%}{beside}"
    for pack in list(packs.values())[:1]:
        yield "text tokens that reach over a segment's start", f"{pack['straddling_tokens']:,}"
        if "segments_longer_than_a_row" in pack:
            yield (
                "longer than a row",
                f"{pack['documents_longer_than_a_row']:,} documents,"
                f" {pack['segments_longer_than_a_row']:,} segments",
            )
    for name, group in _grouped(recipe, models).items():
        rate = median(facts["tokens_per_second"] for facts in group)
        first = max(facts["first_step_seconds"] for facts in group)
        yield (
            f"training, {name}",
            f"{sum(facts['train_seconds'] for facts in group):.0f} s, {rate:,.0f} tokens/s,"
            f" first step after {first:.1f} s",
        )
    both = facts_of(run, "precision").get("step_seconds", {})
    if {"fp32", "bf16"} <= both.keys():
        yield (
            "precision",
            f"{facts_of(run, 'precision')['chosen']} (a step took {both['fp32']:.2f} s in fp32"
            f" and {both['bf16']:.2f} s in bf16)",
        )
    if rewards:
        yield "text digest", text["digest"][:16]
        yield "reward digest", rewards["digest"][:16]


def _annotation_facts(run: Path, recipe: Recipe) -> tuple[Facts, Facts]:
    """What is recorded of text and rewards; empty where the annotation is not here any more."""
    if recipe.annotation is None:
        folder, name = run / "annotation", recipe.score.folder
    else:
        folder = Path(recipe.annotation)
        found = sorted((folder / "stages").glob("rewards.*.json"))
        only = found[0].name.removeprefix("rewards.").removesuffix(".json") if found else ""
        name = recipe.rewards or only
    return facts_of(folder, "documents"), facts_of(folder, f"rewards/{name}")


def _reward_lines(text: Facts, rewards: Facts) -> Iterator[tuple[str, str]]:
    yield "reward calls (one a document)", f"{rewards['calls']:,}"
    yield "segments with a reward", f"{rewards['scored_segments']:,} of {rewards['segments']:,}"
    yield "reward, processor seconds", f"{rewards['core_seconds']:.1f}"
    speed = text["bytes"] / 1e6 / max(rewards["core_seconds"], 1e-9)
    yield "reward, speed per core", f"{speed:.2f} MB/s"


def _corpus_sentence(text: Facts, recipe: Recipe) -> str:
    if recipe.annotation is not None:
        source = f"The annotation {recipe.annotation}, made before"
    elif recipe.corpus.reader == "stdlib":
        source = "Python's own standard library"
    elif recipe.corpus.reader == "world":
        source = "A generated world of facts"
    else:
        source = ", ".join(recipe.corpus.paths)
    if not text:
        return f"{source}; what it holds is not recorded here."
    said = (
        f"{source}: {text['documents']} documents, {text['chars']:,} characters,"
        f" {text['segments']:,} segments; {text['held_out']} documents held out by a hash of"
        f" their name. Not read: {_kinds(text['failures'])}."
    )
    if recipe.annotation is None and recipe.corpus.unformat is not None:
        shares = ", ".join(f"{share:.0%}" for share in recipe.corpus.unformat.shares)
        said += (
            " The text is real, the mess is ours: a seeded unformatter first worsened the style"
            f" of {shares} of the lines of each file, without changing what the program does."
        )
    return said


def _segments(recipe: Recipe) -> str:
    return f"{recipe.corpus.segmenter.kind}s"


def _train_sentence(run: Path, recipe: Recipe) -> str:
    models = list(_trainings(run, recipe).values())
    packs = list(stage_facts(run, recipe, "packs").values())
    if not models or not packs:
        return "No training is recorded here."
    settings = [recipe.settings(name) for name in recipe.models]
    bases = {each.model.base or f"class {each.model.model_type}" for each in settings}
    same = "each on the same" if len({pack["text_tokens"] for pack in packs}) == 1 else "each on"
    whole = [pack for pack in packs if pack.get("selected_share", 1) == 1] or packs
    return (
        f"{len(models)} models of {', '.join(sorted(bases))},"
        f" {_span([one['parameters_without_embeddings'] for one in models])} parameters without"
        f" embeddings ({_span([one['parameters'] for one in models])} with), {same}"
        f" {_span([pack['text_tokens'] for pack in packs])} text tokens"
        f" ({_span([pack['epochs'] for pack in whole], ',.2f')} epochs), sequences of"
        f" {_span([each.train.block for each in settings])},"
        f" {_span([one['steps'] for one in models])} steps, optimiser"
        f" {', '.join(sorted({each.train.optimizer for each in settings}))}."
    )


def _selections(run: Path, recipe: Recipe) -> Iterator[str]:
    """Models that saw only a part of the text, and therefore saw it more often."""
    packs = stage_facts(run, recipe, "packs")
    for name in recipe.models:
        group = [
            packs[label]
            for label in (recipe.label(name, seed) for seed in recipe.seeds)
            if label in packs and packs[label].get("selected_share", 1) < 1
        ]
        if group:
            share = median(pack["selected_share"] for pack in group)
            epochs = median(pack["epochs"] for pack in group)
            yield (
                f"{name} was trained on {share:.1%} of the text, {epochs:.2f} times over"
                f" ({group[0]['text_tokens']:,} text tokens in all)."
            )


def _grouped(recipe: Recipe, facts: Mapping[str, Facts]) -> dict[str, list[Facts]]:
    """Facts of each training, or where they are many, of those with the same base together."""
    if len(facts) <= _LISTED:
        return {label: [one] for label, one in facts.items()}
    found: dict[str, list[Facts]] = {}
    for name, entry in recipe.models.items():
        labels = [recipe.label(name, seed) for seed in recipe.seeds]
        group = [facts[label] for label in labels if label in facts]
        found.setdefault(entry.base_name or name, []).extend(group)
    return {f"{base} ({len(group)})": group for base, group in found.items() if group}


def _span(values: list[Any], how: str = ",") -> str:
    low, high = f"{min(values):{how}}", f"{max(values):{how}}"
    return low if low == high else f"{low} to {high}"


def _kinds(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind}: {count}" for kind, count in counts.items()) or "none"
