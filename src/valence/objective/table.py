"""The table of objectives: one line each."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from valence.errors import RecipeError
from valence.objective.conditional import Conditional, Placebo
from valence.objective.mle import Mle
from valence.objective.protocol import Objective

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "mle": Mle,
    "conditional": Conditional,
    "placebo": Placebo,
}


def build_objective(name: str) -> Objective:
    """The objective of that name; raises `RecipeError` naming the nearest if there is none."""
    if name not in OBJECTIVES:
        close = difflib.get_close_matches(name, OBJECTIVES, n=1)
        hint = f"Did you mean `{close[0]}`?" if close else f"Known: {', '.join(OBJECTIVES)}."
        raise RecipeError(f"there is no objective `{name}`", where="models", fix=hint)
    return OBJECTIVES[name]()
