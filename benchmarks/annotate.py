"""Annotation speed: the standard library through `valence.annotate` with the `pep8` scorer.

    python benchmarks/annotate.py [--quick] [--json FILE] [--rounds N]

The documents are written into shards once. Then take turns, round after round: one
process, two processes, and the naive way on one core, which is pycodestyle's own
`Checker(...).check_all()` on each text. Valence's times include reading its shards,
putting each violation into its line, and writing rewards and digests; the naive time
includes nothing but checking. Both must count the same violations, document by document.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycodestyle
from timing import Row, argument_parser, interleaved, measured, publish, ratio

from valence.annotate.run import annotate, read_annotated, write_documents
from valence.corpus.segment import line_ends
from valence.corpus.stdlib import read_stdlib
from valence.score.pep8 import Pep8
from valence.store import read_json

QUICK_CHARS = 1_500_000
SCORER = "pep8"
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the rows."""
    options = argument_parser(__doc__).parse_args(arguments)
    rounds = options.rounds or (2 if options.quick else 3)
    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder, "documents")
        manifest = write_documents(
            read_stdlib(),
            line_ends,
            documents,
            max_chars=QUICK_CHARS if options.quick else None,
            held_out_share=0.05,
            seed=0,
        )
        texts = read_texts(documents, Path(folder, "first"))
        seen = interleaved(
            rounds,
            {
                "one": lambda: valence_pass(documents, workers=1),
                "two": lambda: valence_pass(documents, workers=2),
                "naive": lambda: naive_pass(texts),
            },
        )
    title = (
        f"{manifest['documents']} documents of the standard library,"
        f" {manifest['bytes'] / 1e6:.2f} MB, {manifest['shards']} shards, {rounds} rounds"
    )
    rows = make_rows(seen, manifest["bytes"] / 1e6, quick=options.quick)
    publish(title, rows, options.json)


def read_texts(documents: Path, rewards: Path) -> dict[str, str]:
    """All texts by document id; an untimed first pass, which also warms the file cache."""
    annotate(documents, rewards, Pep8(), SCORER, workers=2)
    return {item.document.id: item.document.text for item in read_annotated(documents, rewards)}


def valence_pass(documents: Path, *, workers: int) -> Outcome:
    """Annotate everything into a fresh directory."""
    with tempfile.TemporaryDirectory() as folder:
        rewards = Path(folder)
        started, processor_started = time.perf_counter(), time.process_time()
        annotate(documents, rewards, Pep8(), SCORER, workers=workers)
        seconds = time.perf_counter() - started
        processor_seconds = time.process_time() - processor_started
        ledgers = sorted(rewards.glob("*.ledger.json"))
        return Outcome(
            seconds=seconds,
            processor_seconds=processor_seconds,
            counts=count_violations(documents, rewards),
            core_seconds=tuple(read_json(path)["core_seconds"] for path in ledgers),
        )


def count_violations(documents: Path, rewards: Path) -> Counts:
    """Violations of each document with a number, back from its rewards per character."""
    counts: Counts = {}
    for item in read_annotated(documents, rewards):
        if not np.isnan(item.rewards).any():
            lengths = np.diff(item.ends, prepend=0)
            exact = -item.rewards.astype(np.float64) * lengths
            counts[item.document.id] = int(exact.round().sum())
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


def make_rows(seen: dict[str, list[Outcome]], megabytes: float, *, quick: bool) -> list[Row]:
    """Speeds, ratios, and whether the counts agree."""
    names = {
        "one": "annotate, one process",
        "two": "annotate, two processes",
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


if __name__ == "__main__":
    main()
