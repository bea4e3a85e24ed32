"""What a scorer is: text in, rewards out. Read this file, then write yours beside it.

A scorer sees the whole document, because many rewards need context (an indentation is
only wrong relative to the lines above), and answers once per segment. It never returns a
number where it has none: it returns `Failure`. Whatever it raises becomes a `Failure` too.

A name in the table, `package.module:factory`, or an entry point of the group
`valence.scorers` leads to a factory: called with the options that the user gave, as
keywords, it returns a scorer. A factory's options have types, and are checked against them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from valence.data import Document, Mark, Result, ScorerId, Segment

Ends = npt.NDArray[np.int64]
Rewards = npt.NDArray[np.floating[Any]]
Item = tuple[Document, Sequence[Segment]]
"""One document and the segments that are asked about."""


class Scorer(Protocol):
    """Text to reward; higher is preferred.

    `id` changes whenever the numbers could; `meaning` says in one sentence what the
    numbers are, unit included.
    """

    @property
    def id(self) -> ScorerId: ...

    @property
    def meaning(self) -> str: ...

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """One result per segment, in order."""
        ...


@runtime_checkable
class BatchScorer(Protocol):
    """A scorer that is faster with many documents at once: `batch` of them per call."""

    batch: int

    def score_many(self, items: Sequence[Item]) -> list[list[Result]]:
        """For each document what `score` would return for it alone."""
        ...


@runtime_checkable
class ArrayScorer(Protocol):
    """A scorer fast enough that an object per segment would be most of its time.

    It answers with one array of numbers [segments] per text, given the segments' ends; it
    has a number for every segment.
    """

    batch: int

    def score_arrays(self, texts: Sequence[str], ends: Sequence[Ends]) -> list[Rewards]:
        """One array of rewards per text."""
        ...


@runtime_checkable
class Marker(Protocol):
    """A scorer that can also point at what it objects to."""

    def marks(self, text: str) -> list[Mark]:
        """The ranges that lowered the reward, in text order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a scorer may have besides, each an attribute of that name, and what it means if not.

    `parts` names the numbers in `Score.parts`; `keeps_marks` says that `Score.marks` are to
    be kept; `device` is where it computes; `batch` is how many documents it wants at once, and
    `answers` how it is asked: one by one, many at once, or for arrays.
    """

    parts: tuple[str, ...] = ()
    keeps_marks: bool = False
    device: str = "cpu"
    batch: int = 1
    answers: Literal["one", "many", "arrays"] = "one"


def traits(scorer: Scorer) -> Traits:
    """The scorer's traits, read from its attributes."""
    plain = Traits()
    answers: Literal["one", "many", "arrays"] = "one"
    if isinstance(scorer, ArrayScorer):
        answers = "arrays"
    elif isinstance(scorer, BatchScorer):
        answers = "many"
    return Traits(
        parts=tuple(getattr(scorer, "parts", plain.parts)),
        keeps_marks=bool(getattr(scorer, "keeps_marks", plain.keeps_marks)),
        device=str(getattr(scorer, "device", plain.device)),
        batch=plain.batch if answers == "one" else int(getattr(scorer, "batch", plain.batch)),
        answers=answers,
    )


def flops_of(scorer: Scorer) -> float | None:
    """The floating-point operations that the scorer has counted so far; None if it does not."""
    counted = getattr(scorer, "flops", None)
    return None if counted is None else float(counted)
