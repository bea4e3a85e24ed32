"""MFU of real trainings on an accelerator: 124M and 350M parameters, with and without compile.

    python benchmarks/gpu_train.py [--quick] [--json FILE] [--rounds N]

Trains GPT-2-shaped Qwen3 models through `valence.train.train` in bf16 on random tokens and
puts the achieved FLOP/s beside the best matrix product measured in the same run. Without an
accelerator it trains tiny models, only to show that it runs: those figures mean nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import timing
import torch
from timing import Row
from training.packs import random_store
from training.sides import Task, Trace, fresh_model, train_valence

from valence.model import best_device
from valence.recipe import ModelRecipe, load_recipe
from valence.train import training_flops

VOCABULARY = 50_257
SHAPES = {
    "124M": {"hidden_size": 768, "num_hidden_layers": 12, "heads": 12, "intermediate_size": 2048},
    "350M": {"hidden_size": 1024, "num_hidden_layers": 24, "heads": 16, "intermediate_size": 2816},
}
TINY = {"tiny": {"hidden_size": 64, "num_hidden_layers": 2, "heads": 2, "intermediate_size": 128}}
BLOCK, BATCH, STEPS = 1024, 32, 30
OBJECTIVES = ("mle", "conditional", "awr")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the rows."""
    options = timing.argument_parser(__doc__).parse_args(arguments)
    device = best_device().type
    real = device != "cpu"
    shapes = SHAPES if real else TINY
    rounds = options.rounds or (1 if options.quick or not real else 2)
    ceilings = timing.matmul_rates(device)
    kind, ceiling = max(ceilings.items(), key=lambda item: item[1])
    rows = [Row(name=f"matrix product, {k}", value=r / 1e9, unit="GFLOP/s")
            for k, r in ceilings.items()]  # fmt: skip
    for name, shape in shapes.items():
        for compiled in (False, True) if real else (False,):
            with tempfile.TemporaryDirectory() as folder:
                task = new_task(Path(folder) / "store", shape, compiled, real, options.quick)
                rows += speed_rows(name, task, compiled, rounds, (kind, ceiling))
    where = f"{device}, torch {torch.__version__}, bf16, block {BLOCK}, batch {BATCH}"
    timing.publish(where if real else f"{where}; no accelerator: not a measurement", rows,
                   options.json)  # fmt: skip


def new_task(folder: Path, shape: dict[str, int], compiled: bool, real: bool, quick: bool) -> Task:
    """A training of one shape; tiny where there is no accelerator."""
    block, batch = (BLOCK, BATCH) if real else (64, 4)
    steps = STEPS if real and not quick else 4
    sizes: dict[str, Any] = {key: value for key, value in shape.items() if key != "heads"}
    heads = shape["heads"]
    model = ModelRecipe(
        **sizes,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=shape["hidden_size"] // heads,
        max_position_embeddings=block,
    )
    recipe = load_recipe("demo")
    train = recipe.train.model_copy(
        update={"block": block, "batch": batch, "compile": compiled, "optimizer": "adamw"}
    )
    vocabulary = VOCABULARY if real else 1000
    return Task(
        recipe=recipe.model_copy(update={"model": model, "train": train}),
        store=random_store(folder, vocabulary, (steps + 1) * batch * block),
        vocabulary=vocabulary,
        steps=steps,
        precision="bf16" if real else "fp32",
    )


def speed_rows(
    name: str, task: Task, compiled: bool, rounds: int, best: tuple[str, float]
) -> list[Row]:
    """Tokens per second and MFU of some objectives on one shape."""
    kind, ceiling = best
    sides = {each: partial(train_valence, task, each) for each in OBJECTIVES}
    seen: dict[str, list[Trace]] = timing.interleaved(rounds, sides)
    block = task.recipe.train.block
    per_token = training_flops(fresh_model(task), block, block) / block
    how = "compiled" if compiled else "eager"
    rows = []
    for each, traces in seen.items():
        speeds = [trace.speed for trace in traces]
        rates = [speed * per_token for speed in speeds]
        rows.append(timing.measured(f"speed, {each}, {name}, {how}", speeds, "tokens/s"))
        rows.append(
            timing.ratio(
                f"MFU, {each}, {name}, {how}",
                rates,
                [ceiling] * len(rates),
                of=each,
                against=f"best matrix product here, {kind}",
                goal=">= 0.5" if each == "mle" else None,
            )
        )
    return rows


if __name__ == "__main__":
    main()
