"""Scorers asked for rewards, whatever they do: what they raise or spend becomes a Failure."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import cast

import numpy as np

from valence.annotate.shards import Row
from valence.data import Document, Failure, Result, Score, Segment, tile
from valence.errors import NotFiniteError, ScorerError, ValenceError
from valence.score.protocol import ArrayScorer, BatchScorer, Item, Scorer, Traits

Ends = Sequence[int]


class TimedOut(BaseException):
    """A scorer took too long. Not an `Exception`, so that no scorer swallows it."""


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raises `TimedOut` inside the block after so many seconds.

    Only in a process's main thread, where signals arrive; elsewhere there is no limit. Code
    that never returns to the interpreter is not interrupted.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimedOut

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch, if a scorer has loaded it, computes in one thread inside the block.

    With more, the last bits of a sum would depend on how many there are.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rows_of(
    scorer: Scorer,
    documents: Sequence[tuple[Document, Ends]],
    known: Traits,
    *,
    timeout: float | None,
) -> tuple[list[Row], int]:
    """The rewards of documents, in order, and in how many calls they were made.

    Where a call for many documents goes wrong, each of them is asked about alone.
    """
    if not documents:
        return [], 0
    if known.answers == "arrays" or (known.answers == "many" and len(documents) > 1):
        together = _together(scorer, documents, known, timeout)
        if together is not None:
            return together, 1
    rows = []
    for document, ends in documents:
        results = score_document(scorer, document, tile(ends), timeout=timeout)
        rows.append(Row.of(document.id, results, known.parts))
    return rows, len(documents)


def _together(
    scorer: Scorer,
    documents: Sequence[tuple[Document, Ends]],
    known: Traits,
    timeout: float | None,
) -> list[Row] | None:
    """The rows from one call for all documents; None if it raised or took too long.

    What the scorer raises, of whatever family, never ends the run here; an answer of another
    shape than was asked for does, with `ScorerError`.
    """
    arrays_wanted = known.answers == "arrays"
    # An object per segment would be most of the time of a scorer that answers with arrays.
    items: list[Item] = [] if arrays_wanted else [(d, tile(ends)) for d, ends in documents]
    try:
        with time_limit(None if timeout is None else timeout * len(documents)):
            if arrays_wanted:
                arrays = cast(ArrayScorer, scorer).score_arrays(
                    [document.text for document, _ in documents],
                    [np.asarray(ends, dtype=np.int64) for _, ends in documents],
                )
            else:
                many = cast(BatchScorer, scorer).score_many(items)
    except (Exception, TimedOut):
        return None
    if arrays_wanted:
        _check_count(scorer, len(arrays), len(documents), "documents")
        for (document, ends), array in zip(documents, arrays, strict=True):
            _check_count(scorer, len(array), len(ends), document.id)
        pairs = zip(documents, arrays, strict=True)
        return [Row.of_array(document.id, array) for (document, _), array in pairs]
    _check_count(scorer, len(many), len(items), "documents")
    return [
        Row.of(document.id, _checked(scorer, results, document, segments), known.parts)
        for (document, segments), results in zip(items, many, strict=True)
    ]


def score_document(
    scorer: Scorer,
    document: Document,
    segments: Sequence[Segment],
    *,
    timeout: float | None = None,
) -> list[Result]:
    """One result per segment whatever the scorer does: what it raises becomes a Failure."""
    try:
        with time_limit(timeout):
            results = list(scorer.score(document, segments))
    except TimedOut:
        failure = Failure(
            stage="score",
            kind="time-out",
            message=f"{document.id}: no answer after {timeout:g} seconds",
        )
        return [failure] * len(segments)
    except Exception as error:  # A scorer is foreign code; one document must not end the run.
        kind = "not-finite" if isinstance(error, NotFiniteError) else type(error).__name__
        message = error.what if isinstance(error, ValenceError) else str(error)
        failure = Failure(stage="score", kind=kind, message=f"{document.id}: {message}")
        return [failure] * len(segments)
    return _checked(scorer, results, document, segments)


def _checked(
    scorer: Scorer, results: Sequence[Result], document: Document, segments: Sequence[Segment]
) -> list[Result]:
    """The results, if they keep the contract; raises `ScorerError` if they do not."""
    if not all(isinstance(result, Score | Failure) for result in results):
        raise ScorerError(
            f"{scorer.id.name} gave something else than Score and Failure",
            where=document.id,
            fix="A scorer answers with a Score or a Failure per segment.",
        )
    _check_count(scorer, len(results), len(segments), document.id)
    return list(results)


def _check_count(scorer: Scorer, found: int, asked: int, where: str) -> None:
    if found != asked:
        raise ScorerError(
            f"{scorer.id.name} gave {found} results for {asked}",
            where=where,
            fix="A scorer answers once per segment.",
        )
