"""An annotation in flat arrays, shard by shard: what is counted over millions of segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from valence.annotate.read import Annotation
from valence.errors import StoreError
from valence.store import read_parquet

Integers = npt.NDArray[np.int64]
Rewards = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One shard in arrays over its segments [S] and its documents [D].

    Of segments: `rewards` by scorer, NaN where it failed; `starts` and `ends` in characters;
    `document`, its row. Of documents: `segments`, how many; `readable`; `held_out`; `source`,
    as a place in `sources`. `first` and `first_document` count those of all shards before;
    `texts` and `tables` hold the columns that were asked for.
    """

    shard: str
    first: int
    first_document: int
    rewards: dict[str, Rewards]
    starts: Integers
    ends: Integers
    document: Integers
    segments: Integers
    readable: Flags
    held_out: Flags
    source: Integers
    sources: tuple[str, ...]
    texts: pa.Table
    tables: dict[str, pa.Table]


def blocks(
    annotation: Annotation,
    names: Sequence[str],
    *,
    of_documents: Sequence[str] = (),
    of_rewards: Sequence[str] = (),
) -> Iterator[Block]:
    """The shards in corpus order, with the rewards of the scorers named.

    Only the columns that are needed are read, besides those asked for. Raises
    `MissingFileError` for rewards that are not there, and `StoreError` where rewards and
    documents do not belong together.
    """
    for name in names:
        annotation.rewards(name)
    first = first_document = 0
    columns = ["held_out", "source", "ends", "failure", *of_documents]
    for shard in annotation.shards:
        texts = read_parquet(annotation.path / "documents" / f"{shard}.parquet", columns)
        tables = {}
        for name in names:
            path = annotation.path / "rewards" / name / f"{shard}.parquet"
            tables[name] = read_parquet(path, ["rewards", *of_rewards])
        block = _block(shard, first, first_document, texts, tables)
        yield block
        first += len(block.ends)
        first_document += len(block.segments)


def _block(
    shard: str, first: int, first_document: int, texts: pa.Table, tables: dict[str, pa.Table]
) -> Block:
    ends, segments = flat(texts["ends"])
    document = np.repeat(np.arange(len(segments)), segments)
    starts = np.concatenate(([0], ends[:-1])) if len(ends) else ends
    begins = np.cumsum(segments) - segments
    starts[begins[segments > 0]] = 0
    rewards = {}
    for name, table in tables.items():
        values, counts = flat(table["rewards"])
        if not np.array_equal(counts, segments):
            raise StoreError(
                f"the rewards `{name}` are not about the same segments as the documents",
                where=f"shard {shard}",
                fix=f"Remove rewards/{name} and annotate again.",
            )
        rewards[name] = values.astype(np.float32)
    sources: Any = pc.dictionary_encode(texts["source"].combine_chunks())
    return Block(
        shard=shard,
        first=first,
        first_document=first_document,
        rewards=rewards,
        starts=starts,
        ends=ends,
        document=document,
        segments=segments,
        readable=pc.is_null(texts["failure"]).to_numpy(),
        held_out=texts["held_out"].to_numpy(),
        source=sources.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        sources=tuple(str(source) for source in sources.dictionary.to_pylist()),
        texts=texts,
        tables=tables,
    )


def flat(column: pa.ChunkedArray[Any]) -> tuple[npt.NDArray[Any], Integers]:
    """The values of a column of lists, one list after the other, and each list's length.

    A null among floating values is NaN; a null list is an empty one.
    """
    values: Any = pc.list_flatten(column)
    if pa.types.is_floating(values.type):
        # Loosely typed: the stubs of Arrow do not know a scalar of a type found at run time.
        nan: Any = pa.scalar(float("nan"), values.type)
        values = pc.fill_null(values, nan)
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    # A copy: the caller may write into it, and Arrow's memory is not for that.
    return np.array(values.to_numpy()), lengths.to_numpy().astype(np.int64)


def scattered(indices: Integers, seed: int) -> npt.NDArray[np.uint64]:
    """A pseudo-random 64-bit number for each index and seed, always the same.

    Source: SplitMix64 (Steele, Lea and Flood 2014).
    """
    with np.errstate(over="ignore"):
        mixed = indices.astype(np.uint64) + np.uint64(seed % 2**32) * np.uint64(0xD1342543DE82EF95)
        mixed += np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)
