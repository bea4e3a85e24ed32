"""The columns of a shard: documents as they were read, and rewards beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from valence.data import Document, Failure, Mark, Result, Score, Unread

WHOLE_DOCUMENT = -1
"""Index in a failure row that stands for all segments of the document."""

LARGEST = 3.4028234663852886e38
"""The largest 32-bit number."""

_FAILURE: dict[str, pa.DataType] = {
    "stage": pa.string(),
    "kind": pa.string(),
    "message": pa.string(),
}
_DOCUMENT: dict[str, pa.DataType] = {
    "id": pa.string(),
    "source": pa.string(),
    "held_out": pa.bool_(),
    "text": pa.large_string(),
    "ends": pa.list_(pa.int64()),
    "columns": pa.large_string(),
    "failure": pa.struct(list(_FAILURE.items())),
}
DOCUMENTS = pa.schema(list(_DOCUMENT.items()))
_FAILED: dict[str, pa.DataType] = {"segment": pa.int64(), **_FAILURE}
FAILURES = pa.list_(pa.struct(list(_FAILED.items())))
_MARK: dict[str, pa.DataType] = {
    "start": pa.int64(),
    "end": pa.int64(),
    "code": pa.string(),
    "message": pa.string(),
}
MARKS = pa.list_(pa.struct(list(_MARK.items())))

Rewards = npt.NDArray[np.float32]


def document_row(item: Document | Unread, ends: Sequence[int], *, held_out: bool) -> dict[str, Any]:
    """One row of the documents' shard."""
    row: dict[str, Any] = {"id": item.id, "source": item.source, "held_out": held_out}
    if isinstance(item, Unread):
        return row | {"text": None, "ends": [], "columns": "{}", "failure": _failure(item.failure)}
    return row | {"text": item.text, "ends": ends, "columns": _json(item.columns), "failure": None}


def documents_table(rows: list[dict[str, Any]]) -> pa.Table:
    """A documents' shard."""
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


@dataclass(slots=True, kw_only=True)
class Row:
    """One document's rewards [S], NaN where there is none, and what else its scorer gave."""

    id: str
    rewards: Rewards
    failures: list[tuple[int, Failure]] = field(default_factory=list)
    parts: Sequence[Sequence[float | None]] = ()
    marks: Sequence[Mark] = ()

    @classmethod
    def of(cls, document_id: str, results: Sequence[Result], parts: Sequence[str]) -> Row:
        """The row of one result per segment. What does not fit 32 bits becomes a failure."""
        # One pass without intermediate lists: with a fast scorer, this is much of the time.
        values: list[float] = []
        failures: list[tuple[int, Failure]] = []
        marks: list[Mark] = []
        for at, result in enumerate(results):
            if isinstance(result, Score) and -LARGEST <= result.value <= LARGEST:
                values.append(result.value)
                if result.marks:
                    marks.extend(result.marks)
            else:
                values.append(np.nan)
                failures.append((at, _failure_of(result)))
        return cls(
            id=document_id,
            rewards=np.array(values, dtype=np.float32),
            failures=failures,
            parts=[[_part(result, at) for result in results] for at in range(len(parts))],
            marks=marks,
        )

    @classmethod
    def of_array(cls, document_id: str, rewards: npt.NDArray[np.floating[Any]]) -> Row:
        """The row of one number per segment; what is not finite becomes a failure."""
        with np.errstate(over="ignore"):
            small = rewards.astype(np.float32)
        wrong = np.flatnonzero(~np.isfinite(small))
        small[wrong] = np.nan
        failures = [
            (
                int(at),
                Failure(
                    stage="score",
                    kind="out-of-range" if np.isfinite(rewards[at]) else "not-finite",
                    message=f"{rewards[at]} is no finite 32-bit number",
                ),
            )
            for at in wrong
        ]
        return cls(id=document_id, rewards=small, failures=failures)


def rewards_table(
    rows: Sequence[Row], *, parts: Sequence[str] = (), keeps_marks: bool = False
) -> pa.Table:
    """A rewards' shard."""
    ends = np.cumsum([0, *(len(row.rewards) for row in rows)], dtype=np.int32)
    flat = np.concatenate([row.rewards for row in rows]) if rows else np.zeros(0, np.float32)
    values = pa.array(flat, mask=np.isnan(flat))
    columns: dict[str, pa.Array[Any]] = {
        "id": pa.array([row.id for row in rows], pa.string()),
        "rewards": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values),
        "failures": pa.array([_failures(row) for row in rows], FAILURES),
    }
    for at, name in enumerate(parts):
        listed = [row.parts[at] if row.parts else [None] * len(row.rewards) for row in rows]
        columns[f"part.{name}"] = pa.array(listed, pa.list_(pa.float32()))
    if keeps_marks:
        columns["marks"] = pa.array([[_mark(mark) for mark in row.marks] for row in rows], MARKS)
    return pa.table(columns)


def _failure_of(result: Result) -> Failure:
    """The failure, or that the reward is too large for the column it would be kept in."""
    if isinstance(result, Failure):
        return result
    message = f"{result.value} does not fit a 32-bit number"
    return Failure(stage="score", kind="out-of-range", message=message)


def _part(result: Result, at: int) -> float | None:
    return result.parts[at] if isinstance(result, Score) and result.parts else None


def _failures(row: Row) -> list[dict[str, Any]]:
    failed = row.failures
    if failed and len(failed) == len(row.rewards) and len({failure for _, failure in failed}) == 1:
        failed = [(WHOLE_DOCUMENT, failed[0][1])]
    return [{"segment": at, **_failure(failure)} for at, failure in failed]


def _failure(failure: Failure) -> dict[str, str]:
    return {
        "stage": failure.stage,
        "kind": failure.kind,
        "message": failure.message.encode("utf-8", "backslashreplace").decode(),
    }


def _mark(mark: Mark) -> dict[str, Any]:
    return {"start": mark.start, "end": mark.end, "code": mark.code, "message": mark.message}


def _json(columns: Any) -> str:
    return json.dumps(columns, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
