"""Arrow's tables as rows: values of Python that do not depend on what else is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def rows_in(
    batch: pa.RecordBatch | pa.Table, columns: list[str], text_column: str
) -> Iterator[dict[str, object]]:
    """The rows of a batch, by column name; the text in bytes, if it is a string.

    Text stays in bytes so that one row that is not UTF-8 does not take others with it.
    """
    cells = [_cells(batch.column(name), as_bytes=name == text_column) for name in columns]
    for values in zip(*cells, strict=True):
        yield dict(zip(columns, values, strict=True))


def _cells(column: Any, *, as_bytes: bool) -> list[object]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if _is_string(kind) and as_bytes:
        return list(column.cast(pa.large_binary()).to_pylist())
    if pa.types.is_temporal(kind):
        column = _temporal_as_text(column)
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):
        return [_cell(cell) for cell in column]


def _cell(cell: Any) -> object:
    try:
        found: object = cell.as_py()
    except UnicodeDecodeError:
        if not _is_string(cell.type):
            return f"not readable: {cell.type}"
        return bytes(cell.as_buffer()).decode("utf-8", "backslashreplace")
    except (ValueError, OverflowError, pa.ArrowException):
        return f"not readable: {cell.type}"
    return found


def _temporal_as_text(column: Any) -> Any:
    """Dates and times in ISO 8601, to their own precision: pandas would change how.

    A moment in a time zone is told in UTC, which every machine knows. A duration stays a
    number, in the unit of its type.
    """
    kind = column.type
    if pa.types.is_duration(kind):
        return column.cast(pa.int64())
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        column = column.cast(pa.timestamp(kind.unit, "UTC"))
    return pc.replace_substring(column.cast(pa.string()), " ", "T", max_replacements=1)


def _is_string(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
