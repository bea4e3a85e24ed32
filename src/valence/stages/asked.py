"""What is asked of measures that cannot work, found before any work."""

from __future__ import annotations

from collections.abc import Iterable

from valence.errors import RecipeError
from valence.measure.harness import check_harness
from valence.recipe import MeasureRecipe


def check_asked(
    measure: MeasureRecipe, modes: Iterable[str], *, others: Iterable[str] = ()
) -> None:
    """Raise `RecipeError` for a mode that is none, or if none is one of the models' `modes`, and
    `MissingExtraError`.

    A mode that some of the models have is measured for these. `others` are modes too, which none
    of the models has: runs of a suite share what they ask for.
    """
    known = list(dict.fromkeys(modes))
    asked = measure.modes or ()
    unknown = [mode for mode in asked if mode not in (*known, *others)]
    missing = unknown or (asked if not set(asked) & set(known) else ())
    if missing:
        raise RecipeError(
            f"no model has the mode{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            where="measure.modes",
            fix=f"The modes of these models are: {', '.join(known)}.",
        )
    if measure.harness is not None:
        check_harness()
