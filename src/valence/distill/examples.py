"""What a student learns from: segments with their teacher's rewards, split by document."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from valence.annotate.read import Annotated, document_in
from valence.distill.teacher import Teacher
from valence.errors import CorpusError
from valence.store import read_parquet

Split = Literal["train", "calibration", "held_out"]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

Ranges = tuple[tuple[int, int], ...]

CALIBRATION_SHARE = 0.1
"""Of the documents that are not held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Segments of one split.

    `texts` [N] are UTF-8; `rewards` [N] the teacher's; `documents` [N] a number for each
    document; `weights` [N] say how many segments each stands for (1 without sampling).
    `marks` [N] are the ranges of bytes that the teacher pointed at; None where it never does.
    """

    texts: list[bytes]
    rewards: Floats
    documents: Integers
    weights: Floats
    marks: list[Ranges | None]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The teacher's rewards of one split in corpus order, failures left out and counted."""

    rewards: Floats
    failures: int


def split_of(document: str, held_out: bool, seed: int) -> Split:
    """The split of a document, by a seeded hash of its id."""
    if held_out:
        return "held_out"
    hashed = hashlib.sha256(f"calibration:{seed}:{document}".encode()).digest()
    share = int.from_bytes(hashed[:8], "big") / 2**64
    return "calibration" if share < CALIBRATION_SHARE else "train"


def survey(teacher: Teacher, seed: int) -> dict[Split, Found]:
    """The rewards of every split, without the texts.

    Raises `CorpusError` where a split has no scored segment.
    """
    rewards: dict[Split, list[Floats]] = {"train": [], "calibration": [], "held_out": []}
    failures: dict[Split, int] = dict.fromkeys(rewards, 0)
    for split, values in _rewards(teacher, seed):
        scored = values[~np.isnan(values)]
        rewards[split].append(scored)
        failures[split] += len(values) - len(scored)
    found = {
        split: Found(
            rewards=np.concatenate([*rewards[split], np.zeros(0)]),
            failures=failures[split],
        )
        for split in rewards
    }
    for split, part in found.items():
        if len(part.rewards) == 0:
            raise CorpusError(
                f"no scored segment for `{split}`",
                where=", ".join(str(annotation.path) for annotation in teacher.annotations),
                fix="A student needs some dozens of documents, some of them held out: annotate"
                " more, or with a larger corpus.valid_share.",
            )
    return found


def _rewards(teacher: Teacher, seed: int) -> Iterator[tuple[Split, Floats]]:
    """Split and rewards of every document that has any, in corpus order."""
    for annotation in teacher.annotations:
        for shard in annotation.shards:
            about = read_parquet(
                annotation.path / "documents" / f"{shard}.parquet", ["id", "held_out", "failure"]
            )
            scored = read_parquet(
                annotation.path / "rewards" / teacher.name / f"{shard}.parquet", ["rewards"]
            )
            for row, values in zip(about.to_pylist(), scored["rewards"], strict=True):
                if row["failure"] is None:
                    found = values.values.to_numpy(zero_copy_only=False).astype(np.float64)
                    yield split_of(row["id"], row["held_out"], seed), found


def choose(
    found: Found, bound: float, most: int, seed: int, *, enrich: bool
) -> tuple[Integers, Floats]:
    """Which of the segments to take, ascending, and how many each stands for.

    At most `most`; with `enrich` up to half of them from below the bound, so that a rare band
    is seen often enough, with weights that make up for it. Without it all weights are alike.
    """
    rng = np.random.default_rng([seed, 1])
    total = len(found.rewards)
    if total <= most:
        return np.arange(total), np.ones(total)
    if not enrich:
        return np.sort(rng.choice(total, most, replace=False)), np.ones(most)
    lower = np.flatnonzero(found.rewards < bound)
    upper = np.flatnonzero(found.rewards >= bound)
    from_lower = min(len(lower), max(most // 2, most - len(upper)))
    from_upper = min(len(upper), most - from_lower)
    taken, weights = [], []
    for pool, count in ((lower, from_lower), (upper, from_upper)):
        if count:
            taken.append(rng.choice(pool, count, replace=False))
            weights.append(np.full(count, len(pool) / count))
    order = np.argsort(np.concatenate(taken))
    return np.concatenate(taken)[order], np.concatenate(weights)[order]


def gather(
    teacher: Teacher,
    seed: int,
    chosen: dict[Split, tuple[Integers, Floats]],
) -> dict[Split, Examples]:
    """The chosen segments of every split, with their texts; a second pass over the text."""
    kept: dict[Split, list[_Segment]] = {split: [] for split in chosen}
    seen: dict[Split, int] = dict.fromkeys(chosen, 0)
    wanted = {split: set(indices.tolist()) for split, (indices, _) in chosen.items()}
    for number, (document, marks) in enumerate(_documents(teacher)):
        split = split_of(document.document.id, document.held_out, seed)
        for segment in _segments(number, document, marks):
            if seen[split] in wanted[split]:
                kept[split].append(segment)
            seen[split] += 1
    return {
        split: Examples(
            texts=[segment.text for segment in kept[split]],
            rewards=np.array([segment.reward for segment in kept[split]]),
            documents=np.array([segment.document for segment in kept[split]], dtype=np.int64),
            weights=weights,
            marks=[segment.marks for segment in kept[split]],
        )
        for split, (_, weights) in chosen.items()
    }


@dataclass(frozen=True, slots=True)
class _Segment:
    document: int
    text: bytes
    reward: float
    marks: Ranges | None


def _documents(teacher: Teacher) -> Iterator[tuple[Annotated, Integers | None]]:
    """Every document with text, and the ranges of characters [M, 2] that are marked in it."""
    for annotation in teacher.annotations:
        for texts, scores in annotation.tables(teacher.name):
            has_marks = "marks" in scores.column_names
            for row, scored in zip(texts.to_pylist(), scores.to_pylist(), strict=True):
                if row["failure"] is not None:
                    continue
                document = Annotated(
                    document=document_in(row),
                    ends=np.asarray(row["ends"], dtype=np.int64),
                    rewards=np.array(scored["rewards"], dtype=np.float32),  # None becomes NaN.
                    held_out=row["held_out"],
                )
                ranges = [(m["start"], m["end"]) for m in scored["marks"]] if has_marks else None
                yield (
                    document,
                    None if ranges is None else np.array(ranges, dtype=np.int64).reshape(-1, 2),
                )


def _segments(number: int, document: Annotated, marks: Integers | None) -> Iterator[_Segment]:
    """The document's segments that have a reward, in order."""
    text, start = document.document.text, 0
    for end, reward in zip(document.ends.tolist(), document.rewards.tolist(), strict=True):
        if not math.isnan(reward):
            piece = text[start:end]
            yield _Segment(
                number,
                piece.encode("utf-8", "surrogatepass"),
                reward,
                None if marks is None else _inside(piece, marks, start),
            )
        start = end


def _inside(piece: str, marks: Integers, start: int) -> Ranges:
    """The marks in a piece of the text that starts there, as ranges of the piece's bytes."""
    touching = marks[(marks[:, 0] < start + len(piece)) & (marks[:, 1] > start)] - start
    return tuple(
        (_bytes_before(piece, low), _bytes_before(piece, high))
        for low, high in touching.clip(0, len(piece)).tolist()
    )


def _bytes_before(piece: str, at: int) -> int:
    return len(piece[:at].encode("utf-8", "surrogatepass"))
