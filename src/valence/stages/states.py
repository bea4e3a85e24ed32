"""Training states, from which an interrupted training goes on: which to keep, and for how long."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valence.store import NOTE, digest, storage, write_text


def keep_fitting_states(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Remove the states in a model's folder from which this training cannot go on.

    Those are states that a killed run was still saving, and states of other `inputs`: of
    another learning rate, for instance. Leaves a note of the inputs for the next call.
    """
    note, key = folder / NOTE, digest(inputs)
    fits = note.is_file() and note.read_text(encoding="utf-8") == key
    with storage(folder):
        for state in folder.glob("checkpoint-*"):
            # The Trainer writes this file last.
            if not fits or not (state / "trainer_state.json").is_file():
                shutil.rmtree(state)
    write_text(note, key)


def remove_states(folder: Path) -> None:
    """Remove what a finished model no longer needs."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # Other models may still have theirs there.
        folder.parent.rmdir()
