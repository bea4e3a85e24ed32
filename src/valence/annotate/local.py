"""The local engine: shards scored in this process or in several, with the same bytes out."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from valence.data import Document, Failure, Result, Score, Segment, tile
from valence.errors import ScorerError
from valence.score.protocol import Scorer
from valence.score.table import build_scorer
from valence.store import read_json, read_parquet, write_json, write_parquet

WHOLE_DOCUMENT = -1
"""Index in a failure row that stands for all segments of the document."""

LARGEST = 3.4028234663852886e38
"""The largest 32-bit number."""

REWARDS = pa.schema(
    [
        ("id", pa.string()),
        ("rewards", pa.list_(pa.float32())),
        (
            "failures",
            pa.list_(
                pa.struct(
                    [
                        ("segment", pa.int64()),
                        ("stage", pa.string()),
                        ("kind", pa.string()),
                        ("message", pa.string()),
                    ]
                )
            ),
        ),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardJob:
    """One shard of text to score; a file of its own keeps the shard's ledger."""

    scorer_name: str
    source: Path
    target: Path

    @property
    def ledger(self) -> Path:
        """Where the shard's counts are kept, so that a resumed run can add them up."""
        return self.target.with_suffix(".ledger.json")


@dataclass(slots=True, kw_only=True)
class Ledger:
    """What scoring cost and what became of it."""

    calls: int = 0
    chars: int = 0
    segments: int = 0
    scored_segments: int = 0
    failed_documents: int = 0
    core_seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)

    def add(self, other: Ledger) -> None:
        """Add another shard's ledger to this one."""
        self.calls += other.calls
        self.chars += other.chars
        self.segments += other.segments
        self.scored_segments += other.scored_segments
        self.failed_documents += other.failed_documents
        self.core_seconds += other.core_seconds
        for kind, count in other.failures.items():
            self.failures[kind] = self.failures.get(kind, 0) + count


def run_jobs(
    jobs: Sequence[ShardJob],
    scorer: Scorer,
    *,
    workers: int,
    on_progress: Callable[[int, int], None] | None,
) -> Ledger:
    """Score all shards that are not there yet; returns the ledger of all of them.

    Progress is in shards. A worker that dies raises `ScorerError`; finished shards stay.
    """
    total = Ledger()
    done = 0
    waiting = []
    for job in jobs:
        if job.target.is_file() and job.ledger.is_file():
            total.add(Ledger(**read_json(job.ledger)))
            done += 1
        else:
            waiting.append(job)

    def finished(ledger: Ledger) -> None:
        nonlocal done
        total.add(ledger)
        done += 1
        if on_progress is not None:
            on_progress(done, len(jobs))

    if workers == 1 or len(waiting) <= 1:
        for job in waiting:
            finished(score_shard(job, scorer))
        return total
    # Spawned, not forked: the parent may hold threads (torch, progress display).
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(min(workers, len(waiting)), mp_context=context) as pool:
        with _interrupts_blocked():
            futures = [pool.submit(score_shard, job) for job in waiting]
        try:
            for future in as_completed(futures):
                finished(future.result())
        except BrokenProcessPool:
            raise ScorerError(
                "a scoring process died (out of memory, or killed)",
                where="score",
                fix="Run again: finished shards are kept. Fewer score.workers need less memory.",
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            # A shard of a slow scorer may take hours: whoever stops does not wait for it.
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise
    return total


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Ctrl-C waits; processes that are started inside never see it, and so never complain.

    The terminal sends it to them too, but to stop is the parent's decision.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def score_shard(job: ShardJob, scorer: Scorer | None = None) -> Ledger:
    """Score one shard into its target file; returns its ledger."""
    scorer = scorer or build_scorer(job.scorer_name)
    started = time.process_time()
    ledger = Ledger()
    rows = []
    for row in read_parquet(job.source, ["id", "source", "text", "ends"]).to_pylist():
        document = Document(id=row["id"], text=row["text"], source=row["source"])
        results = score_document(scorer, document, tile(row["ends"]))
        rows.append({"id": document.id, **_columns(results)})
        ledger.calls += 1
        ledger.chars += len(document.text)
        ledger.segments += len(results)
        ledger.scored_segments += sum(isinstance(result, Score) for result in results)
        kinds = {result.kind for result in results if isinstance(result, Failure)}
        ledger.failed_documents += bool(kinds)
        for kind in sorted(kinds):
            ledger.failures[kind] = ledger.failures.get(kind, 0) + 1
    write_parquet(job.target, pa.Table.from_pylist(rows, schema=REWARDS))
    ledger.core_seconds = time.process_time() - started
    write_json(job.ledger, _plain(ledger))
    return ledger


def score_document(scorer: Scorer, document: Document, segments: Sequence[Segment]) -> list[Result]:
    """One result per segment whatever the scorer does: what it raises becomes a Failure."""
    try:
        results = list(scorer.score(document, segments))
    except Exception as error:  # A scorer is foreign code; one document must not end the run.
        failure = Failure(
            stage="score", kind=type(error).__name__, message=f"{document.id}: {error}"
        )
        return [failure] * len(segments)
    if not all(isinstance(result, Score | Failure) for result in results):
        raise ScorerError(
            f"{scorer.id.name} gave something else than Score and Failure",
            where=document.id,
            fix="A scorer answers with a Score or a Failure per segment.",
        )
    if len(results) != len(segments):
        raise ScorerError(
            f"{scorer.id.name} gave {len(results)} results for {len(segments)} segments",
            where=document.id,
            fix="A scorer answers once per segment.",
        )
    return [_storable(result) for result in results]


def _storable(result: Result) -> Result:
    """The result, or a Failure where the reward is too large for the column it is kept in."""
    if isinstance(result, Score) and abs(result.value) > LARGEST:
        message = f"{result.value} does not fit a 32-bit number"
        return Failure(stage="score", kind="out-of-range", message=message)
    return result


def _plain(ledger: Ledger) -> dict[str, object]:
    return {name: getattr(ledger, name) for name in Ledger.__dataclass_fields__}


def _columns(results: Sequence[Result]) -> dict[str, object]:
    rewards = [result.value if isinstance(result, Score) else None for result in results]
    failed = [(i, result) for i, result in enumerate(results) if isinstance(result, Failure)]
    if failed and len(failed) == len(results) and len({result for _, result in failed}) == 1:
        failed = [(WHOLE_DOCUMENT, failed[0][1])]
    failures = [
        {"segment": i, "stage": f.stage, "kind": f.kind, "message": f.message} for i, f in failed
    ]
    return {"rewards": rewards, "failures": failures}
