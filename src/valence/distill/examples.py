"""What a student learns from: segments with their teacher's rewards, split by document."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from valence.distill.teacher import Teacher
from valence.errors import CorpusError
from valence.store import read_parquet

Split = Literal["train", "calibration", "held_out"]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

CALIBRATION_SHARE = 0.1
"""Of the documents that are not held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Segments of one split.

    `texts` [N] are UTF-8; `rewards` [N] the teacher's; `documents` [N] a number for each
    document; `weights` [N] say how many segments each stands for (1 without sampling).
    """

    texts: list[bytes]
    rewards: Floats
    documents: Integers
    weights: Floats

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The teacher's rewards of one split in corpus order, failures left out and counted."""

    rewards: Floats
    documents: Integers
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
    documents: dict[Split, list[Integers]] = {"train": [], "calibration": [], "held_out": []}
    failures: dict[Split, int] = dict.fromkeys(rewards, 0)
    for number, split, values in _rewards(teacher, seed):
        scored = values[~np.isnan(values)]
        rewards[split].append(scored)
        documents[split].append(np.full(len(scored), number, dtype=np.int64))
        failures[split] += len(values) - len(scored)
    found = {
        split: Found(
            rewards=np.concatenate([*rewards[split], np.zeros(0)]),
            documents=np.concatenate([*documents[split], np.zeros(0, dtype=np.int64)]),
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


def _rewards(teacher: Teacher, seed: int) -> Iterator[tuple[int, Split, Floats]]:
    """Number, split and rewards of every document that has any, in corpus order."""
    number = 0
    for annotation in teacher.annotations:
        for shard in annotation.shards:
            about = read_parquet(
                annotation.path / "documents" / f"{shard}.parquet", ["id", "held_out", "failure"]
            )
            scored = read_parquet(
                annotation.path / "rewards" / teacher.name / f"{shard}.parquet", ["rewards"]
            )
            for row, values in zip(about.to_pylist(), scored["rewards"], strict=True):
                number += 1
                if row["failure"] is None:
                    found = values.values.to_numpy(zero_copy_only=False).astype(np.float64)
                    yield number, split_of(row["id"], row["held_out"], seed), found


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
    texts: dict[Split, list[bytes]] = {split: [] for split in chosen}
    kept: dict[Split, list[tuple[float, int]]] = {split: [] for split in chosen}
    seen: dict[Split, int] = dict.fromkeys(chosen, 0)
    wanted = {split: set(indices.tolist()) for split, (indices, _) in chosen.items()}
    number = 0
    for annotation in teacher.annotations:
        for document in annotation.read(teacher.name):
            number += 1
            split = split_of(document.document.id, document.held_out, seed)
            start, at = 0, seen[split]
            for end, reward in zip(document.ends.tolist(), document.rewards.tolist(), strict=True):
                if reward == reward:  # not NaN
                    if at in wanted[split]:
                        piece = document.document.text[start:end]
                        texts[split].append(piece.encode("utf-8", "surrogatepass"))
                        kept[split].append((reward, number))
                    at += 1
                start = end
            seen[split] = at
    return {
        split: Examples(
            texts=texts[split],
            rewards=np.array([reward for reward, _ in kept[split]]),
            documents=np.array([document for _, document in kept[split]], dtype=np.int64),
            weights=weights,
        )
        for split, (_, weights) in chosen.items()
    }
