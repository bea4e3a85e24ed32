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
_BUFFER = 2**20
# Besides its own errors, Arrow raises the builtins for a file whose parts contradict
# each other.
_BROKEN = (OSError, ValueError, OverflowError, pa.ArrowException)


def _plan(path: str, recipe: CorpusRecipe, piece_bytes: int) -> Iterator[Piece]:
    whole = Piece(format="parquet", paths=(path,), size=size_on_disk(path))
    try:
        with pq.ParquetFile(path) as file:
            names, metadata = file.schema_arrow.names, file.metadata
    except _BROKEN:
        yield whole  # reading it says why
        return
    needed(names, recipe, where=shown(path))
    start, first, rows, size = 0, 1, 0, 0
    for group in range(metadata.num_row_groups):
        found = metadata.row_group(group)
        rows += found.num_rows
        size += sum(found.column(c).total_compressed_size for c in range(found.num_columns))
        if size >= piece_bytes or group + 1 == metadata.num_row_groups:
            yield Piece(
                format="parquet",
                paths=(path,),
                start=start,
                stop=group + 1,
                first=first,
                size=size,
            )
            start, first, size = group + 1, first + rows, 0
            rows = 0


def _read(piece: Piece, recipe: CorpusRecipe, skip: int) -> Iterator[Item]:
    path = piece.paths[0]
    source = shown(path)
    try:
        file = pq.ParquetFile(path, buffer_size=_BUFFER)
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
