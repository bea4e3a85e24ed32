"""What every stage needs: a directory, a place for progress, and the recipe of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valence.crew import Crew
from valence.display import Display, Work, shown_stage
from valence.recipe import Recipe
from valence.store import RunDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Where stages are worked in: a directory, a display, and the processes that share it."""

    place: RunDirectory
    display: Display
    crew: Crew

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.place.path

    @contextlib.contextmanager
    def stage(
        self, name: str, inputs: Mapping[str, Any], title: str, *, joined: bool = False
    ) -> Iterator[Work | None]:
        """An open stage to work in, or None if it was finished before with these inputs.

        Of several processes only the one that leads gets it, and the others go on when it
        is finished; a `joined` stage is worked in by all, and only the leader's is kept.
        Raises `ProcessLost` if another process has ended.
        """
        if self.crew.leads:
            with shown_stage(self.place, self.display, name, inputs, title) as stage:
                if joined:
                    self.crew.agree(stage is not None)
                yield stage
        elif joined and self.crew.agree(False):
            yield Work.apart(self.path / name)
        else:
            yield None
        self.crew.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(Workspace):
    """One run: its recipe beside its workspace."""

    recipe: Recipe
