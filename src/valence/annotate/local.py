"""The local engine: jobs in this process or in several."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from valence.errors import ScorerError

J = TypeVar("J")
R = TypeVar("R")


def run_local(function: Callable[[J], R], jobs: Sequence[J], *, workers: int) -> list[R]:
    """What `function` returns for each job, in order of the jobs.

    One worker is this process. A worker that dies raises `ScorerError`; what finished jobs
    have written stays.
    """
    if workers == 1 or len(jobs) <= 1:
        return [function(job) for job in jobs]
    # Spawned, not forked: the parent may hold threads (torch, progress display).
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        with _interrupts_blocked():
            futures = [pool.submit(function, job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BrokenProcessPool:
            raise worker_died() from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            # A shard of a slow scorer may take hours: whoever stops does not wait for it.
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise
        return [future.result() for future in futures]


def worker_died() -> ScorerError:
    """The error for a process that ended without an answer."""
    return ScorerError(
        "a scoring process died (out of memory, or killed)",
        where="score",
        fix="Run again: finished shards are kept. Fewer workers need less memory.",
    )


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
