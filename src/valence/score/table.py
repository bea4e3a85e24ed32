"""The table of scorers: one line each. Optional parts are imported when they are used.

A scorer of your own is `package.module:factory`, or an entry point of the group
`valence.scorers`. Options stand beside the name: `{regex: {file: words.txt}}`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from importlib.metadata import entry_points
from typing import Any, cast

from valence.errors import ScorerError, ValenceError
from valence.recipe import options
from valence.score.protocol import Scorer

SCORERS: dict[str, str] = {
    "pep8": "valence.score.pep8:Pep8",
    "pep8-local": "valence.score.pep8:Pep8Local",
    "pii": "valence.score.pii:Pii",
    "regex": "valence.score.lexicon:Regex",
    "lexicon": "valence.score.lexicon:Lexicon",
    "label": "valence.score.label:Label",
    "answers": "valence.score.answers:Answers",
    "classifier": "valence.score.classifier:Classifier",
    "detoxify": "valence.score.classifier:detoxify",
    "reward-model": "valence.score.reward_model:RewardModel",
    "logprob": "valence.score.logprob:LogProb",
    "sum": "valence.score.total:Sum",
    "student": "valence.score.student:Student",
}

GROUP = "valence.scorers"
"""The entry points that add scorers."""

ScorerSpec = options.Spec
"""A scorer by name, or by name with options: `pep8`, `{regex: {patterns: [...]}}`."""


def spec_parts(spec: ScorerSpec) -> tuple[str, dict[str, Any]]:
    """Name and options of a scorer; raises `ScorerError` for what is neither form."""
    example = "{regex: {patterns: [...]}}"
    return options.spec_parts(spec, noun="scorer", error=ScorerError, example=example)


def canonical(spec: ScorerSpec) -> str:
    """The spec as one JSON string: equal for equal scorers, to be sent to another process."""
    name, given = spec_parts(spec)
    return json.dumps({name: given}, sort_keys=True, separators=(",", ":"))


def build_scorer(spec: ScorerSpec) -> Scorer:
    """The scorer that a name, or a name with options, stands for.

    Raises `ScorerError` if there is none or its options do not fit, `MissingExtraError` if
    it needs a part that is not installed.
    """
    name, given = spec_parts(spec)
    factory = _factory(name)
    if not callable(factory):  # A ready scorer in a user's module.
        made = factory
    else:
        try:
            made = options.build_with(factory, given, where=f"scorer `{name}`", error=ScorerError)
        except ValenceError:
            raise
        except Exception as error:  # Foreign code raises whatever it likes.
            raise _not_loaded(name, error) from None
    if not callable(getattr(made, "score", None)) or not hasattr(made, "id"):
        raise ScorerError(
            f"`{name}` did not make a scorer",
            where="scorer",
            fix="It needs `id`, `meaning` and `score(document, segments)`: score/protocol.py.",
        )
    return cast(Scorer, made)


def _factory(name: str) -> Any:
    if name in SCORERS:
        return _imported(name, SCORERS[name])
    if ":" in name:
        if os.getcwd() not in sys.path:  # A module beside the recipe, as `python -m` finds it.
            sys.path.append(os.getcwd())
        return _imported(name, name)
    plugged = {point.name: point for point in entry_points(group=GROUP)}
    if name in plugged:
        return _imported(name, plugged[name].value)
    known = [*SCORERS, *sorted(plugged)]
    raise ScorerError(
        f"there is no scorer `{name}`{options.nearest(name, known)}",
        where="scorer",
        fix=f"Known: {', '.join(known)}; or name your own as package.module:factory.",
    )


def _imported(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ValenceError:
        raise
    except Exception as error:
        raise _not_loaded(name, error) from None


def _not_loaded(name: str, error: Exception) -> ScorerError:
    return ScorerError(
        f"cannot load scorer `{name}` ({type(error).__name__}: {error})",
        where="scorer",
        fix="The module must be importable from here, and its factory must take the options"
        " that were given and no others.",
    )
