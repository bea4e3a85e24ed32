"""The head and the loss alone, forward and backward: in chunks, against whole logits.

    python benchmarks/loss.py [--quick] [--json FILE] [--rounds N]

The naive side makes all logits, turns them into float32 and takes torch's own cross-entropy,
or log_softmax and gather where p itself is needed. Both sides keep freed memory, as the
command line does. Speed is tokens per second; peaks are of child processes that do one pass.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import timing
import torch
from timing import Row
from torch.nn import functional

from valence.model import best_device
from valence.objective import Objective, build_objective
from valence.objective.chunked import weighted_loss
from valence.objective.value import ValueModule
from valence.precision import Precision, autocast, keep_freed_memory

SIDES = ("chunked", "naive")
OBJECTIVES: dict[str, dict[str, dict[str, float]]] = {
    "mle": {"mle": {}},
    "unlikelihood": {"unlikelihood": {"threshold": -0.5}},
    "awr": {"awr": {"beta": 0.5}},
}
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
LARGE = 50_257


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """N tokens, hidden size D, vocabulary V."""

    tokens: int
    size: int
    vocabulary: int

    def __str__(self) -> str:
        return f"V {self.vocabulary:,}, D {self.size}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How often, and on what: the shapes that are timed and the one whose memory is seen."""

    rounds: int
    timed: tuple[Shape, ...]
    weighed: Shape
    children: int


QUICK = Amount(
    rounds=2,
    timed=(Shape(tokens=1024, size=256, vocabulary=4096),),
    weighed=Shape(tokens=1024, size=256, vocabulary=LARGE),
    children=1,
)
FULL = Amount(
    rounds=5,
    timed=tuple(
        Shape(tokens=4096, size=size, vocabulary=vocabulary)
        for vocabulary, size in product((4096, LARGE), (256, 768))
    ),
    weighed=Shape(tokens=4096, size=768, vocabulary=LARGE),
    children=1,
)


class Task:
    """Seeded hidden states, head, targets and rewards, the same for both sides."""

    def __init__(self, shape: Shape, precision: Precision, name: str) -> None:
        torch.manual_seed(0)
        self.device, self.precision = best_device(), precision
        self.objective: Objective = build_objective(OBJECTIVES[name])
        self.hidden_ND = torch.randn(
            shape.tokens, shape.size, device=self.device, requires_grad=True
        )
        weight_VD = torch.randn(shape.vocabulary, shape.size, device=self.device)
        self.weight_VD = weight_VD.mul_(shape.size**-0.5).requires_grad_()
        self.targets_N = torch.randint(shape.vocabulary, (shape.tokens,), device=self.device)
        self.rewards_N = -torch.rand(shape.tokens, device=self.device)
        head = self.objective.value_head
        self.values = None if head is None else ValueModule(head, shape.size).to(self.device)

    def language_loss(self, side: str, values_N: torch.Tensor | None) -> torch.Tensor:
        """The sum over tokens, by one of the sides."""
        hidden_ND, weight_VD, targets_N = self.hidden_ND, self.weight_VD, self.targets_N
        if side == "chunked":
            weights = self.objective.weigh(self.rewards_N, values_N)
            return weighted_loss(hidden_ND, weight_VD, targets_N, weights)[0]
        logits_NV = functional.linear(hidden_ND, weight_VD).float()
        if self.objective.name == "mle":
            return functional.cross_entropy(logits_NV, targets_N, reduction="sum")
        weights = self.objective.weigh(self.rewards_N, values_N)
        if weights.unlike_N is None:
            each_N = functional.cross_entropy(logits_NV, targets_N, reduction="none")
            return (weights.like_N * each_N).sum()
        logp_N = logits_NV.log_softmax(dim=1).gather(1, targets_N[:, None])[:, 0]
        rest_N = (1 - logp_N.exp()).clamp(min=1e-20)
        return -(weights.like_N * logp_N + weights.unlike_N * rest_N.log()).sum()

    def once(self, side: str) -> float:
        """Forward and backward; seconds that it took."""
        timing.wait()
        started = time.perf_counter()
        with autocast(self.precision, self.device):
            values_N = None if self.values is None else self.values(self.hidden_ND)
            loss = self.language_loss(side, values_N)
            if values_N is not None:
                loss = loss + self.objective.value_loss(self.rewards_N, values_N).sum()
        (loss / len(self.targets_N)).backward()  # type: ignore[no-untyped-call]
        self.hidden_ND.grad = self.weight_VD.grad = None
        timing.wait()
        return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the rows."""
    parser = timing.argument_parser(__doc__)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--case", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    keep_freed_memory()
    if options.child:
        name, precision, *sizes = options.case
        tokens, size, vocabulary = map(int, sizes)
        shape = Shape(tokens=tokens, size=size, vocabulary=vocabulary)
        Task(shape, precision, name).once(options.child)
        print(json.dumps({"peak": timing.peak_memory() / 2**20}))
        return
    amount = QUICK if options.quick else FULL
    # The children first, while this process is small: see `timing.peak_memory`.
    rows = memory_rows(amount)
    for shape, precision, name in product(amount.timed, PRECISIONS, OBJECTIVES):
        rows.append(speed_row(shape, precision, name, options.rounds or amount.rounds))
    where = f"{best_device().type}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    title = f"head and loss of {amount.timed[0].tokens} tokens, forward and backward; {where}"
    timing.publish(title, rows, options.json)


def memory_rows(amount: Amount) -> list[Row]:
    """Peak memory of each side in processes of their own, at the large vocabulary."""
    rows = []
    shape = amount.weighed
    for precision, name in product(PRECISIONS, OBJECTIVES):
        case = (name, precision, str(shape.tokens), str(shape.size), str(shape.vocabulary))
        sides: dict[str, Callable[[], float]] = {
            side: partial(child_peak, side, case) for side in SIDES
        }
        seen = timing.interleaved(amount.children, sides)
        title = f"peak memory, {name}, {precision}, {shape}"
        rows += timing.compare(title, seen, "MiB", goal="<= 0.5")
    return rows


def child_peak(side: str, case: tuple[str, ...]) -> float:
    """The peak of a process that does one pass of one side, in MiB."""
    return float(timing.spawn(__file__, "--child", side, "--case", *case)["peak"])


def speed_row(shape: Shape, precision: Precision, name: str, rounds: int) -> Row:
    """How fast the chunked side is against the naive one, round by round."""
    task = Task(shape, precision, name)
    for side in SIDES:  # What is set up once is not measured.
        task.once(side)
    seen = timing.interleaved(rounds, {side: partial(task.once, side) for side in SIDES})
    fastest = shape.tokens / min(seen["chunked"])
    return timing.ratio(
        f"speed, {name}, {precision}, {shape}",
        seen["naive"],
        seen["chunked"],
        of="chunked",
        against="naive",
        goal=">= 0.97",
        note=f"{fastest:,.0f} tokens/s at best",
    )


if __name__ == "__main__":
    main()
