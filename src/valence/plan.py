"""What a recipe would do, and about what it would cost, without doing it: `--dry-run`."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from valence.annotate import Annotation
from valence.annotate.judge import score_document
from valence.corpus.readers import plan_pieces, read_corpus
from valence.corpus.segment import build_segmenter
from valence.data import Document, tile
from valence.model import create_model, parameter_counts
from valence.model.existing import base_shape
from valence.precision import choose_precision, measure_precision
from valence.recipe import Recipe
from valence.score.protocol import Scorer
from valence.score.table import build_scorer
from valence.stages.early import check_early
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
    check_early(recipe)
    sizes = {name: _Size.of(recipe, name) for name in recipe.models}
    trainings = len(recipe.models) * len(recipe.seeds)
    tokens = sorted({recipe.settings(name).train.tokens for name in recipe.models})
    total = sorted({size.total for size in sizes.values()})
    inner = sorted({size.inner for size in sizes.values()})
    flops = sum(size.flops for size in sizes.values()) * len(recipe.seeds)
    rows = [
        *_reward_rows(recipe),
        ("models", f"{trainings} ({', '.join(recipe.models)}; seeds {list(recipe.seeds)})"),
        ("parameters", f"{_listed(total)} ({_listed(inner)} without embeddings)"),
        ("text tokens per model", _listed(tokens)),
        ("steps", f"at least {sum(size.steps for size in sizes.values()) * len(recipe.seeds):,}"),
        ("training FLOPs, all models", f"{flops:.3g}, control tokens not counted"),
        ("samples", f"{recipe.sample.count if recipe.sample else 0} per model and mode"),
    ]
    if max(total) > TIMED_PARAMETERS:
        return [*rows, ("training time", "not timed: the model is too large for a quick look")]
    seconds = measure_precision(
        _shape(recipe, next(iter(recipe.models))),
        batch=recipe.train.batch,
        block=recipe.train.block,
    )
    precision = choose_precision(seconds)
    # A step of the first model was timed; the others take as long for as many operations.
    first = next(iter(sizes.values()))
    minutes = seconds[precision] * first.steps / first.flops * flops / 60
    return [
        *rows,
        ("precision", f"{precision}, measured now" if recipe.train.precision == "auto"
         else recipe.train.precision),
        ("training time, all models", f"about {minutes:.1f} minutes on this machine"),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """How large one model and its training are."""

    total: int
    inner: int
    steps: int
    flops: float

    @classmethod
    def of(cls, recipe: Recipe, name: str) -> _Size:
        """Counted on a model without memory."""
        with torch.device("meta"):
            shape = _shape(recipe, name)
        train = recipe.settings(name).train
        total, inner = parameter_counts(shape)
        return cls(
            total=total,
            inner=inner,
            steps=math.ceil(train.tokens / (train.block * train.batch)),
            flops=training_flops(shape, train.tokens, train.block),
        )


def _shape(recipe: Recipe, name: str) -> PreTrainedModel:
    """A model as large as the one that is trained; its weights do not matter."""
    model = recipe.settings(name).model
    if model.base is not None:
        return base_shape(model)
    vocabulary = recipe.tokenizer.vocab_size + len(recipe.control.tokens)
    return create_model(model, vocabulary, 0, recipe.seed)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)


def _reward_rows(recipe: Recipe) -> list[tuple[str, str]]:
    if recipe.annotation is not None:
        Annotation(Path(recipe.annotation))
        return [("annotation", f"{recipe.annotation}, made before")]
    scorer = build_scorer(recipe.score.scorer)
    chars, seconds = _reward_cost(recipe, scorer)
    return [
        ("corpus", f"{chars:,} characters"),
        ("reward", f"{scorer.id}: {scorer.meaning}"),
        ("reward time", f"about {seconds:.0f} s with {recipe.score.workers} processes"),
    ]


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
