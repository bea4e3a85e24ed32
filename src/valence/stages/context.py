"""What every stage of a run needs: the recipe, the run directory, and a place for progress."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valence.display import Display, Work, shown_stage
from valence.recipe import Recipe
from valence.store import RunDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One run: its recipe, its directory, its display."""

    recipe: Recipe
    place: RunDirectory
    display: Display

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.place.path

    def stage(
        self, name: str, inputs: Mapping[str, Any], title: str
    ) -> AbstractContextManager[Work | None]:
        """An open stage to work in, or None if it was finished before with these inputs."""
        return shown_stage(self.place, self.display, name, inputs, title)
