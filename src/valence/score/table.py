"""The table of scorers: one line each. A scorer of your own is `package.module:factory`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable

from valence.errors import ScorerError
from valence.score.pep8 import Pep8, Pep8Local
from valence.score.protocol import Scorer

SCORERS: dict[str, Callable[[], Scorer]] = {
    "pep8": Pep8,
    "pep8-local": Pep8Local,
}


def build_scorer(name: str) -> Scorer:
    """The scorer of that name; raises `ScorerError` if there is none.

    `package.module:factory` imports the module and calls the factory without arguments.
    """
    if name in SCORERS:
        return SCORERS[name]()
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise ScorerError(
            f"there is no scorer `{name}`",
            where="scorer",
            fix=f"Known: {', '.join(SCORERS)}; or name your own as package.module:factory.",
        )
    if os.getcwd() not in sys.path:  # A module beside the recipe, as `python -m` would find it.
        sys.path.append(os.getcwd())
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
        scorer = factory() if callable(factory) else factory
    except Exception as error:  # Foreign code raises whatever it likes.
        raise ScorerError(
            f"cannot load scorer `{name}` ({type(error).__name__}: {error})",
            where="scorer",
            fix="The module must be importable from here, and its factory needs no arguments.",
        ) from None
    if not callable(getattr(scorer, "score", None)) or not hasattr(scorer, "id"):
        raise ScorerError(
            f"`{name}` did not make a scorer",
            where="scorer",
            fix="It needs `id`, `meaning` and `score(document, segments)`: score/protocol.py.",
        )
    made: Scorer = scorer
    return made
