"""The local engine: jobs in this process or in several."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Protocol, TypeVar

from valence.errors import ScorerError

J = TypeVar("J")
R = TypeVar("R")


class Submit(Protocol):
    """Gives a task to a process, and says where its answer will be."""

    def __call__(self, task: Callable[[], R]) -> Future[R]: ...


def run_local(function: Callable[[J], R], jobs: Sequence[J], *, workers: int) -> list[R]:
    """What `function` returns for each job, in order of the jobs.

    One worker is this process. A worker that dies raises `ScorerError`; what finished jobs
    have written stays.
    """
    if workers == 1 or len(jobs) <= 1:
        return [function(job) for job in jobs]
    with worker_pool(min(workers, len(jobs))) as submit:
        futures = [submit(partial(function, job)) for job in jobs]
        for future in as_completed(futures):
            future.result()
        return [future.result() for future in futures]


@contextlib.contextmanager
def worker_pool(workers: int) -> Iterator[Submit]:
    """Processes that do what is submitted; what it returns is a future.

    They never see Ctrl-C. Whoever leaves the block by an exception does not wait for them;
    `ScorerError` stands for one that died.
    """
    # Spawned, not forked: the parent may hold threads (torch, progress display).
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, mp_context=context) as pool:

        def submit(task: Callable[[], R]) -> Future[R]:
            with _interrupts_blocked():
                return pool.submit(task)

        try:
            yield submit
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            # A shard of a slow scorer may take hours: whoever stops does not wait for it.
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            if isinstance(error, BrokenProcessPool):
                raise worker_died() from None
            raise


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
