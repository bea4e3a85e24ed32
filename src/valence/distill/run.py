"""Distil: read a teacher's annotation, fit a student, calibrate it, say how faithful it is.

    fidelity = distill([Path("annotation")], "reward-model", Path("student"), bound=-0.5)

What is in `out` afterwards: the student itself (`student.json` and `weights.safetensors` for
the scorer `student`; for `kind="transformer"` a Hugging Face directory for the scorer
`classifier`), `fidelity.json`, `results.json` and `fidelity.html`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from valence.annotate.read import Annotation
from valence.display import Display, Progress, Silent
from valence.distill.examples import Examples, Found, Split, choose, gather, survey
from valence.distill.fidelity import (
    RESAMPLES,
    Compared,
    Fidelity,
    Floats,
    Throughput,
    bands,
    compare,
    reliability,
)
from valence.distill.hashed import fit_hashed
from valence.distill.page import fidelity_page
from valence.distill.teacher import Teacher, student_speed
from valence.errors import BoundError, RecipeError, RunExistsError
from valence.report.bound import Bound
from valence.score.student import Student
from valence.store import PARTIAL, storage, write_json, write_text

Kind = Literal["linear", "mlp", "transformer"]

FIDELITY, RESULTS, PAGE = "fidelity.json", "results.json", "fidelity.html"
MOST_HELD_OUT = 200_000
"""Held-out segments that fidelity is measured on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A student's rewards of two splits, its id and speed, and how it was fitted."""

    student: str
    speed: float | None
    calibration: Floats
    held_out: Floats
    facts: dict[str, Any]


def distill(
    annotations: Sequence[Path | Annotation],
    name: str,
    out: Path,
    *,
    bound: Bound | float,
    kind: Kind = "linear",
    seed: int = 0,
    max_segments: int = 200_000,
    bits: int = 18,
    base: str | None = None,
    resamples: int = RESAMPLES,
    overwrite: bool = False,
    display: Display | None = None,
) -> Fidelity:
    """A student of the rewards `name` in the directory `out`; returns its fidelity.

    `bound` parts off the band that the student must find: a reward, or a share of the
    teacher's rewards on the documents that are not held out. The student is fitted on those,
    less a tenth that calibrates it, with at most `max_segments`; fidelity is measured on
    held-out documents. `bits` says how many buckets there are (2**bits), `base` is a model's
    directory for a transformer to start from. Equal input and seed give equal weights.

    Raises `BoundError`, `CorpusError`, `MissingFileError`, `RecipeError`, and, where `out`
    holds something, `RunExistsError` unless it is a student and `overwrite` is given.
    """
    _check(kind, bits, max_segments)
    _check_place(out, overwrite=overwrite)
    teacher = Teacher.of(annotations, name)
    show = display or Silent()
    with show.stage("read the rewards"):
        found = survey(teacher, seed)
    reward = _resolve(bound, found)
    most: dict[Split, int] = {
        "train": max_segments,
        "calibration": max(max_segments // 4, 1),
        "held_out": MOST_HELD_OUT,
    }
    chosen = {
        split: choose(part, reward, most[split], seed, enrich=split == "train")
        for split, part in found.items()
    }
    with show.stage("read the text"):
        parts = gather(teacher, seed, chosen)
    with _replacing(out) as work:
        with show.stage(f"fit the {kind} student") as progress:
            if kind == "transformer":
                made = _transformer(work, parts, base, seed, progress)
            else:
                made = _hashed(work, teacher, parts, reward, kind, bits, seed, progress)
        with show.stage("measure it on held-out documents"):
            fidelity = _fidelity(teacher, parts, found, reward, made, kind, seed, resamples)
        write_json(work / FIDELITY, fidelity.plain())
        write_json(work / RESULTS, [asdict(row) for row in fidelity.measurements])
        write_text(work / PAGE, fidelity_page(fidelity))
    return fidelity


def _check(kind: str, bits: int, max_segments: int) -> None:
    if kind not in get_args(Kind):
        raise RecipeError(
            f"there is no kind of student `{kind}`",
            where="--kind",
            fix=f"Known: {', '.join(get_args(Kind))}.",
        )
    if not 8 <= bits <= 24 or max_segments < 2:
        raise RecipeError(
            f"bits = {bits} and max_segments = {max_segments} cannot be",
            where="distill",
            fix="Give 8 to 24 bits, and at least 2 segments.",
        )


def _check_place(out: Path, *, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / FIDELITY).is_file():
        raise RunExistsError(
            "there is something that is not a student",
            where=str(out),
            fix="Choose another --out; Valence does not overwrite what it did not write.",
        )
    if not overwrite:
        raise RunExistsError(
            "there is a student already",
            where=str(out),
            fix="Choose another --out, or add --overwrite.",
        )


def _resolve(bound: Bound | float, found: dict[Split, Found]) -> float:
    """The bound as a reward; raises `BoundError` where it parts nothing."""
    known = np.concatenate([found["train"].rewards, found["calibration"].rewards])
    if isinstance(bound, Bound) and bound.best is not None:
        reward = float(np.quantile(known, 1 - bound.best, method="higher"))
    else:
        asked = bound.reward if isinstance(bound, Bound) else bound
        assert asked is not None
        reward = float(asked)
    for split, part in found.items():
        below = float((part.rewards < reward).mean())
        if below in (0.0, 1.0):
            raise BoundError(
                f"{below:.0%} of the segments for `{split}` have a reward below {reward:g}",
                where="--bound",
                fix=f"The teacher's rewards go from {known.min():g} to {known.max():g}: choose a"
                " bound between them, or annotate more documents.",
            )
    return reward


@contextlib.contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """An empty directory beside `out` that takes its place when the block ends well."""
    work = out.with_name(f".{out.name}.{os.getpid()}{PARTIAL}")
    with storage(out):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            yield work
            if out.exists():
                shutil.rmtree(out)
            work.replace(out)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _transformer(
    work: Path,
    parts: dict[Split, Examples],
    base: str | None,
    seed: int,
    on_progress: Progress,
) -> _Made:
    from valence.distill.transformer import fit_transformer

    predict = fit_transformer(parts["train"], work, base=base, seed=seed, on_progress=on_progress)
    return _Made(
        student="transformer",
        speed=None,
        calibration=predict(parts["calibration"].texts),
        held_out=predict(parts["held_out"].texts),
        facts={"base": base},
    )


def _hashed(
    work: Path,
    teacher: Teacher,
    parts: dict[Split, Examples],
    bound: float,
    kind: Literal["linear", "mlp"],
    bits: int,
    seed: int,
    on_progress: Progress,
) -> _Made:
    facts = fit_hashed(
        work,
        teacher,
        parts,
        kind=kind,
        bound=bound,
        bits=bits,
        seed=seed,
        on_progress=on_progress,
    )
    student = Student(str(work))
    calibration, held_out = (
        student.calibrated(student.raw(parts[split].texts)).astype(np.float64)
        for split in ("calibration", "held_out")
    )
    return _Made(
        student=str(student.id),
        speed=student_speed(student, teacher),
        calibration=calibration,
        held_out=held_out,
        facts=facts,
    )


def _fidelity(
    teacher: Teacher,
    parts: dict[Split, Examples],
    found: dict[Split, Found],
    bound: float,
    made: _Made,
    kind: Kind,
    seed: int,
    resamples: int,
) -> Fidelity:
    held_out = parts["held_out"]
    below = float((parts["calibration"].rewards < bound).mean())
    matched = float(np.quantile(made.calibration, below, method="higher"))
    compared = Compared(
        student=made.held_out, teacher=held_out.rewards, documents=held_out.documents
    )
    return Fidelity(
        student=made.student,
        teacher=teacher.id,
        name=teacher.name,
        meaning=teacher.meaning,
        kind=kind,
        bound=bound,
        matched_bound=matched,
        seed=seed,
        measurements=compare(
            compared,
            bound=bound,
            matched_bound=matched,
            failures=found["held_out"].failures,
            seed=seed,
            mode=teacher.name,
            resamples=resamples,
        ),
        reliability=reliability(compared),
        bands=bands(compared, bound),
        segments={split: len(part) for split, part in parts.items()},
        documents={split: len(np.unique(part.documents)) for split, part in parts.items()},
        failures={split: part.failures for split, part in found.items()},
        throughput=Throughput(student=made.speed, teacher=teacher.speed),
        facts=made.facts,
    )
