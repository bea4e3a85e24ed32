"""Parquet files: cut at row groups, read in small batches, only the columns that are needed."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from valence.corpus.piece import Format, Item, Piece, shown, size_on_disk
from valence.corpus.rows import document_in, needed, unread
from valence.corpus.streams import broken
from valence.corpus.tables import rows_in
from valence.recipe import CorpusRecipe

_BATCH_BYTES = 2**23
_MOST_ROWS = 1024
# A buffer, and none ahead: else Arrow holds a whole row group in memory.
_BUFFER = 2**20
# Besides its own errors, Arrow raises the builtins for a file whose parts contradict
# each other.
_BROKEN = (OSError, ValueError, OverflowError, pa.ArrowException)


def _plan(path: str, recipe: CorpusRecipe, piece_bytes: int) -> Iterator[Piece]:
    on_disk = size_on_disk(path)
    try:
        with _opened(path) as file:
            names = file.schema_arrow.names
            # Of the groups alone: to ask a damaged footer for its columns ends the process
            # (pyarrow 26 lets the C++ error through).
            groups = [file.metadata.row_group(g) for g in range(file.num_row_groups)]
    except _BROKEN:
        yield Piece(format="parquet", paths=(path,), size=on_disk)  # reading it says why
        return
    needed(names, recipe, where=shown(path))
    whole = max(1, sum(group.total_byte_size for group in groups))
    start, first, rows, size = 0, 1, 0, 0
    for stop, group in enumerate(groups, 1):
        rows += group.num_rows
        size += on_disk * group.total_byte_size // whole
        if size >= piece_bytes or stop == len(groups):
            yield Piece(
                format="parquet", paths=(path,), start=start, stop=stop, first=first, size=size
            )
            start, first, rows, size = stop, first + rows, 0, 0


def _opened(path: str) -> pq.ParquetFile:
    """The file, its footer found whole; raises one of `_BROKEN`."""
    file = pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
    rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    if sum(rows) != file.metadata.num_rows or min(rows, default=0) < 0:
        file.close()
        raise ValueError("its row groups have not as many rows as the file says")
    return file


def _read(piece: Piece, recipe: CorpusRecipe, skip: int) -> Iterator[Item]:
    path = piece.paths[0]
    source = shown(path)
    try:
        file = _opened(path)
    except _BROKEN as error:
        yield from [broken(error, place=source, source=source)][skip:]
        return
    with file:
        columns = needed(file.schema_arrow.names, recipe, where=source)
        first = piece.first
        stop = file.num_row_groups if piece.stop is None else piece.stop
        for group in range(piece.start, stop):
            rows = file.metadata.row_group(group).num_rows
            if skip < rows:
                yield from _read_group(file, group, columns, recipe, first, skip, source)
            first, skip = first + rows, max(0, skip - rows)


def _read_group(
    file: pq.ParquetFile,
    group: int,
    columns: list[str],
    recipe: CorpusRecipe,
    first: int,
    skip: int,
    source: str,
) -> Iterator[Item]:
    """As many items as the group has rows: those that damage takes are `Unread`, each."""
    metadata = file.metadata.row_group(group)
    batch_rows = _BATCH_BYTES * metadata.num_rows // max(1, metadata.total_byte_size)
    batches = file.iter_batches(
        batch_size=min(max(1, batch_rows), _MOST_ROWS),
        row_groups=[group],
        columns=columns,
        use_threads=False,
    )
    done = 0
    reason = "fewer rows than the file says"
    while done < metadata.num_rows:
        try:
            batch = next(batches, None)
        except _BROKEN as error:
            batch, reason = None, str(error)
        if batch is None:
            break
        start = min(max(0, skip - done), batch.num_rows)
        for number, row in enumerate(
            rows_in(batch.slice(start), columns, recipe.text_column), first + done + start
        ):
            yield document_in(row, recipe, place=f"{source}:{number}", source=source)
        done += batch.num_rows
    for number in range(first + max(done, skip), first + metadata.num_rows):
        yield unread("damaged", reason, place=f"{source}:{number}", source=source)


PARQUET = Format(plan=_plan, read=_read)
