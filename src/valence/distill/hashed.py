"""The students over hashed n-grams: fitted, calibrated and written, to be scored by `student`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from safetensors.numpy import save_file

from valence.display import Progress, unseen
from valence.distill.calibrate import isotonic
from valence.distill.examples import Examples, Split
from valence.distill.linear import fit_linear
from valence.distill.mlp import fit_mlp
from valence.distill.teacher import Teacher
from valence.score import features
from valence.score.student import CARD, FORMAT, WEIGHTS, raw_from, raw_of
from valence.store import write_json


def fit_hashed(
    out: Path,
    teacher: Teacher,
    parts: dict[Split, Examples],
    *,
    kind: Literal["linear", "mlp"],
    bound: float,
    bits: int,
    seed: int,
    on_progress: Progress = unseen,
) -> dict[str, Any]:
    """Write a student into the directory `out`; returns what was tried, for the report."""
    train, calibration = parts["train"], parts["calibration"]
    tried: tuple[tuple[float, ...], ...]
    if kind == "mlp":
        tensors, tried = fit_mlp(train, calibration, bound, bits, seed, on_progress)
    else:
        fit = fit_linear(train, calibration, bound, bits, on_progress)
        tensors, tried = {"table": fit.table}, fit.tried
    raw = raw_of(raw_from(kind, tensors, bits), calibration.texts, bits)
    knots = isotonic(raw, calibration.rewards)
    save_file(tensors, out / WEIGHTS)
    card = {
        "format": FORMAT,
        "kind": kind,
        "features": {"version": features.VERSION, "bits": bits},
        "meaning": f"{teacher.meaning} (as a small student of {teacher.id} predicts it)",
        "teacher": teacher.id,
        "rewards": teacher.name,
        "bound": bound,
        "seed": seed,
        "segments": {split: len(part) for split, part in parts.items()},
        "calibration": {"raw": knots.raw.tolist(), "rewards": knots.rewards.tolist()},
    }
    write_json(out / CARD, card)
    return {"tried": tried, "knots": len(knots.raw)}
