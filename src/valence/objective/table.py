"""The table of objectives: one line each. Options stand beside the name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, cast

from valence.errors import RecipeError
from valence.objective.conditional import Conditional, Placebo
from valence.objective.filtering import Filtering
from valence.objective.mle import Mle
from valence.objective.protocol import Objective
from valence.objective.unlikelihood import Unlikelihood
from valence.objective.untrained import Untrained
from valence.objective.verdict import Verdict
from valence.objective.weighted import Awr, Rwr
from valence.recipe import options

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "mle": Mle,
    "filtering": Filtering,
    "conditional": Conditional,
    "placebo": Placebo,
    "unlikelihood": Unlikelihood,
    "rwr": Rwr,
    "awr": Awr,
    "verdict": Verdict,
    "untrained": Untrained,
}


def build_objective(spec: options.Spec) -> Objective:
    """The objective that a name, or a name with options, stands for.

    Raises `RecipeError` for an unknown name or option, with the nearest, and for options
    that do not fit.
    """
    name, given = options.spec_parts(
        spec, noun="objective", error=RecipeError, example="{unlikelihood: {alpha: 0.1}}"
    )
    if name not in OBJECTIVES:
        raise RecipeError(
            f"there is no objective `{name}`{options.nearest(name, list(OBJECTIVES))}",
            where="models",
            fix=f"Known: {', '.join(OBJECTIVES)}.",
        )
    return options.build_with(
        OBJECTIVES[name], given, where=f"objective `{name}`", error=RecipeError
    )


def describe(objective: Objective) -> dict[str, Any]:
    """Name and options of an objective as plain data; `build_objective` of it is an equal one."""
    return {objective.name: asdict(cast(Any, objective))}
