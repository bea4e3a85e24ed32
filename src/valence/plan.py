"""What a recipe would do, and about what it would cost, without doing it: `--dry-run`."""

from __future__ import annotations

import math
import time

import torch

from valence.annotate.judge import score_document
from valence.corpus.readers import plan_pieces, read_corpus
from valence.corpus.segment import build_segmenter
from valence.data import Document, tile
from valence.model import create_model, parameter_counts
from valence.objective import build_objective
from valence.precision import choose_precision, measure_precision
from valence.recipe import Recipe
from valence.score.protocol import Scorer
from valence.score.table import build_scorer
from valence.train import training_flops

TIMED_CHARS = 200_000
"""Characters that are scored to estimate the speed of the reward."""

COUNTED_BYTES = 100_000_000
"""A corpus larger than this on disk is not read only to count its characters."""

TIMED_PARAMETERS = 50_000_000
"""Above this size a step is not timed: the plan must stay quick."""


def plan(recipe: Recipe) -> list[tuple[str, str]]:
    """Sizes and an estimate of cost as (label, value); raises what `run` would raise early.

    Reads the corpus, times the scorer on a little of it and one training step of a small
    model; says so where it did not. Writes nothing.
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
    chars, seconds_of_reward = _reward_cost(recipe, scorer)
    rows = [
        ("corpus", f"{chars:,} characters"),
        ("reward", f"{scorer.id}: {scorer.meaning}"),
        ("reward time", f"about {seconds_of_reward:.0f} s with {recipe.score.workers} processes"),
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


def _reward_cost(recipe: Recipe, scorer: Scorer) -> tuple[int, float]:
    """Characters of the corpus, and an estimate of the seconds that scoring them takes.

    A corpus above `COUNTED_BYTES`, or of which only a part is taken, is not read to its end:
    its size on disk stands for it.
    """
    segmenter = build_segmenter(recipe.corpus.segmenter)
    on_disk = sum(piece.size for piece in plan_pieces(recipe.corpus))
    limit = recipe.corpus.max_chars or math.inf
    chars = timed = 0
    seconds = 0.0
    for document in read_corpus(recipe.corpus, recipe.seed):
        if not isinstance(document, Document):
            continue
        if timed < TIMED_CHARS:
            started = time.perf_counter()
            score_document(scorer, document, tile(segmenter(document.text)))
            seconds += time.perf_counter() - started
            timed += len(document.text)
        elif on_disk > min(COUNTED_BYTES, limit):
            chars = on_disk
            break
        chars += len(document.text)
        if chars >= limit:
            break
    chars = int(min(chars, limit))
    return chars, seconds / max(timed, 1) * chars / recipe.score.workers
