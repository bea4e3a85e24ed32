"""Guides by name. A new one is a file beside this, and a line in the table.

A guide of your own is `package.module:factory`, with options beside it. The factory is called
with the checkpoint, the scheme whose tokens its vocabulary has (or None) and the mode, then the
options as keywords. It returns a `Guide`, or what is called with the tokens so far [B, T] and the
next token's scores [B, V] and returns scores, as a `LogitsProcessor` of transformers is.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from valence.control import ControlScheme
from valence.errors import ControlError, ValenceError
from valence.guide.contrast import Contrast
from valence.guide.lookahead import Lookahead
from valence.guide.measures import build_measure
from valence.guide.protocol import Guide, Processed
from valence.guide.rectify import Rectify
from valence.guide.rollback import Otherwise, Rollback
from valence.guide.search import Search
from valence.guide.segments import SegmentKind
from valence.guide.steer import Steer
from valence.model import Checkpoint
from valence.objective.readout import Readout
from valence.recipe import options

Specs = options.Spec | Sequence[options.Spec]
"""A guide, or several that work together."""


def _plain(make: Callable[..., Guide]) -> Callable[..., Callable[..., Guide]]:
    return lambda readout: make


def _rollback(readout: Readout | None) -> Callable[..., Guide]:
    def make(
        measure: options.Spec,
        threshold: options.Finite | None = None,
        rejects: options.Finite | None = None,
        retries: int = 5,
        otherwise: Otherwise = "stop",
        refusal: str = "",
        lower: options.Finite = 0.0,
        segments: SegmentKind | None = None,
        window: int = 64,
    ) -> Guide:
        return Rollback(
            build_measure(measure, readout),
            threshold,
            rejects=rejects,
            retries=retries,
            otherwise=otherwise,
            refusal=refusal,
            lower=lower,
            segments=segments,
            window=window,
        )

    return make


def _search(readout: Readout | None) -> Callable[..., Guide]:
    def make(
        measure: options.Spec,
        k: int,
        temperature: options.Finite = 0.0,
        segments: SegmentKind | None = None,
        window: int = 64,
    ) -> Guide:
        return Search(
            build_measure(measure, readout),
            k,
            temperature=temperature,
            segments=segments,
            window=window,
        )

    return make


def _best_of_n(readout: Readout | None) -> Callable[..., Guide]:
    def make(measure: options.Spec, n: int) -> Guide:
        return Search(build_measure(measure, readout), n, segments="document")

    return make


def _rectify(readout: Readout | None) -> Callable[..., Guide]:
    def make(candidates: int = 10, decay: options.Finite = 0.05) -> Guide:
        return Rectify(candidates, decay, readout=readout)

    return make


GUIDES: Mapping[str, Callable[[Readout | None], Callable[..., Guide]]] = {
    "contrast": _plain(Contrast),
    "steer": _plain(Steer),
    "lookahead": _plain(Lookahead),
    "rectify": _rectify,
    "rollback": _rollback,
    "search": _search,
    "best_of_n": _best_of_n,
}
"""What makes the maker of each, given the read-out that was trained with the model, if any."""


def build_guides(
    specs: Specs,
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    mode: str,
    *,
    readout: Readout | None = None,
) -> list[Guide]:
    """The guides that names stand for; raises `ControlError` for one that there is not."""
    return [_build(spec, checkpoint, known, mode, readout) for spec in _listed(specs)]


def check_guides(specs: Specs) -> None:
    """Raise `ControlError` where a name stands for no guide."""
    for spec in _listed(specs):
        name, _ = _parts(spec)
        if name not in GUIDES:
            _foreign(name)


def _listed(specs: Specs) -> list[options.Spec]:
    return [specs] if isinstance(specs, str | Mapping) else list(specs)


def _build(
    spec: options.Spec,
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    mode: str,
    readout: Readout | None,
) -> Guide:
    name, given = _parts(spec)
    where = f"guide `{name}`"
    if name in GUIDES:
        return options.build_with(GUIDES[name](readout), given, where=where, error=ControlError)
    bound = partial(_foreign(name), checkpoint, known, mode)
    try:
        made = options.build_with(bound, given, where=where, error=ControlError)
    except ValenceError:
        raise
    except Exception as error:  # Foreign code raises whatever it likes.
        raise _not_loaded(name, error) from None
    if isinstance(made, Guide):
        return made
    if not callable(made):
        raise ControlError(
            f"`{name}` did not make a guide",
            where="measure.guides",
            fix="It must return something that is called with tokens and scores.",
        )
    return Processed(made)


def _foreign(name: str) -> Callable[..., Any]:
    """What makes a guide of the user's own; raises `ControlError` if there is none."""
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ControlError(
            f"there is no guide `{name}`{options.nearest(name, list(GUIDES))}",
            where="measure.guides",
            fix=f"Guides: {', '.join(GUIDES)}. Or name your own as package.module:factory.",
        )
    if os.getcwd() not in sys.path:  # A module beside the recipe, as `python -m` finds it.
        sys.path.append(os.getcwd())
    try:
        factory: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # Foreign code raises whatever it likes.
        raise _not_loaded(name, error) from None
    return factory


def _parts(spec: options.Spec) -> tuple[str, dict[str, Any]]:
    return options.spec_parts(
        spec, noun="guide", error=ControlError, example="{contrast: {alpha: 1}}"
    )


def _not_loaded(name: str, error: Exception) -> ControlError:
    return ControlError(
        f"cannot load guide `{name}` ({type(error).__name__}: {error})",
        where="measure.guides",
        fix="The module must be importable from here, and its factory must take a"
        " checkpoint, a scheme, a mode and the options that were given.",
    )
