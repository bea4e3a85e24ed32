"""What is asked of measures that cannot work, found before any work."""

from __future__ import annotations

from collections.abc import Iterable

from valence.errors import RecipeError
from valence.measure.harness import check_harness
from valence.recipe import MeasureRecipe


def check_asked(measure: MeasureRecipe, modes: Iterable[str]) -> None:
    """Raise `RecipeError` for a mode that is none of the models' `modes`, and `MissingExtraError`.

    A mode that some of the models have is measured for these.
    """
    known = list(dict.fromkeys(modes))
    unknown = [mode for mode in measure.modes or () if mode not in known]
    if unknown:
        raise RecipeError(
            f"no model has the mode{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}",
            where="measure.modes",
            fix=f"The modes of these models are: {', '.join(known)}.",
        )
    if measure.harness is not None:
        check_harness()
