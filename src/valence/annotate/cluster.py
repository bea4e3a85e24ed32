"""The cluster engine: the same jobs as tasks of Ray Data, the same bytes in the same files.

Every node must see the annotation's directory, and the corpus, under the same path. Needs
the extra `ray`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from valence import errors
from valence.annotate.local import worker_died
from valence.errors import ScorerError, ValenceError, missing_extra

J = TypeVar("J")

RETRIES = 2
"""How often a task begins anew when its process or node dies."""


def run_ray(
    function: Callable[[J], object], jobs: Sequence[J], *, workers: int, gpus: float = 0.0
) -> None:
    """Call `function` with each job, `workers` at a time, on the connected Ray cluster.

    A worker that dies again and again raises `ScorerError`; what finished jobs have written
    stays.
    """
    ray = _ray()
    with warnings.catch_warnings():
        # Ray has no other way yet to bound the retries of a task, and without a bound a
        # document that kills its process would be tried for ever.
        warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
        done = ray.data.from_items(list(range(len(jobs))), override_num_blocks=len(jobs)).map(
            _task(function, jobs),
            compute=ray.data.TaskPoolStrategy(size=min(workers, len(jobs))),
            num_cpus=1,
            num_gpus=gpus or None,
            ray_remote_args_fn=lambda: {"max_retries": RETRIES},
        )
    try:
        for row in done.iter_rows():
            if row["error"]:
                raise _error(row)
    except (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.OutOfMemoryError,
    ):
        raise worker_died() from None
    except ray.exceptions.RayError as error:
        raise ScorerError(
            f"a task failed on the cluster ({error})",
            where="score",
            fix="Run again: finished shards are kept.",
        ) from error


@contextlib.contextmanager
def connected(address: str | None, workers: int) -> Iterator[None]:
    """A Ray cluster inside the block.

    One that this process is connected to already stays so; else the one at `address`, or a
    local one that ends with the block.
    """
    ray = _ray()
    if ray.is_initialized():
        yield
        return
    _connect(ray, address, workers)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def _ray() -> Any:
    # Nobody asked for a report of how Ray is used.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise missing_extra("ray", "ray") from None
    return ray


def _connect(ray: Any, address: str | None, workers: int) -> None:
    """Connect to the cluster at an address, or start one here."""
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        if address is None:
            ray.init(num_cpus=workers, include_dashboard=False, **quiet)
        else:
            _must_answer(address)
            ray.init(address=address, **quiet)
    except (OSError, ray.exceptions.RayError, ValueError, RuntimeError) as error:
        raise ScorerError(
            f"cannot reach a Ray cluster ({error})",
            where=f"--address {address}" if address else "ray",
            fix="Start one with `ray start --head`, or leave the address out for a local one.",
        ) from None


def _must_answer(address: str) -> None:
    """Raises `OSError` if nobody listens there: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _task(function: Callable[[J], object], jobs: Sequence[J]) -> Callable[[Any], dict[str, Any]]:
    """One job by its number. A user's mistake comes back as data, for its words to survive."""

    def task(row: Any) -> dict[str, Any]:
        found = dict.fromkeys(("error", "what", "where", "fix"), "")
        try:
            function(jobs[row["item"]])
        except ValenceError as error:
            found = {
                "error": type(error).__name__,
                "what": error.what,
                "where": error.where or "",
                "fix": error.fix or "",
            }
        return found

    return task


def _error(row: dict[str, Any]) -> ValenceError:
    kind: type[ValenceError] = getattr(errors, row["error"])
    return kind(row["what"], where=row["where"] or None, fix=row["fix"] or None)
