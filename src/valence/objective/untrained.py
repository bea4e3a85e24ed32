"""No training at all: the model as it began, for comparison."""

from __future__ import annotations

from dataclasses import dataclass

from valence.objective.mle import Mle


@dataclass(frozen=True, slots=True, kw_only=True)
class Untrained(Mle):
    """The base as it is, with room for the control tokens; nothing is learned."""

    name = "untrained"
