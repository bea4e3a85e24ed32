"""Annotation speed, scaling and memory: every scorer that runs here, and every engine.

    python benchmarks/annotate.py [--quick] [--json FILE] [--rounds N] [--text GLOB]

One table in parts (`--part` measures one of them): `pep8` with one process, with two and on
Ray against pycodestyle as it is; every scorer's speed on one core; the student against a
neural teacher; peak memory with ten times the input. Prose comes from `--text` (JSON lines
with a `text`), else the comments and strings of the standard library stand for it.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from annotating.pep8_pass import TWO, Outcome, naive_pass, pep8_rows, read_texts, valence_pass
from annotating.shapes import NEURAL, make_models
from timing import Row, argument_parser, interleaved, measured, publish, ratio, spawn

# No more than this at the top: processes that score import this file again when they start.
from valence.annotate import annotate
from valence.annotate.cluster import connected
from valence.annotate.run import write_documents, write_rewards
from valence.corpus.readers import read_corpus
from valence.data import Document
from valence.recipe import CorpusRecipe, ScoreRecipe

WORDS = ("error", "wrong", "bad", "fail", "never", "invalid", "deprecated", "stupid", "hack")
LEXICON: dict[str, Any] = {"lexicon": {"words": list(WORDS)}}
RULES: dict[str, Any] = {
    "pep8": "pep8",
    "pep8-local": "pep8-local",
    "regex": {"regex": {"patterns": [r"\b(?:error|wrong|bad)\w*", r"[A-Z]{4,}"]}},
    "lexicon": LEXICON,
    "pii": "pii",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the rows."""
    parser = argument_parser(__doc__)
    parser.add_argument("--text", metavar="GLOB", help="JSON lines to take prose from")
    parser.add_argument("--part", choices=("engines", "scorers", "memory"))
    parser.add_argument("--scorer", action="append", help="of the part `scorers` only this one")
    options = parser.parse_args(arguments)
    wanted = [options.part] if options.part else ["engines", "scorers", "memory"]
    rounds = options.rounds or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        if "engines" in wanted:
            rows += engines(folder, rounds, quick=options.quick)
        if wanted != ["engines"]:
            prose = bring_prose(folder, options.text, quick=options.quick)
            make_student(folder, prose)
        if "scorers" in wanted:
            rows += scorers(folder, prose, rounds, options.scorer, quick=options.quick)
        if "memory" in wanted:
            rows += memory(folder, prose, quick=options.quick)
    publish("annotate", rows, options.json)


def engines(folder: Path, rounds: int, *, quick: bool) -> list[Row]:
    """`pep8` on the standard library: one process, two, Ray, and pycodestyle as it is."""
    place = folder / "stdlib"
    place.mkdir()
    corpus = CorpusRecipe(max_chars=1_500_000 if quick else None)
    manifest = write_documents(corpus, 0, place)
    texts = read_texts(place, folder / "first")
    seen = interleaved(
        rounds,
        {
            "one": lambda: valence_pass(place, workers=1),
            "two": lambda: valence_pass(place, workers=2),
            "naive": lambda: naive_pass(texts),
        },
    )
    rows = pep8_rows(seen, manifest["bytes"] / 1e6, quick=quick)
    started = time.perf_counter()
    with connected(None, 2):
        start = time.perf_counter() - started
        valence_pass(place, workers=2, engine="ray")  # Ray starts its workers.
        both = interleaved(
            rounds,
            {
                "ray": lambda: valence_pass(place, workers=2, engine="ray"),
                "two": lambda: valence_pass(place, workers=2),
            },
        )
    return [*rows, *ray_rows(both, start, manifest["bytes"] / 1e6)]


def ray_rows(both: dict[str, list[Outcome]], start: float, megabytes: float) -> list[Row]:
    """Ray against local processes, both with two workers; the same rewards."""
    assert both["ray"][0].counts == both["two"][0].counts, "Ray changed the rewards"
    speeds = {side: [megabytes / o.seconds for o in outcomes] for side, outcomes in both.items()}
    name = "pep8, Ray with two workers"
    return [
        measured("start of a local Ray", [start], "s"),
        measured(name, speeds["ray"], "MB/s"),
        ratio(
            "Ray against local processes", speeds["ray"], speeds["two"], of=name, against=TWO,
            note="local processes are started anew each time, Ray's are warm",
        ),
    ]  # fmt: skip


def bring_prose(folder: Path, pattern: str | None, *, quick: bool) -> Path:
    """An annotation of prose by sentence, without rewards."""
    if pattern is None:
        path = folder / "prose.jsonl"
        with path.open("w") as out:
            for text in comments():
                out.write(json.dumps({"text": text}) + "\n")
        pattern = str(path)
    corpus = CorpusRecipe(
        reader="files",
        paths=(pattern,),
        segmenter="sentence",  # type: ignore[arg-type]
        max_chars=1_000_000 if quick else 8_000_000,
        valid_share=0.2,
    )
    return annotate(folder / "prose", None, corpus).path


def comments() -> Iterator[str]:
    """The documentation strings of the standard library, a module at a time."""
    for item in read_corpus(CorpusRecipe(), 0):
        if isinstance(item, Document):
            parts = item.text.split('"""')[1::2]
            if parts:
                yield "\n".join(parts)


def make_student(folder: Path, prose: Path) -> None:
    """A student of the lexicon: its speed does not depend on what it learnt."""
    from valence.distill import distill

    annotate(prose, ScoreRecipe(scorer=LEXICON, name="teacher", workers=1))
    distill([prose], "teacher", folder / "student", bound=-1e-9, max_segments=20_000, resamples=100)


def scorers(
    folder: Path, prose: Path, rounds: int, only: list[str] | None, *, quick: bool
) -> list[Row]:
    """Every scorer on one core; neural ones on a part of the text, being slow."""
    small = folder / "small"
    corpus = CorpusRecipe(
        reader="files", paths=(str(prose_lines(prose, folder)),), segmenter="sentence",  # type: ignore[arg-type]
        max_chars=8_000 if quick else 30_000, valid_share=0.0,
    )  # fmt: skip
    annotate(small, None, corpus)
    models = make_models(folder / "models")
    specs = {
        **{name: (prose, spec) for name, spec in RULES.items()},
        "student": (prose, {"student": {"path": str(folder / "student")}}),
        **{name: (small, spec(models)) for name, spec in NEURAL.items()},
    }
    rows, rates = [], {}
    names = [name for name in specs if only is None or name in only]
    sides = {name: (lambda n=name: one_pass(*specs[n])) for name in names}
    for name, passes in interleaved(rounds, sides).items():
        rates[name] = [bytes_ / 1e6 / seconds for bytes_, _, seconds in passes]
        rows.append(measured(f"{name}, one core", rates[name], "MB/s",
                             goal=">= 10" if name == "student" else None))  # fmt: skip
        rows.append(measured(f"{name}, one core, documents",
                             [documents / seconds for _, documents, seconds in passes],
                             "documents/s"))  # fmt: skip
    if {"student", "classifier"} <= set(names):
        rows.append(
            ratio("student against a neural teacher", rates["student"], rates["classifier"],
                  of="student", against="classifier (6 layers of 384, random weights)")
        )  # fmt: skip
    return rows


def prose_lines(prose: Path, folder: Path) -> Path:
    """The prose again as JSON lines."""
    from valence.annotate import Annotation

    path = folder / "again.jsonl"
    with path.open("w") as out:
        for (texts,) in Annotation(prose).tables():
            for text in texts["text"].to_pylist():
                out.write(json.dumps({"text": text}) + "\n")
    return path


def one_pass(prose: Path, spec: Any) -> tuple[int, int, float]:
    """Bytes, documents and processor seconds of one scorer over a whole annotation."""
    from valence.score import pep8
    from valence.score.table import build_scorer

    pep8._check_line.cache_clear()  # A line that was seen in an earlier round costs nothing.
    scorer = build_scorer(spec)
    with tempfile.TemporaryDirectory() as name:
        score = ScoreRecipe(scorer=spec, workers=1)
        found = write_rewards(prose / "documents", Path(name), score, scorer)
    return found["bytes"], found["documents"], found["core_seconds"]


def memory(folder: Path, prose: Path, *, quick: bool) -> list[Row]:
    """Peak memory of a whole `annotate` with one process: little input, and ten times that."""
    lines = prose_lines(prose, folder).read_bytes()
    peaks = {}
    for megabytes in (4, 40) if quick else (100, 1000):
        path = folder / "large.jsonl"
        with path.open("wb") as out:
            while out.tell() < megabytes * 1e6:
                out.write(lines)
        out_dir = folder / f"large{megabytes}"
        seen = spawn(
            str(Path(__file__).parent / "annotating" / "peak.py"),
            str(path),
            str(folder / "student"),
            str(out_dir),
        )
        peaks[megabytes] = seen["peak"] / 2**20
        rate = megabytes / seen["seconds"]
        note = f"read, cut and scored at {rate:.1f} MB/s"
    small, large = sorted(peaks)
    names = {size: f"peak memory, {size} MB of input" for size in peaks}
    return [
        *(measured(names[size], [peaks[size]], "MiB") for size in (small, large)),
        ratio("peak memory with ten times the input", [peaks[large]], [peaks[small]],
              of=names[large], against=names[small], goal="<= 1.10", note=note),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
