"""Where progress goes, and stages that show it. The command line brings its own display."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from valence.store import RunDirectory

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


def unseen(done: int, total: int) -> None:
    """Progress that nobody looks at."""


class Display(Protocol):
    """Where progress goes."""

    def stage(self, title: str) -> AbstractContextManager[Progress]:
        """A long stage; what it yields is called with (done, total)."""
        ...

    def skipped(self, title: str) -> None:
        """A stage that was finished before."""
        ...


class Silent:
    """Shows nothing."""

    def stage(self, title: str) -> AbstractContextManager[Progress]:
        """Take progress and keep it to itself."""
        return contextlib.nullcontext(unseen)

    def skipped(self, title: str) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An open stage: where to write, what to remember, whom to tell how far it is."""

    work: Path
    facts: dict[str, Any]
    progress: Progress

    @classmethod
    def apart(cls, work: Path) -> Work:
        """For a process that works along without writing: what it notes is not kept."""
        return cls(work=work, facts={}, progress=unseen)


@contextlib.contextmanager
def shown_stage(
    place: RunDirectory, display: Display, name: str, inputs: Mapping[str, Any], title: str
) -> Iterator[Work | None]:
    """An open stage to work in, or None if it was finished before with these inputs."""
    with place.stage(name, inputs) as stage:
        if stage.done:
            display.skipped(title)
            yield None
        else:
            with display.stage(title) as progress:
                yield Work(work=stage.work, facts=stage.facts, progress=progress)
