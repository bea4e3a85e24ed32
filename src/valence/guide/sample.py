"""Texts from a checkpoint directory, in one call."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from valence.control import read_known_scheme
from valence.errors import ControlError
from valence.guide.ask import asks_for
from valence.guide.guides import Ledger
from valence.guide.loop import generate
from valence.guide.modes import modes_of
from valence.guide.release import Wishes
from valence.guide.table import Specs, build_guides
from valence.model import load_checkpoint
from valence.objective.readout import READOUT, load_readout


def sample_checkpoint(
    directory: Path,
    *,
    mode: str | None = None,
    guides: Specs = (),
    count: int = 1,
    prompt: str = "",
    max_tokens: int = 256,
    temperature: float = 1.0,
    top_p: float = 0.9,
    seed: int = 0,
    wishes: Wishes | None = None,
    ledger: Ledger | None = None,
) -> Iterator[str]:
    """Texts from a checkpoint directory in a mode, its preferred one by default.

    `guides` are named as in recipes: `{"contrast": {"alpha": 1}}`, or several in a list. What
    `valence sample` does. Raises `MissingFileError`, `ModelError`, `ControlError`.
    """
    if not (math.isfinite(temperature) and temperature > 0 and 0 < top_p <= 1):
        raise ControlError(
            f"temperature {temperature} and top-p {top_p} cannot be used",
            fix="The temperature is above 0; top-p is above 0 and at most 1.",
        )
    checkpoint = load_checkpoint(directory)
    known = read_known_scheme(directory)
    if known is None:
        raise ControlError(
            "the directory has no valence.json, so its modes are unknown",
            where=str(directory),
            fix="Sample it with plain transformers, or train it with `valence run`.",
        )
    mode = mode or modes_of(checkpoint.scheme)[0]
    readout = directory / READOUT
    written = dict(
        generate(
            checkpoint,
            known,
            mode,
            asks_for(checkpoint.tokenizer, [prompt], per_prompt=count, seed=seed),
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            guides=build_guides(
                guides,
                checkpoint,
                known,
                mode,
                readout=load_readout(readout) if readout.is_file() else None,
            ),
            wishes=wishes,
            ledger=ledger,
        )
    )
    for number in range(count):
        yield written[number].text
