"""What one job does, in whatever process: a piece of the corpus into shards of text, or one
shard of text into its rewards. Both write whole files or nothing, and keep a ledger beside
each, so that whoever comes later goes on where they stopped.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from valence.annotate.judge import one_thread, rows_of
from valence.annotate.ledger import RewardLedger, TextLedger, count_failure, plain, total
from valence.annotate.read import document_in
from valence.annotate.shards import Row, document_row, documents_table, rewards_table
from valence.corpus.readers import Piece, is_held_out, rank, read_piece, unformatted
from valence.corpus.segment import Segmenter, build_segmenter
from valence.data import Document, Failure, Unread
from valence.errors import ScorerError
from valence.recipe import CorpusRecipe
from valence.score.protocol import Scorer, flops_of, traits
from valence.score.table import build_scorer
from valence.store import PARTIAL, read_json, read_parquet, write_json, write_parquet

MOST_ROWS = 50_000
"""Rows per shard at the most, however short or unreadable they are."""

TELL_SECONDS = 0.5
"""How often a job says how far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceJob:
    """One piece of a corpus, to be written as shards `<number>-<part>`.

    Documents of a rank above `highest_rank` are left out.
    """

    piece: Piece
    number: int
    corpus: CorpusRecipe
    seed: int
    highest_rank: float | None
    directory: Path

    @property
    def ledger(self) -> Path:
        """Where the finished piece's ledger is."""
        return self.directory / f"{self.number:05d}.piece.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardJob:
    """One shard of text to score."""

    scorer: str
    """The scorer's spec as JSON."""
    digest: str
    """The digest of the scorer that this process has built from it."""
    shard: str
    documents: Path
    directory: Path
    timeout: float | None

    @property
    def ledger(self) -> Path:
        """Where the finished shard's ledger is."""
        return self.directory / f"{self.shard}.json"


@contextlib.contextmanager
def telling(ledger: Path) -> Iterator[Callable[[int], None]]:
    """To be called with the characters done so far: says it in a file beside the ledger.

    The file goes when the job ends, however it does.
    """
    path = ledger.with_name(f".{ledger.stem}.doing{PARTIAL}")
    told = time.monotonic()

    def tell(chars: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= TELL_SECONDS:
            path.write_text(str(chars))
            told = now

    try:
        yield tell
    finally:
        path.unlink(missing_ok=True)


def read_job(job: PieceJob) -> TextLedger:
    """Write one piece of the corpus as shards; returns their ledger.

    Shards of an interrupted job are kept, and what they hold is passed over.
    """
    if job.ledger.is_file():
        return TextLedger(**read_json(job.ledger))
    done: list[TextLedger] = []
    position = 0
    for part in itertools.count():
        beside = job.directory / f"{job.number:05d}-{part:05d}.json"
        if not beside.is_file():
            break
        known = read_json(beside)
        position = known["position"]
        done.append(TextLedger(**known["ledger"]))
    items = read_piece(job.piece, job.corpus, skip=position)
    segmenter = build_segmenter(job.corpus.segmenter)
    ended = False
    with telling(job.ledger) as tell:
        while not ended:
            started = time.process_time()
            shard = _Shard(job, segmenter)
            ended = True
            for item in items:
                position += 1
                shard.take(item)
                tell(shard.ledger.chars)
                if shard.full:
                    ended = False
                    break
            if shard.rows:
                name = f"{job.number:05d}-{part:05d}"
                part += 1
                sha = write_parquet(job.directory / f"{name}.parquet", documents_table(shard.rows))
                shard.ledger.shards.append((name, sha))
                shard.ledger.core_seconds = time.process_time() - started
                facts = {"position": position, "ledger": plain(shard.ledger)}
                write_json(job.directory / f"{name}.json", facts)
                done.append(shard.ledger)
    whole = total(TextLedger, done)
    write_json(job.ledger, plain(whole))
    return whole


class _Shard:
    """The rows of one shard of text, and their ledger."""

    def __init__(self, job: PieceJob, segmenter: Segmenter) -> None:
        self.job, self.segmenter = job, segmenter
        self.rows: list[dict[str, Any]] = []
        self.ledger = TextLedger()

    @property
    def full(self) -> bool:
        """Whether there is enough in it."""
        return self.ledger.chars >= self.job.corpus.shard_chars or len(self.rows) >= MOST_ROWS

    def take(self, item: Document | Unread) -> None:
        """Add one document, or one that could not be read, to the shard."""
        job, ledger = self.job, self.ledger
        ends: Sequence[int] = ()
        if isinstance(item, Document):
            if job.highest_rank is not None and rank(item.id, job.seed) > job.highest_rank:
                return
            item = unformatted(item, job.corpus, job.seed)
            try:
                ends = self.segmenter(item.text)
            except Exception as error:  # A library's trouble with one text ends no run.
                item = _uncut(item, error)
        held_out = is_held_out(item.id, share=job.corpus.valid_share, seed=job.seed)
        self.rows.append(document_row(item, ends, held_out=held_out))
        if isinstance(item, Unread):
            ledger.unread += 1
            count_failure(ledger, item.failure.kind, item.failure.message)
            return
        ledger.documents += 1
        ledger.held_out += held_out
        ledger.segments += len(ends)
        ledger.chars += len(item.text)
        ledger.bytes += len(item.text.encode())


def _uncut(document: Document, error: Exception) -> Unread:
    failure = Failure(stage="segment", kind=type(error).__name__, message=f"{document.id}: {error}")
    return Unread(id=document.id, source=document.source, failure=failure)


def score_job(job: ShardJob, scorer: Scorer | None = None) -> RewardLedger:
    """Score one shard into its file; returns its ledger."""
    if job.ledger.is_file():
        return RewardLedger(**read_json(job.ledger))
    scorer = scorer or _same(job)
    known = traits(scorer)
    started, wall, counted = time.process_time(), time.monotonic(), flops_of(scorer)
    ledger = RewardLedger()
    rows: list[Row] = []
    source = read_parquet(job.documents / f"{job.shard}.parquet").to_pylist()
    with telling(job.ledger) as tell, one_thread():
        for start in range(0, len(source), known.batch):
            batch = source[start : start + known.batch]
            read = [(document_in(row), row["ends"]) for row in batch if row["failure"] is None]
            scored, calls = rows_of(scorer, read, known, timeout=job.timeout)
            ledger.calls += calls
            for (document, ends), found in zip(read, scored, strict=True):
                _count(ledger, document, ends, found)
            queue = iter(scored)
            rows += [
                next(queue) if row["failure"] is None else Row.of(row["id"], (), known.parts)
                for row in batch
            ]
            tell(ledger.chars)
    table = rewards_table(rows, parts=known.parts, keeps_marks=known.keeps_marks)
    sha = write_parquet(job.directory / f"{job.shard}.parquet", table)
    ledger.shards.append((job.shard, sha))
    ledger.core_seconds = time.process_time() - started
    ledger.seconds = time.monotonic() - wall
    after = flops_of(scorer)
    ledger.flops = None if after is None else after - (counted or 0.0)
    write_json(job.ledger, plain(ledger))
    return ledger


def _same(job: ShardJob) -> Scorer:
    """This worker's scorer; raises `ScorerError` if it is not the one that the run began with."""
    if _built(job.scorer).id.digest != job.digest:
        _built.cache_clear()  # A worker of a cluster lives longer than a file may stay the same.
    scorer = _built(job.scorer)
    if scorer.id.digest != job.digest:
        raise ScorerError(
            f"a worker has another scorer ({scorer.id}) than the run began with",
            where=scorer.id.name,
            fix="Workers need the same files, library versions and precision (for a network"
            " on an accelerator, name its dtype).",
        )
    return scorer


@lru_cache(maxsize=2)
def _built(spec: str) -> Scorer:
    """A worker's scorer, built once."""
    # Set before a scorer loads a library that reads it.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return build_scorer(json.loads(spec))


def _count(ledger: RewardLedger, document: Document, ends: Sequence[int], row: Row) -> None:
    ledger.documents += 1
    ledger.chars += len(document.text)
    ledger.bytes += len(document.text.encode())
    ledger.segments += len(row.rewards)
    ledger.scored_segments += len(row.rewards) - len(row.failures)
    ledger.failed_documents += _failed(document, ends, row)
    for kind, message in {failure.kind: failure.message for _, failure in row.failures}.items():
        count_failure(ledger, kind, message)


def _failed(document: Document, ends: Sequence[int], row: Row) -> bool:
    """Whether a document lacks a reward; that a blank line has none is no failure of it."""
    starts = [0, *ends] if row.failures else []
    return any(document.text[starts[at] : ends[at]].strip() for at, _ in row.failures)
