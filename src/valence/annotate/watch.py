"""How far the jobs are that write into a directory, whoever does them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from valence.annotate.read import MANIFEST
from valence.display import Progress
from valence.store import read_json


@contextlib.contextmanager
def watched(directory: Path, expected: int, on_progress: Progress | None) -> Iterator[None]:
    """Tells how far the jobs are that write into a directory, whoever does them.

    Finished shards and pieces are counted from their ledgers, the others from what they say.
    """
    if on_progress is None:
        yield
        return
    over = threading.Event()
    seen: dict[str, int] = {}

    def watch() -> None:
        while True:
            done = _done(directory, seen)
            on_progress(done, max(expected, done))
            if over.wait(1.0):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _done(directory: Path, seen: dict[str, int]) -> int:
    """Characters in finished shards and, as far as it is told, in unfinished ones."""
    doing = 0
    for path in directory.iterdir():
        with contextlib.suppress(OSError, ValueError, KeyError):
            if path.name.endswith(".doing.partial"):
                doing += int(path.read_text())
            elif path.suffix == ".json" and path.name not in seen and _is_shard(path):
                facts: Mapping[str, Any] = read_json(path)
                seen[path.name] = int(facts.get("ledger", facts)["chars"])
    return sum(seen.values()) + doing


def _is_shard(path: Path) -> bool:
    return path.name != MANIFEST and not path.name.endswith(".piece.json")
