"""Guides of your own, by name: what may change the next token's scores while a model writes.

A guide is `package.module:factory`, with options beside it. The factory is called with the
checkpoint, the scheme whose tokens its vocabulary has (or None) and the mode, then the options
as keywords; what it returns is called with the tokens so far [B, T] and the next token's
scores [B, V], and returns scores, as a `LogitsProcessor` of transformers does.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from transformers import LogitsProcessor

from valence.control import ControlScheme
from valence.errors import ControlError, ValenceError
from valence.model import Checkpoint
from valence.recipe import options


def build_guide(
    spec: options.Spec, checkpoint: Checkpoint, known: ControlScheme | None, mode: str
) -> LogitsProcessor:
    """The guide that a name stands for; raises `ControlError` if there is none."""
    name, given = _parts(spec)
    bound = partial(guide_factory(spec), checkpoint, known, mode)
    try:
        made = options.build_with(bound, given, where=f"guide `{name}`", error=ControlError)
    except ValenceError:
        raise
    except Exception as error:  # Foreign code raises whatever it likes.
        raise _not_loaded(name, error) from None
    if not callable(made):
        raise ControlError(
            f"`{name}` did not make a guide",
            where="measure.guides",
            fix="It must return something that is called with tokens and scores.",
        )
    return made


def guide_factory(spec: options.Spec) -> Callable[..., LogitsProcessor]:
    """What makes the guide that a name stands for; raises `ControlError` if there is none."""
    name, _ = _parts(spec)
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ControlError(
            f"there is no guide `{name}`",
            where="measure.guides",
            fix="Name one of your own as package.module:factory.",
        )
    if os.getcwd() not in sys.path:  # A module beside the recipe, as `python -m` finds it.
        sys.path.append(os.getcwd())
    try:
        factory: Callable[..., LogitsProcessor] = getattr(
            importlib.import_module(module), attribute
        )
    except Exception as error:  # Foreign code raises whatever it likes.
        raise _not_loaded(name, error) from None
    return factory


def _parts(spec: options.Spec) -> tuple[str, dict[str, Any]]:
    return options.spec_parts(
        spec, noun="guide", error=ControlError, example="{'mine:gentle': {strength: 0.5}}"
    )


def _not_loaded(name: str, error: Exception) -> ControlError:
    return ControlError(
        f"cannot load guide `{name}` ({type(error).__name__}: {error})",
        where="measure.guides",
        fix="The module must be importable from here, and its factory must take a"
        " checkpoint, a scheme, a mode and the options that were given.",
    )
