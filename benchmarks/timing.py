"""What the benchmarks share: arguments, interleaved rounds, and rows as a table and as JSON.

A comparison is made side by side in one run: A B A B, never A A B B, so that a machine
which slows down slows both. A ratio is taken within each round; the row holds the median.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number of a benchmark; a ratio also says of what and against what it is.

    `min` and `max` are those of the rounds whose median is `value`.
    """

    name: str
    value: float
    unit: str
    of: str | None = None
    against: str | None = None
    min: float | None = None
    max: float | None = None
    goal: str | None = None
    note: str | None = None


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """The arguments that every benchmark takes."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps and less text")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds to take the median of")
    return parser


def interleaved(rounds: int, sides: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """What each side returns in each round; the sides take turns within a round."""
    seen: dict[str, list[T]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            seen[name].append(side())
    return seen


def measured(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    goal: str | None = None,
    note: str | None = None,
) -> Row:
    """The row of one quantity seen in several rounds."""
    return Row(
        name=name,
        value=median(values),
        unit=unit,
        min=min(values),
        max=max(values),
        goal=goal,
        note=note,
    )


def ratio(
    name: str,
    above: Sequence[float],
    below: Sequence[float],
    *,
    of: str,
    against: str,
    goal: str | None = None,
    note: str | None = None,
) -> Row:
    """The row of `above` divided by `below`, round by round."""
    values = [a / b for a, b in zip(above, below, strict=True)]
    return Row(
        name=name,
        value=median(values),
        unit="x",
        of=of,
        against=against,
        min=min(values),
        max=max(values),
        goal=goal,
        note=note,
    )


def compare(
    name: str,
    sides: Mapping[str, Sequence[float]],
    unit: str,
    *,
    goal: str | None = None,
    note: str | None = None,
) -> list[Row]:
    """The rows of two sides, and of the ratio of the first to the second."""
    (first, above), (second, below) = sides.items()
    return [
        measured(f"{name}, {first}", above, unit),
        measured(f"{name}, {second}", below, unit),
        ratio(f"{name} ratio", above, below, of=first, against=second, goal=goal, note=note),
    ]


def peak_memory() -> int:
    """The most memory this process has held, in bytes, resident or on its CUDA device."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.is_file():  # Unlike `ru_maxrss`, it knows nothing of the process that started this.
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(lines["VmHWM"].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def wait() -> None:
    """Until the CUDA device, if there is one, has done what was asked of it."""
    torch = sys.modules["torch"]
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matmul_rates(device: str) -> dict[str, float]:
    """The best rate of a square matrix product in each precision, in FLOP/s."""
    import torch  # Here, because the processes that annotate start without it.

    sizes = (4096, 8192) if device == "cuda" else (1024, 2048)
    rates: dict[str, float] = {}
    for kind, dtype in {"fp32": torch.float32, "bf16": torch.bfloat16}.items():
        for size in sizes:
            matrix = torch.randn(size, size, device=device, dtype=dtype)
            for _ in range(4):
                wait()
                started = time.perf_counter()
                matrix @ matrix
                wait()
                rate = 2 * size**3 / (time.perf_counter() - started)
                rates[kind] = max(rate, rates.get(kind, 0.0))
    return rates


def spawn(script: str, *arguments: str) -> dict[str, Any]:
    """Run a script in a new process; returns the JSON on the last line that it prints."""
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def publish(title: str, rows: Sequence[Row], json_file: Path | None) -> None:
    """Print the rows as a table, and write them as JSON if asked to."""
    width = max(len(row.name) for row in rows)
    print(f"\n{title}\n")
    print(f"{'':{width}}  {'median':>9}  {'min':>9}  {'max':>9}")
    for row in rows:
        shown = [_short(row.value), _short(row.min), _short(row.max)]
        numbers = "  ".join(f"{number:>9}" for number in shown)
        goal = f"  (goal {row.goal})" if row.goal else ""
        print(f"{row.name:{width}}  {numbers}  {row.unit}{goal}")
    notes = [row for row in rows if row.note]
    if notes:
        print()
    for row in notes:
        print(f"{row.name}: {row.note}")
    if json_file is not None:
        plain = [{k: v for k, v in asdict(row).items() if v is not None} for row in rows]
        json_file.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
