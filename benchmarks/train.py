"""Training speed and memory: `valence.train.train` against a bare PyTorch loop.

    python benchmarks/train.py [--quick] [--json FILE] [--rounds N] [--precision fp32|bf16]

Both train the model of the packaged recipe `demo` from the same seeded weights, on the
same batches of a pack of random tokens, with the same optimiser, schedule, clipping and
precision; that their losses agree is one of the rows. The bare loop has no checkpoints,
no log and no clean stop. Runs on CUDA where there is one, else on the processor.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import timing
import torch
from timing import Row
from transformers import PreTrainedModel, get_scheduler

from valence.model import best_device, create_model
from valence.objective import build_objective
from valence.pack import PackedDataset
from valence.precision import Precision, autocast, choose_precision, measure_precision
from valence.recipe import Recipe, load_recipe
from valence.store import write_json
from valence.train import build_optimizer, train, training_flops

EOS = 0
SEED = 0
LARGER = 100
"""How many times more rows the large pack of the first-step rows has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How often, and how many steps: in a timed training, in a child, in a small pack."""

    rounds: int
    steps: int
    child_rounds: int
    child_steps: int
    small_pack_steps: int


QUICK = Amount(rounds=2, steps=6, child_rounds=1, child_steps=3, small_pack_steps=6)
FULL = Amount(rounds=5, steps=41, child_rounds=3, child_steps=20, small_pack_steps=293)


@dataclass(slots=True, kw_only=True)
class Trace:
    """One training: seconds since its call to the first and to the last step, and losses."""

    first: float = 0.0
    last: float = 0.0
    losses: list[float] = field(default_factory=list)
    logged: dict[int, float] = field(default_factory=dict)


class _Enough(Exception):
    """Raised from a progress callback: the first step is all that was wanted."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the rows."""
    parser = timing.argument_parser(__doc__)
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="default: the faster one")
    parser.add_argument("--child", choices=("choose", *SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--pack", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    recipe = load_recipe("demo")
    if options.child:
        print(json.dumps(run_child(options.child, options.pack, recipe, options.precision)))
        return
    amount = QUICK if options.quick else FULL
    rounds = options.rounds or amount.rounds
    precision = options.precision or timing.spawn(__file__, "--child", "choose")["precision"]
    with tempfile.TemporaryDirectory() as folder:
        # The children first, while this process is small: see `timing.peak_memory`.
        rows = memory_rows(Path(folder), recipe, precision, amount)
        rows += speed_rows(Path(folder), recipe, precision, amount.steps, rounds)
        rows += first_step_rows(Path(folder), recipe, precision, amount, rounds)
    shape = f"batch {recipe.train.batch} x {recipe.train.block} tokens, {recipe.train.optimizer}"
    where = f"{best_device().type}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    timing.publish(f"model and batch of `demo`: {shape}, {precision}; {where}", rows, options.json)


def fresh_model(recipe: Recipe) -> PreTrainedModel:
    """The recipe's model with the same weights every time."""
    vocabulary = recipe.tokenizer.vocab_size + len(recipe.control.tokens)
    return create_model(recipe.model, vocabulary, EOS, SEED).to(best_device())


def random_pack(directory: Path, recipe: Recipe, rows: int) -> Path:
    """A pack of random tokens, in the format of `valence.pack.write_pack`."""
    block = recipe.train.block
    directory.mkdir(parents=True)
    rng, file = np.random.default_rng(SEED), directory / "tokens.npy"
    packed = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint16, shape=(rows, block))
    for start in range(0, rows, 4096):  # In parts, to keep this process small.
        part = packed[start : start + 4096]
        part[:] = rng.integers(0, recipe.tokenizer.vocab_size, part.shape, dtype=np.uint16)
    packed.flush()
    sizes = {"rows": rows, "block": block, "tokens": rows * block, "text_tokens": rows * block}
    write_json(directory / "manifest.json", {**sizes, "masked_ids": []})
    return directory


def train_bare(model: PreTrainedModel, pack: Path, recipe: Recipe, precision: Precision) -> Trace:
    """The loop that one would write without Valence and without a Trainer."""
    started, trace, settings = time.perf_counter(), Trace(), recipe.train
    dataset, objective, device = PackedDataset(pack), build_objective("mle"), best_device()
    # In the order that the Trainer's sampler has for this seed.
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(SEED)).tolist()
    steps = -(-len(order) // settings.batch)
    optimizer = build_optimizer(model, settings)
    warmup = max(1, round(settings.warmup * steps))
    scheduler = get_scheduler(settings.schedule, optimizer, warmup, steps)
    model.config.use_cache = False
    model.train()
    losses = []
    for step in range(steps):
        batch = [dataset[i] for i in order[step * settings.batch : (step + 1) * settings.batch]]
        ids_BT = torch.from_numpy(np.stack([row["input_ids"] for row in batch])).to(device)
        labels_BT = torch.from_numpy(np.stack([row["labels"] for row in batch])).to(device)
        with autocast(precision, device):
            logits_BTV = model(input_ids=ids_BT).logits
        loss = objective.loss(logits_BTV, labels_BT)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        if step == 0:
            timing.wait()
            trace.first = time.perf_counter() - started
    timing.wait()
    trace.last = time.perf_counter() - started
    trace.losses = torch.stack(losses).tolist()
    return trace


def train_valence(
    model: PreTrainedModel,
    pack: Path,
    recipe: Recipe,
    precision: Precision,
    only_first: bool = False,
) -> Trace:
    """The same through `valence.train.train`."""
    trace = Trace()

    def on_progress(step: int, steps: int) -> None:
        if step in (1, steps):
            timing.wait()
            trace.last = time.perf_counter() - started
        if step == 1:
            trace.first = trace.last
            if only_first:
                raise _Enough

    with tempfile.TemporaryDirectory() as checkpoints:
        started = time.perf_counter()
        with contextlib.suppress(_Enough):
            train(
                model,
                pack,
                build_objective("mle"),
                recipe.train,
                Path(checkpoints),
                seed=SEED,
                precision=precision,
                on_log=lambda entry: trace.logged.update({entry["step"]: entry["loss"]}),
                on_progress=on_progress,
            )
    return trace


SIDES: dict[str, Callable[[PreTrainedModel, Path, Recipe, Precision], Trace]] = {
    "valence": train_valence,
    "bare": train_bare,
}


def run_child(side: str, pack: Path, recipe: Recipe, precision: Precision) -> dict[str, object]:
    """What a process of its own does: choose the precision, or train once."""
    model = fresh_model(recipe)
    if side == "choose":
        settings = recipe.train
        seconds = measure_precision(model, batch=settings.batch, block=settings.block)
        return {"precision": choose_precision(seconds)}
    trace = SIDES[side](model, pack, recipe, precision)
    return {"peak": timing.peak_memory() / 2**20, "first": trace.first}


def memory_rows(folder: Path, recipe: Recipe, precision: Precision, amount: Amount) -> list[Row]:
    """Peak memory of each side in its own process, and Valence's first step there."""
    pack = random_pack(folder / "child", recipe, amount.child_steps * recipe.train.batch)
    given = ("--pack", str(pack), "--precision", precision)
    sides = {side: partial(timing.spawn, __file__, "--child", side, *given) for side in SIDES}
    seen = timing.interleaved(amount.child_rounds, sides)
    peaks = {side: [child["peak"] for child in children] for side, children in seen.items()}
    own = timing.peak_memory() / 2**20
    assert min(map(min, peaks.values())) > own, "the children's peaks are their parent's"
    first = [child["first"] for child in seen["valence"]]
    return [
        *timing.compare("peak memory", peaks, "MiB", goal="<= 1.10"),
        timing.measured("first step in a fresh process", first, "s", goal="<= 10"),
    ]


def speed_rows(
    folder: Path, recipe: Recipe, precision: Precision, steps: int, rounds: int
) -> list[Row]:
    """Tokens per second of each side, their ratio, and their share of what is possible."""
    tokens = steps * recipe.train.batch * recipe.train.block
    pack = random_pack(folder / "timed", recipe, steps * recipe.train.batch)

    def run(side: str) -> Trace:
        return SIDES[side](fresh_model(recipe), pack, recipe, precision)

    before = timing.matmul_rates(best_device().type)
    seen = timing.interleaved(rounds, {side: partial(run, side) for side in SIDES})
    after = timing.matmul_rates(best_device().type)
    ceilings = {kind: max(before[kind], after[kind]) for kind in before}
    # Without the first step, which sets up much that is done once.
    speeds = {
        side: [tokens * (1 - 1 / steps) / (trace.last - trace.first) for trace in traces]
        for side, traces in seen.items()
    }
    whole = {side: [tokens / trace.last for trace in traces] for side, traces in seen.items()}
    note = "the first step and what is set up before it weigh more in a short training"
    return [
        *timing.compare("speed", speeds, "tokens/s", goal=">= 0.95"),
        *timing.compare(f"speed of {steps} steps from the call", whole, "tokens/s", note=note),
        loss_row(seen),
        *utilisation_rows(recipe, speeds, ceilings),
    ]


def loss_row(seen: dict[str, list[Trace]]) -> Row:
    """The largest difference between logged losses: 0 if both did the same work."""
    differences = []
    for bare, valence in zip(seen["bare"], seen["valence"], strict=True):
        before = 0
        for step, logged in valence.logged.items():
            mean = sum(bare.losses[before:step]) / (step - before)
            differences.append(abs(mean - logged))
            before = step
    note = "of the logged losses, between the two; both saw the same batches if it is near 0"
    name = "largest difference of the loss"
    return Row(name=name, value=max(differences), unit="nats", note=note)


def utilisation_rows(
    recipe: Recipe, speeds: dict[str, list[float]], ceilings: dict[str, float]
) -> list[Row]:
    """Achieved FLOP/s of each side, and their share of the best matrix product's."""
    block = recipe.train.block
    per_token = training_flops(fresh_model(recipe), block, block) / block
    kind, ceiling = max(ceilings.items(), key=lambda item: item[1])
    name = "matrix product, {}".format
    rows = [Row(name=name(k), value=rate / 1e9, unit="GFLOP/s") for k, rate in ceilings.items()]
    for side, seen in speeds.items():
        rates = [speed * per_token / 1e9 for speed in seen]
        best, against = [ceiling / 1e9] * len(rates), f"best matrix product here, {kind}"
        rows.append(timing.measured(f"achieved, {side}", rates, "GFLOP/s"))
        rows.append(timing.ratio(f"MFU, {side}", rates, best, of=side, against=against))
    return rows


def first_step_rows(
    folder: Path, recipe: Recipe, precision: Precision, amount: Amount, rounds: int
) -> list[Row]:
    """Seconds from the call to the end of the first step, for a large and a small pack."""
    small = amount.small_pack_steps * recipe.train.batch
    sizes = {f"{rows:,} rows": rows for rows in (LARGER * small, small)}
    packs = {name: random_pack(folder / name, recipe, rows) for name, rows in sizes.items()}

    def first(pack: Path) -> float:
        return train_valence(fresh_model(recipe), pack, recipe, precision, only_first=True).first

    sides = {name: partial(first, pack) for name, pack in packs.items()}
    seen = timing.interleaved(rounds, sides)
    return timing.compare("first step", seen, "s", goal="near 1, and each <= 10 s")


if __name__ == "__main__":
    main()
