"""The supervisor: text is held back until its segment has passed, else it is written anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from valence.control import ControlScheme
from valence.errors import ControlError
from valence.guide.measures import Measure, Said
from valence.guide.pick import stream
from valence.guide.protocol import Guide, Site, Step
from valence.guide.rows import Row, Rows
from valence.guide.segments import SegmentKind, boundaries
from valence.model import Checkpoint, text_ids

Otherwise = Literal["stop", "refuse", "best"]


@dataclass(slots=True)
class _Passage:
    """Where a row is: what has passed, and what has not."""

    passed: int = 0
    """Tokens that may be emitted."""
    tries: int = 0
    """Of the segment that is being written."""
    restarts: int = 0
    """Of the whole text: each has chances of its own."""
    best: tuple[float, list[int]] | None = None
    lowered: set[int] = field(default_factory=set)
    """First tokens of tries that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What a supervisor decided on one text: each segment's value, and whether it passed."""

    values: tuple[float | None, ...]
    passed: tuple[bool, ...]
    texts: tuple[str, ...]


class Rollback(Guide):
    """Write a segment anew until its value is at least `threshold`, at most `retries` times.

    Then, `otherwise`: the text `stop`s at its last good boundary; a `refusal` text ends it; or
    the `best` of the tries stands, which is the one way in which something that failed is ever
    emitted. Segments are those that the model was trained on, unless `segments` says otherwise
    (`window` is its size in text tokens). A segment that could not be measured has failed. The
    next try of a segment has other chances, and the first text token of those that failed is made
    less likely by `lower` (nats); with 0 accepted segments are distributed as the model's own,
    given that they pass.

    Segments are looked at every few steps, all of the batch together, and what was written
    beyond one that fails is taken back with it: a text does not depend on when that was.
    """

    every = 8

    def __init__(
        self,
        measure: Measure,
        threshold: float,
        *,
        retries: int = 5,
        otherwise: Otherwise = "stop",
        refusal: str = "",
        lower: float = 0.0,
        segments: SegmentKind | None = None,
        window: int = 64,
    ) -> None:
        if not math.isfinite(threshold) or retries < 0 or not math.isfinite(lower):
            raise ControlError(
                f"threshold {threshold}, retries {retries} and lower {lower} cannot be used",
                where="rollback",
                fix="Give finite numbers, and retries of 0 or more.",
            )
        self.measure, self.threshold, self.retries = measure, threshold, retries
        self.otherwise, self.refusal, self.lower = otherwise, refusal, lower
        self.segments, self.window = segments, window

    def fits(self, checkpoint: Checkpoint, known: ControlScheme | None, mode: str) -> bool:
        """Whether its measure can be asked."""
        return self.measure.fits(checkpoint, known)

    @property
    def looked(self) -> int:
        """Tokens that the measure had read."""
        return self.measure.steps

    def begin(self, site: Site) -> None:
        """Raises what the measure raises for a model that it cannot ask."""
        self._site = site
        self._ends = boundaries(site.checkpoint, site.control_ids, self.segments, self.window)
        self._passages: dict[Row, _Passage] = {}
        self._log: dict[int, list[tuple[str, float | None, bool]]] = {}
        self._refusal = text_ids(site.checkpoint.tokenizer, self.refusal) if self.refusal else []
        self.measure.begin(site)

    def scores(self, step: Step, scores_NV: torch.Tensor) -> torch.Tensor:
        """The first tokens of tries that failed are less likely."""
        for place, row in enumerate(step.rows):
            passage = self._passages.get(row)
            if passage is None or not passage.lowered or row.done or row.held:
                continue
            if self._first_text(row, passage):
                scores_NV = scores_NV.clone()
                scores_NV[place, list(passage.lowered)] -= self.lower
        return scores_NV

    def _first_text(self, row: Row, passage: _Passage) -> bool:
        """Whether the row's next text token is the first of its segment."""
        return all(token in self._site.control_ids for token in row.tokens[passage.passed :])

    def passed(self, row: Row) -> int:
        """Tokens of segments that have passed."""
        passage = self._passages.get(row)
        return 0 if passage is None else passage.passed

    def review(self, rows: Rows) -> None:
        """Judge every segment that has ended; what fails is taken back."""
        gone = [row for row in self._passages if row not in set(rows.rows)]
        self.measure.forget(gone)
        for row in gone:
            del self._passages[row]
        while True:
            said = []
            for row in rows.rows:
                passage = self._passages.setdefault(row, _Passage())
                begin = passage.passed
                for end in self._ends.after(row, begin):
                    said.append(Said(row=row, begin=begin, end=end))
                    begin = end
            if not said:
                return
            failed: set[Row] = set()
            for each, value in zip(said, self.measure.values(said, rows), strict=True):
                # What follows a segment that failed was taken back with it.
                if each.row not in failed and not self._decide(each, value, rows):
                    failed.add(each.row)

    def _decide(self, said: Said, value: float | None, rows: Rows) -> bool:
        """Whether a segment passes; if not, its row goes on from before it."""
        row, passage = said.row, self._passages[said.row]
        passes = value is not None and value >= self.threshold
        text = self._site.checkpoint.tokenizer.decode(
            [t for t in row.tokens[said.begin : said.end] if t not in self._site.control_ids]
        )
        self._log.setdefault(row.number, []).append((text, value, passes))
        if passes:
            self._pass(passage, said.end)
            return True
        tokens = row.tokens[said.begin : said.end]
        ended = row.ended and said.end == len(row.tokens)
        if value is not None and (passage.best is None or value > passage.best[0]):
            passage.best = (value, [*tokens, *([self._site.band.eos_id] if ended else [])])
        first = next((t for t in tokens if t not in self._site.control_ids), None)
        rows.keep(row, passage.passed)
        passage.restarts += 1
        passage.tries += 1
        seed = (*self._site.asks[row.number].seed, passage.restarts)
        row.chances = stream(seed, self._site.checkpoint.model.device)
        if passage.tries <= self.retries:
            if self.lower and first is not None:
                passage.lowered.add(first)
        else:
            self._give_up(row, passage, rows)
        return False

    def _give_up(self, row: Row, passage: _Passage, rows: Rows) -> None:
        best = passage.best
        if self.otherwise == "best" and best is not None:
            tokens = best[1]
            ends = bool(tokens) and tokens[-1] == self._site.band.eos_id
            rows.write(row, tokens[: len(tokens) - ends])
            row.ended = row.done = ends
            row.done = ends or row.text >= rows.max_text or len(row.tokens) >= row.limit
        else:
            if self.otherwise == "refuse":
                row.tokens += self._refusal
            row.done = True
        self._pass(passage, len(row.tokens))

    def _pass(self, passage: _Passage, end: int) -> None:
        passage.passed, passage.tries, passage.best = end, 0, None
        passage.lowered = set()

    def verdicts(self, number: int) -> Verdicts:
        """What was decided on the text of an ask, in the order in which it was looked at."""
        found: Sequence[tuple[str, float | None, bool]] = self._log.get(number, [])
        return Verdicts(
            values=tuple(value for _, value, _ in found),
            passed=tuple(passes for _, _, passes in found),
            texts=tuple(text for text, _, _ in found),
        )
