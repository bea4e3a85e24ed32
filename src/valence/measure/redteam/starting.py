"""Prompts that nobody searched for: what the pool starts from, and what it is held against."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from valence.data import Failure
from valence.errors import CorpusError, MissingFileError
from valence.measure.redteam.attempt import Prompt
from valence.measure.redteam.proposer import Proposer
from valence.model import Checkpoint, text_ids

Answer = Prompt | Failure

UNFIT = frozenset({"known", "long"})
"""What a prompt is refused for; any other failure says that there was none."""


def read_prompts(path: Path, column: str = "text") -> list[str]:
    """Prompts from .jsonl (the key `column`), or from text with one a line.

    Raises `MissingFileError`; `CorpusError` that names the line, or for a file without any.
    """
    if not path.is_file():
        raise MissingFileError("no such file", where=str(path), fix="Give a file of prompts.")
    try:
        lines = path.read_bytes().decode("utf-8").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise CorpusError(f"is not UTF-8 ({error.reason})", where=str(path)) from None
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise CorpusError("holds no prompt", where=str(path), fix="Give a file with some.")
    if path.suffix != ".jsonl":
        return [line for _, line in rows]
    found = []
    for number, line in rows:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        prompt = row.get(column) if isinstance(row, dict) else None
        if not isinstance(prompt, str):
            raise CorpusError(
                f"has no text under `{column}`",
                where=f"{path}, line {number}",
                fix="Each line is a JSON object; name its key with redteam.pool.column.",
            )
        found.append(prompt)
    return found


def as_prompt(checkpoint: Checkpoint, text: str, taken: set[str], *, longest: int) -> Answer:
    """A text as a prompt, or why it cannot be one; `taken` are prompts that there are."""
    ids = tuple(text_ids(checkpoint.tokenizer, text))
    for kind, wrong in {
        "empty": not text.strip() or not ids,
        "known": text in taken,
        "long": len(ids) > longest,
    }.items():
        if wrong:
            return Failure(stage="propose", kind=kind, message=f"the prompt is {kind}")
    return Prompt(text=text, ids=ids)


def unattacked(
    checkpoint: Checkpoint, given: Sequence[str] | None, *, longest: int, rng: np.random.Generator
) -> Iterator[Answer]:
    """The given prompts in a random order, each once."""
    taken: set[str] = set()
    for place in rng.permutation(len(given or ())):
        answer = as_prompt(checkpoint, (given or ())[place], taken, longest=longest)
        if isinstance(answer, Prompt):
            taken.add(answer.text)
        yield answer


def proposed(
    proposer: Proposer,
    checkpoint: Checkpoint,
    exemplars: Sequence[str],
    taken: set[str],
    *,
    longest: int,
    tries: int,
    rng: np.random.Generator,
) -> Iterator[Answer]:
    """Answers of a proposer until one can be used, which is the last and is then `taken`."""
    for _ in range(tries):
        for text in proposer.propose(exemplars, 1, int(rng.integers(2**31))):
            answer = (
                text
                if isinstance(text, Failure)
                else as_prompt(checkpoint, text, taken, longest=longest)
            )
            if isinstance(answer, Prompt):
                taken.add(answer.text)
                yield answer
                return
            yield answer
