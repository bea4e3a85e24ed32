"""`pep8` over the standard library against pycodestyle as it is, violation by violation.

Valence's times include reading its shards, putting each violation into its line, and
writing rewards and digests; the naive time includes nothing but checking. Both must count
the same violations, document by document.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pycodestyle
from timing import Row, measured, ratio

from valence.annotate.run import write_rewards
from valence.recipe import ScoreRecipe
from valence.score.pep8 import Pep8
from valence.store import read_json, read_parquet

ONE = "pep8, one process"
TWO = "pep8, two processes"
Counts = dict[str, int]
"""Violations by document id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One pass over all documents; Valence leaves out those that it has no number for."""

    seconds: float
    processor_seconds: float
    """Of this process alone, which other work on the machine disturbs less."""
    counts: Counts
    core_seconds: tuple[float, ...] = ()


def read_texts(documents: Path, rewards: Path) -> dict[str, str]:
    """All texts by document id; an untimed first pass, which also warms the file cache."""
    rewards.mkdir()
    write_rewards(documents, rewards, ScoreRecipe(workers=2), Pep8())
    tables = (read_parquet(path) for path in sorted(documents.glob("*.parquet")))
    rows = (row for table in tables for row in table.to_pylist())
    return {row["id"]: row["text"] for row in rows if row["failure"] is None}


def valence_pass(
    documents: Path, *, workers: int, engine: Literal["local", "ray"] = "local"
) -> Outcome:
    """Annotate everything into a fresh directory."""
    with tempfile.TemporaryDirectory() as folder:
        rewards = Path(folder)
        started, processor_started = time.perf_counter(), time.process_time()
        write_rewards(documents, rewards, ScoreRecipe(workers=workers, engine=engine), Pep8())
        seconds = time.perf_counter() - started
        processor_seconds = time.process_time() - processor_started
        ledgers = sorted(rewards.glob("0*.json"))
        return Outcome(
            seconds=seconds,
            processor_seconds=processor_seconds,
            counts=count_violations(documents, rewards),
            core_seconds=tuple(read_json(path)["core_seconds"] for path in ledgers),
        )


def count_violations(documents: Path, rewards: Path) -> Counts:
    """Violations of each document with a number, back from its rewards per character."""
    counts: Counts = {}
    for path in sorted(documents.glob("*.parquet")):
        ends: list[Any] = read_parquet(path, ["ends"])["ends"].to_pylist()
        for row, end in zip(read_parquet(rewards / path.name).to_pylist(), ends, strict=True):
            values = np.array(row["rewards"], dtype=np.float64)
            if len(values) and not np.isnan(values).any():
                exact = -values * np.diff(end, prepend=0)
                counts[row["id"]] = int(exact.round().sum())
    return counts


def naive_pass(texts: dict[str, str]) -> Outcome:
    """pycodestyle as it is, on each text, on one core.

    Generous to it: options are built once instead of per file, and its quiet report
    counts instead of printing.
    """
    style = pycodestyle.StyleGuide(quiet=1)
    counts: Counts = {}
    started, processor_started = time.perf_counter(), time.process_time()
    for name, text in texts.items():
        lines = io.StringIO(text, newline=None).readlines()
        checker = pycodestyle.Checker(lines=lines, options=style.options)
        counts[name] = checker.check_all()
    return Outcome(
        seconds=time.perf_counter() - started,
        processor_seconds=time.process_time() - processor_started,
        counts=counts,
    )


def pep8_rows(seen: dict[str, list[Outcome]], megabytes: float, *, quick: bool) -> list[Row]:
    """Speeds, ratios, and whether the counts agree."""
    names = {
        "one": ONE,
        "two": TWO,
        "naive": "pycodestyle file by file, one process",
    }
    speeds = {
        side: [megabytes / outcome.seconds for outcome in outcomes]
        for side, outcomes in seen.items()
    }
    best = best_of_two([outcome.core_seconds for outcome in seen["one"]])
    note = f"shards of this size share out between two processes at {best:.2f}x at best"
    if quick:
        note += "; with so few documents the start of the processes weighs heavily"
    return [
        *(measured(names[side], speeds[side], "MB/s") for side in names),
        ratio(
            "two processes against one",
            speeds["two"],
            speeds["one"],
            of=names["two"],
            against=names["one"],
            goal=">= 1.8",
            note=note,
        ),
        ratio(
            "one process against pycodestyle",
            speeds["one"],
            speeds["naive"],
            of=names["one"],
            against=names["naive"],
            goal=">= 1, better 2",
        ),
        ratio(
            "the same in processor time",
            [1 / outcome.processor_seconds for outcome in seen["one"]],
            [1 / outcome.processor_seconds for outcome in seen["naive"]],
            of=names["one"],
            against=names["naive"],
        ),
        *agreement(seen["one"][0].counts, seen["two"][0].counts, seen["naive"][0].counts),
    ]


def best_of_two(core_seconds: Sequence[Sequence[float]]) -> float:
    """The best ratio that two processes can reach when each takes the next shard in order."""
    total: list[float] = [sum(column) for column in zip(*core_seconds, strict=True)]
    loads = [0.0, 0.0]
    for seconds in total:
        loads[loads.index(min(loads))] += seconds
    return sum(total) / max(loads)


def agreement(one: Counts, two: Counts, naive: Counts) -> list[Row]:
    """The violations that each counts, over the documents for which Valence has a number."""
    assert one == two, "the number of processes changed the rewards"
    different = [name for name, count in one.items() if count != naive[name]]
    broken = [name for name in naive if name not in one]
    explained = f"{len(one)} documents, {len(different)} of them with another count"
    if different:
        first = (f"{name} ({one[name]} against {naive[name]})" for name in different[:5])
        explained += f", the first: {', '.join(first)}"
    left_out = "documents that Python cannot tokenise have no number"
    if broken:
        left_out += f" (pycodestyle counts {sum(naive[name] for name in broken)} in them)"
    return [
        Row(name="violations, valence", value=sum(one.values()), unit="count", note=explained),
        Row(name="violations, pycodestyle", value=sum(naive[n] for n in one), unit="count"),
        Row(name="documents left out", value=len(broken), unit="count", note=left_out),
    ]
