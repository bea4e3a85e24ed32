"""The journal of an attack: its finished rounds, on disk, so that it can be resumed.

A line per round and one for the confirmation, written whole or not at all. A round follows
from those before it and the seed, so a resumed attack finds what an uninterrupted one does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from valence.errors import RunExistsError, StoreError
from valence.measure.redteam.attempt import Attempt, Prompt
from valence.measure.redteam.budget import Budget
from valence.store import digest, write_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The prompts tried in one round, and all that the round cost."""

    attempts: tuple[Attempt, ...]
    budget: Budget


class Journal:
    """The rounds of one attack, the start first, and its worst prompt scored again.

    `inputs` are what the results follow from. Raises `RunExistsError` for a journal of other
    inputs and `StoreError` for one that is damaged.
    """

    def __init__(self, path: Path, inputs: Mapping[str, Any]) -> None:
        self.path, self._key = path, digest(dict(inputs))
        self.rounds: list[Round] = []
        self.confirmed: Round | None = None
        if path.is_file():
            self._read(path.read_text(encoding="utf-8"))

    def add(self, found: Round) -> None:
        """Note a finished round."""
        self.rounds.append(found)
        self._write()

    def confirm(self, found: Round) -> None:
        """Note what fresh texts of the worst prompt gave."""
        self.confirmed = found
        self._write()

    @property
    def budget(self) -> Budget:
        """What everything cost."""
        parts = [each.budget for each in (*self.rounds, self.confirmed) if each is not None]
        return sum(parts, Budget())

    @property
    def attempts(self) -> list[Attempt]:
        """All prompts tried in rounds."""
        return [attempt for each in self.rounds for attempt in each.attempts]

    def _write(self) -> None:
        lines: list[dict[str, Any]] = [{"key": self._key}]
        lines += [{"round": number, **asdict(each)} for number, each in enumerate(self.rounds)]
        if self.confirmed is not None:
            lines.append({"round": "confirmed", **asdict(self.confirmed)})
        write_text(self.path, json_lines(lines))

    def _read(self, text: str) -> None:
        try:
            head, *lines = [json.loads(line) for line in text.split("\n") if line]
            if head["key"] != self._key:
                raise RunExistsError(
                    "holds a red team of another model, mode, reward or recipe",
                    where=str(self.path),
                    fix="Delete it, or give another directory.",
                )
            for line in lines:
                found = Round(
                    attempts=tuple(_attempt(each) for each in line["attempts"]),
                    budget=Budget(**line["budget"]),
                )
                if line["round"] == "confirmed":
                    self.confirmed = found
                else:
                    self.rounds.append(found)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"not a journal of an attack ({error!r})",
                where=str(self.path),
                fix="Delete it and run again.",
            ) from None


def json_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Plain data as JSON, one a line; NaN is refused."""
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _attempt(plain: dict[str, Any]) -> Attempt:
    prompt = Prompt(text=plain["prompt"]["text"], ids=tuple(plain["prompt"]["ids"]))
    numbers = {key: tuple(plain[key]) for key in ("rewards", "weights")}
    return Attempt(**{**plain, **numbers, "prompt": prompt})
