"""What a recipe would do, and about what it would cost, without doing it: `--dry-run`."""

from __future__ import annotations

import math

import torch

from valence.model import create_model, parameter_counts
from valence.objective import build_objective
from valence.precision import choose_precision, measure_precision
from valence.recipe import Recipe
from valence.score.table import build_scorer
from valence.train import training_flops

TIMED_PARAMETERS = 50_000_000
"""Above this size a step is not timed: the plan must stay quick."""


def plan(recipe: Recipe) -> list[tuple[str, str]]:
    """Sizes and an estimate of cost as (label, value); raises what `run` would raise early.

    Times one training step of a small model; says so where it did not.
    """
    scorer = build_scorer(recipe.score.scorer)
    for metric in recipe.measure.metrics.values():
        build_scorer(metric.scorer)
    for entry in recipe.models.values():
        build_objective(entry.objective)
    vocabulary = recipe.tokenizer.vocab_size + len(recipe.control.tokens)
    with torch.device("meta"):
        shape = create_model(recipe.model, vocabulary, 0, recipe.seed)
    total, inner = parameter_counts(shape)
    trainings = len(recipe.models) * len(recipe.seeds)
    tokens = recipe.train.tokens
    steps = math.ceil(tokens / (recipe.train.block * recipe.train.batch))
    flops = training_flops(shape, tokens, recipe.train.block)
    rows = [
        ("reward", f"{scorer.id}: {scorer.meaning}"),
        ("models", f"{trainings} ({', '.join(recipe.models)}; seeds {list(recipe.seeds)})"),
        ("parameters", f"{total:,} ({inner:,} without embeddings)"),
        ("text tokens per model", f"{tokens:,} (at least {steps:,} steps)"),
        ("training FLOPs, all models", f"{flops * trainings:.3g}, control tokens not counted"),
        ("samples", f"{recipe.sample.count} per model and mode"),
    ]
    if total > TIMED_PARAMETERS:
        return [*rows, ("training time", "not timed: the model is too large for a quick look")]
    seconds = measure_precision(
        create_model(recipe.model, vocabulary, 0, 0),
        batch=recipe.train.batch,
        block=recipe.train.block,
    )
    precision = choose_precision(seconds)
    minutes = seconds[precision] * steps * trainings / 60
    return [
        *rows,
        ("precision", f"{precision}, measured now" if recipe.train.precision == "auto"
         else recipe.train.precision),
        ("training time, all models", f"about {minutes:.1f} minutes on this machine"),
    ]  # fmt: skip
