"""Names with options, as recipes write them: `pep8`, `{regex: {patterns: [...]}}`.

Scorers and objectives are named so. Options are checked against the parameters of what they
build: an unknown one is refused with the nearest, a missing one and a wrong type are told.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from valence.errors import ValenceError

T = TypeVar("T")

Spec = str | Mapping[str, Mapping[str, Any] | None]
"""Something by name, or by name with options."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
"""The type of an option that is a number."""


def spec_parts(
    spec: Spec, *, noun: str, error: type[ValenceError], example: str
) -> tuple[str, dict[str, Any]]:
    """Name and options of a `noun`; raises `error` for what is neither form.

    `example` shows the form with options.
    """
    if isinstance(spec, str):
        return spec, {}
    if not isinstance(spec, Mapping) or len(spec) != 1:
        raise error(
            f"{spec!r} does not name one {noun}",
            where=noun,
            fix=f"Give a name, or one name with its options: {example}.",
        )
    ((name, options),) = spec.items()
    if not isinstance(name, str) or not isinstance(options, Mapping | None):
        raise error(
            f"the options of `{name}` are {options!r}",
            where=noun,
            fix=f"Options are a map: {example}.",
        )
    return name, dict(options or {})


def build_with(
    factory: Callable[..., T], options: Mapping[str, Any], *, where: str, error: type[ValenceError]
) -> T:
    """What the factory makes of options that have its parameters' names and types.

    Raises `error` at `where` if they do not.
    """
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
        raise error("; ".join(told), where=where, fix=f"Options: {', '.join(named) or 'none'}.")
    return factory(
        **{key: _typed(factory, key, value, where, error) for key, value in options.items()}
    )


def nearest(name: str, known: list[str]) -> str:
    """`; did you mean ...?` where something known is near, else nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _typed(
    factory: Callable[..., Any], key: str, value: object, where: str, error: type[ValenceError]
) -> Any:
    """The value of one option in the type that the factory's parameter has."""
    function = factory.__init__ if inspect.isclass(factory) else factory
    hint = get_type_hints(function, include_extras=True).get(key, Any)
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as refusal:
        told = [
            f"`{'.'.join(map(str, (key, *item['loc'])))}`: {item['msg']} (it is {item['input']!r})"
            for item in refusal.errors(include_url=False)
        ]
        raise error("; ".join(told), where=where, fix="Give options of these types.") from None


def _unknown(key: str, named: list[str]) -> str:
    return f"unknown option `{key}`{nearest(str(key), named)}"
