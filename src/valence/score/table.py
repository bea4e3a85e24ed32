"""The table of scorers: one line each. Optional parts are imported when they are used.

A scorer of your own is `package.module:factory`, or an entry point of the group
`valence.scorers`. Options stand beside the name: `{regex: {file: words.txt}}`.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from valence.errors import ScorerError, ValenceError
from valence.score.protocol import Scorer

SCORERS: dict[str, str] = {
    "pep8": "valence.score.pep8:Pep8",
    "pep8-local": "valence.score.pep8:Pep8Local",
    "pii": "valence.score.pii:Pii",
    "regex": "valence.score.lexicon:Regex",
    "lexicon": "valence.score.lexicon:Lexicon",
    "label": "valence.score.label:Label",
    "classifier": "valence.score.classifier:Classifier",
    "detoxify": "valence.score.classifier:detoxify",
    "reward-model": "valence.score.reward_model:RewardModel",
    "logprob": "valence.score.logprob:LogProb",
    "sum": "valence.score.total:Sum",
    "student": "valence.score.student:Student",
}

GROUP = "valence.scorers"
"""The entry points that add scorers."""

ScorerSpec = str | Mapping[str, Mapping[str, Any] | None]
"""A scorer by name, or by name with options: `pep8`, `{regex: {patterns: [...]}}`."""


def spec_parts(spec: ScorerSpec) -> tuple[str, dict[str, Any]]:
    """Name and options of a scorer; raises `ScorerError` for what is neither form."""
    if isinstance(spec, str):
        return spec, {}
    if not isinstance(spec, Mapping) or len(spec) != 1:
        raise ScorerError(
            f"{spec!r} does not name one scorer",
            where="scorer",
            fix="Give a name, or one name with its options: {regex: {patterns: [...]}}.",
        )
    ((name, options),) = spec.items()
    if not isinstance(name, str) or not isinstance(options, Mapping | None):
        raise ScorerError(
            f"the options of `{name}` are {options!r}",
            where="scorer",
            fix="Options are a map: {regex: {patterns: [...]}}.",
        )
    return name, dict(options or {})


def canonical(spec: ScorerSpec) -> str:
    """The spec as one JSON string: equal for equal scorers, to be sent to another process."""
    name, options = spec_parts(spec)
    return json.dumps({name: options}, sort_keys=True, separators=(",", ":"))


def build_scorer(spec: ScorerSpec) -> Scorer:
    """The scorer that a name, or a name with options, stands for.

    Raises `ScorerError` if there is none or its options do not fit, `MissingExtraError` if
    it needs a part that is not installed.
    """
    name, options = spec_parts(spec)
    factory = _factory(name)
    if not callable(factory):  # A ready scorer in a user's module.
        made = factory
    else:
        try:
            made = _checked(factory, options, name)
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
    close = difflib.get_close_matches(name, known, n=1)
    raise ScorerError(
        f"there is no scorer `{name}`{f'; did you mean `{close[0]}`?' if close else ''}",
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


def _checked(factory: Callable[..., Any], options: dict[str, Any], name: str) -> Any:
    """What the factory makes of options that have its parameters' names and types."""
    taken = inspect.signature(factory).parameters
    named = [
        key
        for key, parameter in taken.items()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    any_goes = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    unknown = [] if any_goes else [key for key in options if key not in named]
    missing = [
        key for key in named if key not in options and taken[key].default is inspect.Parameter.empty
    ]
    if unknown or missing:
        told = [_unknown(key, named) for key in unknown]
        told += [f"option `{key}` is missing" for key in missing]
        raise ScorerError(
            "; ".join(told), where=f"scorer `{name}`", fix=f"Options: {', '.join(named) or 'none'}."
        )
    return factory(**{key: _typed(factory, key, value, name) for key, value in options.items()})


def _typed(factory: Callable[..., Any], key: str, value: object, name: str) -> Any:
    """The value of one option in the type that the factory's parameter has."""
    function = factory.__init__ if inspect.isclass(factory) else factory
    hint = get_type_hints(function, include_extras=True).get(key, Any)
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        told = [
            f"`{'.'.join(map(str, (key, *item['loc'])))}`: {item['msg']} (it is {item['input']!r})"
            for item in error.errors(include_url=False)
        ]
        raise ScorerError(
            "; ".join(told), where=f"scorer `{name}`", fix="Give options of these types."
        ) from None


def _unknown(key: str, named: list[str]) -> str:
    close = difflib.get_close_matches(key, named, n=1)
    return f"unknown option `{key}`" + (f"; did you mean `{close[0]}`?" if close else "")
