"""Data sets of the Hugging Face hub, or local ones, streamed: nothing is downloaded ahead.

Each shard (file) of a data set is a piece; a document's id is name/split/shard:row. No code
of a data set is ever run.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from valence.corpus.piece import Format, Item, Piece
from valence.corpus.rows import document_in, needed, unread
from valence.corpus.tables import rows_in
from valence.errors import CorpusError, MissingFileError, RecipeError, missing_extra
from valence.recipe import CorpusRecipe

_BATCH_ROWS = 64


def _plan(path: str, recipe: CorpusRecipe, piece_bytes: int) -> Iterator[Piece]:
    found = _load(path, recipe.config, recipe.split, recipe.revision)
    if found.column_names is not None:
        needed(found.column_names, recipe, where=path)
    for shard in range(found.num_shards):
        yield Piece(format="dataset", paths=(path,), start=shard, stop=shard + 1)


def _read(piece: Piece, recipe: CorpusRecipe, skip: int) -> Iterator[Item]:
    path = piece.paths[0]
    found = _load(path, recipe.config, recipe.split, recipe.revision)
    stop = found.num_shards if piece.stop is None else piece.stop
    names = [path, *([recipe.config] if recipe.config else []), recipe.split]
    for shard in range(piece.start, stop):
        source = "/".join([*names, str(shard)])
        row = 0
        try:
            for table in _tables(found, shard):
                rows = table.slice(min(skip, table.num_rows))
                row += table.num_rows - rows.num_rows
                skip -= table.num_rows - rows.num_rows
                columns = needed(table.column_names, recipe, where=path)
                for values in rows_in(rows, columns, recipe.text_column):
                    row += 1
                    yield document_in(values, recipe, place=f"{source}:{row}", source=source)
        except RecipeError:
            raise
        except Exception as error:  # whatever its own reader of the format raises
            message = f"{type(error).__name__}: {error}"
            lost = unread("damaged", message, place=f"{source}:{row + 1}", source=source)
            yield from [lost][skip:]
            skip = max(0, skip - 1)


def _tables(found: Any, shard: int) -> Iterator[Any]:
    """Arrow's tables of one shard: images and sounds stay bytes, nothing is decoded."""
    part = found.shard(num_shards=found.num_shards, index=shard)
    yield from part.with_format("arrow").iter(batch_size=_BATCH_ROWS)


@lru_cache(maxsize=4)
def _load(path: str, config: str | None, split: str, revision: str | None) -> Any:
    """A data set as a stream, opened once a process."""
    try:
        import datasets
    except ImportError:
        raise missing_extra("datasets", "datasets") from None
    try:
        if _is_saved(path):
            return _load_saved(path, split)
        return datasets.load_dataset(path, config, split=split, revision=revision, streaming=True)
    except FileNotFoundError as error:
        raise MissingFileError(
            str(error), where=path, fix="Give the name of a data set, or its folder."
        ) from None
    except ValueError as error:
        raise RecipeError(
            str(error), where=path, fix="Set corpus.split and corpus.config to what is there."
        ) from None
    except Exception as error:  # the library's errors are of many families
        raise CorpusError(
            f"cannot be opened ({type(error).__name__}: {error})",
            where=path,
            fix="Check its name, the network, and that you may read it.",
        ) from error


def _is_saved(path: str) -> bool:
    return any((Path(path) / name).is_file() for name in ("state.json", "dataset_dict.json"))


def _load_saved(path: str, split: str) -> Any:
    """What `save_to_disk` wrote: one data set, or a folder of them by split."""
    import datasets

    found = datasets.load_from_disk(path)
    if isinstance(found, datasets.DatasetDict):
        if split not in found:
            raise ValueError(f"there is no split `{split}`; there are {', '.join(found)}")
        found = found[split]
    return found.to_iterable_dataset(num_shards=max(1, len(found.cache_files)))


DATASET = Format(plan=_plan, read=_read)
