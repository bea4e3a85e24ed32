"""Training speed and memory: every objective against a bare loop and a plain Trainer.

    python benchmarks/train.py [--quick] [--json FILE] [--rounds N] [--precision fp32|bf16]

All train the model of the packaged recipe `demo`, with a vocabulary of 4,096 and of 50,257,
from the same seeded weights, on a store of the same random tokens, with the same optimiser,
schedule, clipping and precision. The bare loop has no checkpoints, no log and no clean stop;
neither it nor the Trainer keeps documents apart. Runs on CUDA where there is one, else on the
processor.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import timing
import torch
from timing import Row
from training.packs import random_store
from training.sides import OBJECTIVES, Task, Trace, fresh_model, side, train_valence

from valence.model import best_device
from valence.pack.tokens import TokenStore
from valence.precision import Precision, choose_precision, keep_freed_memory, measure_precision
from valence.recipe import Recipe, load_recipe
from valence.train import training_flops

VOCABULARIES = {"4k": 4_096, "50k": 50_257}
WEIGHTED = ("unlikelihood", "rwr", "awr")
REMEMBERED = ("bare", "trainer", "mle", "unlikelihood", "awr", "verdict")
"""The sides whose peak memory is measured."""
LARGER = 100
"""How many times more tokens the large store of the first-step rows has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How often, and how many steps: in a timed training, in a child process."""

    rounds: int
    steps: dict[str, int]
    child_steps: int
    small_store: int


QUICK = Amount(rounds=1, steps={"4k": 4, "50k": 3}, child_steps=2, small_store=40_000)
FULL = Amount(rounds=3, steps={"4k": 26, "50k": 9}, child_steps=4, small_store=400_000)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the rows."""
    parser = timing.argument_parser(__doc__)
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="default: the faster one")
    parser.add_argument("--vocabulary", choices=VOCABULARIES, help="only this one")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    keep_freed_memory()
    recipe = load_recipe("demo")
    if options.child:
        print(json.dumps(run_child(options, recipe)))
        return
    amount = QUICK if options.quick else FULL
    rounds = options.rounds or amount.rounds
    precision = options.precision or timing.spawn(__file__, "--child", "choose")["precision"]
    names = [options.vocabulary] if options.vocabulary else list(VOCABULARIES)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        stores = {name: new_store(Path(folder) / name, recipe, name, amount) for name in names}
        # The children first, while this process is small: see `timing.peak_memory`.
        for name in names:
            rows += memory_rows(name, stores[name], precision, amount)
        for name in names:
            task = Task(
                recipe=recipe,
                store=stores[name],
                vocabulary=VOCABULARIES[name],
                steps=amount.steps[name],
                precision=precision,
            )
            rows += speed_rows(name, task, rounds)
        rows += first_step_rows(Path(folder), recipe, precision, amount, rounds)
    shape = f"batch {recipe.train.batch} x {recipe.train.block} tokens, {recipe.train.optimizer}"
    where = f"{best_device().type}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    timing.publish(f"model and batch of `demo`: {shape}, {precision}; {where}", rows, options.json)


def new_store(folder: Path, recipe: Recipe, name: str, amount: Amount) -> TokenStore:
    """A store with as many random tokens as the trainings take, and a few more."""
    steps = max(amount.steps[name], amount.child_steps) + 1
    return random_store(folder, VOCABULARIES[name], steps * recipe.train.batch * recipe.train.block)


def run_child(options: argparse.Namespace, recipe: Recipe) -> dict[str, object]:
    """What a process of its own does: choose the precision, or train once."""
    if options.child == "choose":
        with tempfile.TemporaryDirectory() as folder:
            store = random_store(Path(folder) / "s", 4_096, 4_000)
            task = Task(recipe=recipe, store=store, vocabulary=4_096, steps=1, precision="fp32")
            settings = recipe.train
            seconds = measure_precision(
                fresh_model(task), batch=settings.batch, block=settings.block
            )
        return {"precision": choose_precision(seconds)}
    name, vocabulary = options.child.split("@")
    task = Task(
        recipe=recipe,
        store=TokenStore(options.store),
        vocabulary=VOCABULARIES[vocabulary],
        steps=options.steps,
        precision=options.precision,
    )
    trace = side(name)(task)
    return {"peak": timing.peak_memory() / 2**20, "first": trace.first}


def memory_rows(name: str, store: TokenStore, precision: Precision, amount: Amount) -> list[Row]:
    """Peak memory of each side in its own process."""
    given = ("--store", str(store.directory), "--precision", precision)
    steps = ("--steps", str(amount.child_steps))
    children = {
        key: partial(timing.spawn, __file__, "--child", f"{key}@{name}", *given, *steps)
        for key in REMEMBERED
    }
    seen = timing.interleaved(1, children)
    peaks = {key: [child["peak"] for child in found] for key, found in seen.items()}
    own = timing.peak_memory() / 2**20
    assert min(map(min, peaks.values())) > own, "the children's peaks are their parent's"
    rows = [timing.measured(f"peak memory, {key}, {name}", peaks[key], "MiB") for key in REMEMBERED]
    for key in REMEMBERED[2:]:
        rows.append(
            timing.ratio(
                f"peak memory ratio, {key}, {name}",
                peaks[key],
                peaks["trainer"],
                of=key,
                against="trainer",
                goal="<= 1",
            )
        )
    first = [child["first"] for child in seen["mle"]]
    rows.append(timing.measured(f"first step in a fresh process, {name}", first, "s", goal="<= 10"))
    return rows


def speed_rows(name: str, task: Task, rounds: int) -> list[Row]:
    """Tokens per second of each side, ratios, and the share of what is possible."""
    sides = ["bare", "trainer", *OBJECTIVES]
    before = timing.matmul_rates(best_device().type)
    seen: dict[str, list[Trace]] = timing.interleaved(
        rounds, {key: partial(side(key), task) for key in sides}
    )
    after = timing.matmul_rates(best_device().type)
    speeds = {key: [trace.speed for trace in traces] for key, traces in seen.items()}
    rows = [timing.measured(f"speed, {key}, {name}", speeds[key], "tokens/s") for key in sides]

    def compare(key: str, against: str, goal: str | None) -> Row:
        title = f"speed ratio, {key} to {against}, {name}"
        return timing.ratio(title, speeds[key], speeds[against], of=key, against=against, goal=goal)

    for key in ("mle", "conditional"):
        rows += [compare(key, "trainer", ">= 1.0"), compare(key, "bare", ">= 0.95")]
    for key in [*WEIGHTED, "verdict"]:
        rows.append(compare(key, "mle", ">= 0.95" if key in WEIGHTED else None))
    ceilings = {kind: max(before[kind], after[kind]) for kind in before}
    block = task.recipe.train.block
    per_token = training_flops(fresh_model(task), block, block) / block
    kind, ceiling = max(ceilings.items(), key=lambda item: item[1])
    achieved = [speed * per_token / 1e9 for speed in speeds["mle"]]
    best = [ceiling / 1e9] * len(achieved)
    rows.append(timing.measured(f"best matrix product, {kind}", best, "GFLOP/s"))
    rows.append(
        timing.ratio(f"MFU, {name}", achieved, best, of="mle", against="best matrix product")
    )
    return rows


def first_step_rows(
    folder: Path, recipe: Recipe, precision: Precision, amount: Amount, rounds: int
) -> list[Row]:
    """Seconds from the call to the end of the first step, for a large and a small store."""
    vocabulary = VOCABULARIES["4k"]
    budget = recipe.train.batch * recipe.train.block

    def task(tokens: int) -> Task:
        store = random_store(folder / f"{tokens}", vocabulary, tokens)
        return Task(
            recipe=recipe,
            store=store,
            vocabulary=vocabulary,
            steps=max(2, amount.small_store // budget),
            precision=precision,
        )

    sizes = (LARGER * amount.small_store, amount.small_store)
    sides = {
        f"{size:,} tokens": partial(train_valence, task(size), "mle", only_first=True)
        for size in sizes
    }
    seen = timing.interleaved(rounds, sides)
    firsts = {key: [trace.first for trace in traces] for key, traces in seen.items()}
    return timing.compare("first step", firsts, "s", goal="near 1, and each <= 10 s")


if __name__ == "__main__":
    main()
