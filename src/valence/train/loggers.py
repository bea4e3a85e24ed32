"""Loggers besides metrics.jsonl: whether those that a recipe names are there."""

from __future__ import annotations

from collections.abc import Iterable

from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from valence.errors import MissingExtraError, RecipeError
from valence.recipe.options import nearest

WHERE = "train.report_to"


def check_loggers(names: Iterable[str]) -> None:
    """Raise `RecipeError` for a logger that transformers does not know, with the nearest, and
    `MissingExtraError` for one that is not installed or not set up.
    """
    known = list(INTEGRATION_TO_CALLBACK)
    for name in names:
        if name not in known:
            raise RecipeError(
                f"there is no logger `{name}`{nearest(name, known)}",
                where=WHERE,
                fix=f"Known: {', '.join(sorted(known))}.",
            )
        try:
            INTEGRATION_TO_CALLBACK[name]()
        except Exception as error:  # Each has its own way to say what it lacks.
            told = " ".join(str(error).split())[:200]
            raise MissingExtraError(
                f"the logger `{name}` cannot start ({told})",
                where=WHERE,
                fix=f"Install it (pip install {name}), or leave it out: metrics.jsonl has the log.",
            ) from None
