"""Annotate a corpus: the text into shards once, then each scorer's rewards beside it.

On disk, in one directory:

    documents/00000.parquet        id, source, held_out, text, ends (of segments)
    documents/manifest.json        counts, what was dropped and why
    rewards/<scorer>/00000.parquet id, rewards (null where it failed), failures
    rewards/<scorer>/manifest.json scorer id, counts, failures by kind, the ledger

Rewards of a second scorer are new files; neither the text nor the first is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from valence.annotate.local import ShardJob, run_jobs
from valence.corpus.readers import is_held_out
from valence.corpus.segment import Segmenter
from valence.data import Document, Failure
from valence.errors import CorpusError
from valence.score.protocol import Scorer
from valence.store import digest_files, read_json, read_parquet, write_json, write_parquet

SHARD_CHARS = 1_000_000
"""Characters per shard: small enough that a killed run loses seconds."""

COLUMNS: dict[str, pa.DataType] = {
    "id": pa.string(),
    "source": pa.string(),
    "held_out": pa.bool_(),
    "text": pa.large_string(),
    "ends": pa.list_(pa.int64()),
}
_COLUMNS: dict[str, pa.DataType] = {
    "id": pa.string(),
    "source": pa.string(),
    "held_out": pa.bool_(),
    "text": pa.large_string(),
    "ends": pa.list_(pa.int64()),
}
DOCUMENTS = pa.schema(_COLUMNS)

Progress = Callable[[int, int], None]
"""Called with (done, total) in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """One document with its rewards [S]; NaN where the scorer failed for a segment."""

    document: Document
    ends: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]


def write_documents(
    items: Iterable[Document | Failure],
    segmenter: Segmenter,
    directory: Path,
    *,
    max_chars: int | None,
    held_out_share: float,
    seed: int,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Write documents with their segment ends into shards; returns the manifest.

    Documents come in the order given, which is also the order of training; after
    `max_chars` characters no more are taken. Raises `CorpusError` if a split is empty.
    """
    counts = dict.fromkeys(("documents", "held_out", "segments", "chars", "bytes"), 0)
    dropped: dict[str, int] = {}
    examples: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    shards: list[Path] = []
    pending = 0

    def flush() -> None:
        nonlocal pending
        path = directory / f"{len(shards):05d}.parquet"
        write_parquet(path, pa.Table.from_pylist(rows, schema=DOCUMENTS))
        shards.append(path)
        rows.clear()
        pending = 0

    for item in items:
        if isinstance(item, Failure):
            dropped[item.kind] = dropped.get(item.kind, 0) + 1
            examples.setdefault(item.kind, item.message)
            continue
        if max_chars is not None and counts["chars"] >= max_chars:
            break
        held_out = is_held_out(item.id, share=held_out_share, seed=seed)
        ends = segmenter(item.text)
        rows.append(
            {
                "id": item.id,
                "source": item.source,
                "held_out": held_out,
                "text": item.text,
                "ends": ends,
            }
        )
        counts["documents"] += 1
        counts["held_out"] += held_out
        counts["segments"] += len(ends)
        counts["chars"] += len(item.text)
        counts["bytes"] += len(item.text.encode())
        pending += len(item.text)
        if pending >= SHARD_CHARS:
            flush()
        if on_progress is not None:
            on_progress(counts["chars"], max_chars or counts["chars"])
    if rows:
        flush()
    _check_splits(counts)
    manifest = {
        **counts,
        "dropped": dropped,
        "dropped_examples": examples,
        "shards": len(shards),
        "digest": digest_files(shards),
    }
    write_json(directory / "manifest.json", manifest)
    return manifest


def _check_splits(counts: dict[str, int]) -> None:
    held_out, documents = counts["held_out"], counts["documents"]
    if documents == 0 or held_out == 0 or held_out == documents:
        raise CorpusError(
            f"{documents} documents, {held_out} of them held out: training and measuring"
            " each need at least one",
            where="corpus",
            fix="Give more documents, or another corpus.valid_share.",
        )


def annotate(
    documents: Path,
    directory: Path,
    scorer: Scorer,
    scorer_name: str,
    *,
    workers: int,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Score every document under `documents` into `directory`; returns the manifest.

    Shards that are there already are kept, so a killed run continues. The bytes written
    do not depend on the number of workers. Raises `CorpusError` if nothing could be
    scored.
    """
    manifest = read_json(documents / "manifest.json")
    jobs = [
        ShardJob(
            scorer_name=scorer_name,
            source=documents / f"{index:05d}.parquet",
            target=directory / f"{index:05d}.parquet",
        )
        for index in range(manifest["shards"])
    ]
    ledger = run_jobs(jobs, scorer, workers=workers, on_progress=on_progress)
    if ledger.scored_segments == 0:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in ledger.failures.items())
        raise CorpusError(
            f"every document was dropped: {scorer_name} could not score one ({kinds})",
            where="score",
            fix="Choose a scorer that fits this text.",
        )
    result = {
        "scorer": {
            "name": scorer.id.name,
            "version": scorer.id.version,
            "digest": scorer.id.digest,
            "meaning": scorer.meaning,
        },
        "calls": ledger.calls,
        "segments": ledger.segments,
        "scored_segments": ledger.scored_segments,
        "failed_documents": ledger.failed_documents,
        "failures": ledger.failures,
        "bytes": manifest["bytes"],
        "core_seconds": round(ledger.core_seconds, 3),
        "shards": len(jobs),
        "digest": digest_files([job.target for job in jobs]),
    }
    write_json(directory / "manifest.json", result)
    return result


def read_annotated(
    documents: Path, rewards: Path, *, held_out: bool | None = None
) -> Iterator[Annotated]:
    """Documents with their rewards, in corpus order; one split, or both for None."""
    for index in range(read_json(documents / "manifest.json")["shards"]):
        name = f"{index:05d}.parquet"
        texts = read_parquet(documents / name)
        scores = read_parquet(rewards / name, ["rewards"])["rewards"]
        for row, scored in zip(texts.to_pylist(), scores, strict=True):
            if held_out is not None and row["held_out"] != held_out:
                continue
            values = scored.values.to_numpy(zero_copy_only=False)
            yield Annotated(
                document=Document(id=row["id"], text=row["text"], source=row["source"]),
                ends=np.asarray(row["ends"], dtype=np.int64),
                rewards=values.astype(np.float32),
            )
