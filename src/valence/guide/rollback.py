"""The supervisor: text is held back until its segment has passed, else it is written anew."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch

from valence.errors import ControlError
from valence.guide.ask import Ask
from valence.guide.measures import Measure, Said
from valence.guide.pick import stream
from valence.guide.protocol import Site, Step
from valence.guide.reviewing import Reviewing
from valence.guide.rows import Row, Rows
from valence.guide.segments import SegmentKind
from valence.model import text_ids

OWN_TEXTS = 64
"""Texts that a threshold is found by."""
LEAST = -1e300
"""A threshold that everything passes that has a value."""
Otherwise = Literal["stop", "refuse", "best"]
RELEASED = 1 / 16
"""What a token costs that could be released, in tokens through the model."""
LATEST = 128
"""Tokens after the end of a segment when it is looked at whatever that costs."""


@dataclass(slots=True)
class _Passage:
    """Where a row is: what has passed, and what has not."""

    passed: int = 0
    """Tokens that may be emitted."""
    tries: int = 0
    """Of the segment that is being written."""
    restarts: int = 0
    """Of the whole text: each has chances of its own."""
    waited: int = 0
    """Steps that it has been done, and nobody looked."""
    best: tuple[float, list[int]] | None = None
    lowered: set[int] = field(default_factory=set)
    """First tokens of tries that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What a supervisor decided on one text: each segment's value, and whether it passed."""

    values: tuple[float | None, ...]
    passed: tuple[bool, ...]
    texts: tuple[str, ...]


class Rollback(Reviewing):
    """Write a segment anew until its value is at least `threshold`, at most `retries` times.

    Then, `otherwise`: the text `stop`s at its last good boundary; a `refusal` text ends it; or
    the `best` of the tries stands, which is the one way in which something that failed is ever
    emitted. A segment that could not be measured has failed. The next try of a segment has other
    chances, and the first text token of those that failed is made less likely by `lower` (nats);
    with 0 accepted segments are distributed as the model's own, given that they pass.

    In the place of `threshold`, `rejects` is a share of segments: the threshold is then the value
    that so many fall below of texts as long as these that the mode writes unguided. Fewer are
    rejected then where what follows good segments is better.

    What was written beyond a segment that fails is taken back with it: a text does not depend on
    when it was looked at. Where a look is a pass through the model for the whole batch, rows go on
    until what that puts at risk (tokens after a segment that might fail) exceeds the pass.
    """

    def __init__(
        self,
        measure: Measure,
        threshold: float | None = None,
        *,
        rejects: float | None = None,
        retries: int = 5,
        otherwise: Otherwise = "stop",
        refusal: str = "",
        lower: float = 0.0,
        segments: SegmentKind | None = None,
        window: int = 64,
    ) -> None:
        if (threshold is None) == (rejects is None):
            raise ControlError(
                "a rollback needs either a threshold or the share that it rejects",
                where="rollback",
                fix="Give one of `threshold` and `rejects`.",
            )
        given = -math.inf if threshold is None else threshold
        finite = math.isfinite(0.0 if threshold is None else threshold) and math.isfinite(lower)
        if not finite or retries < 0 or not 0 <= (rejects or 0) < 1:
            raise ControlError(
                f"threshold {threshold}, rejects {rejects}, retries {retries} and lower {lower}"
                " cannot be used",
                where="rollback",
                fix="Give finite numbers, a share below 1 and retries of 0 or more.",
            )
        super().__init__(measure, segments, window)
        self.threshold, self.rejects, self.retries = given, rejects, retries
        self.otherwise, self.refusal, self.lower = otherwise, refusal, lower

    def begin(self, site: Site) -> None:
        """Find the threshold, if a share was given.

        Raises what the measure raises for a model that it cannot ask, and `ControlError` where
        there is nothing to find a threshold by.
        """
        if self.rejects is not None:
            self.threshold = self._found(site, self.rejects)
        super().begin(site)
        self._passages: dict[Row, _Passage] = {}
        self._judged, self._failed = 0, 0
        self._log: dict[int, list[tuple[tuple[int, ...], float | None, bool]]] = {}
        self._refusal = text_ids(site.checkpoint.tokenizer, self.refusal) if self.refusal else []

    def _found(self, site: Site, share: float) -> float:
        """The value that a share of segments of the mode's own texts falls below."""
        asks = [Ask(ids=(), seed=(5, 11, place)) for place in range(OWN_TEXTS)]
        watch = Rollback(self.measure, LEAST, segments=self.segments, window=self.window)
        site.write(asks, [watch], site.max_tokens)
        found = sorted(v for each in watch._log.values() for _, v, _ in each if v is not None)
        if not found:
            raise ControlError(
                "no segment of the mode's own texts has a value",
                where="rollback: rejects",
                fix="Give a `threshold`.",
            )
        return found[int(share * len(found))]

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
        """Judge segments that have ended; what fails is taken back."""
        here = set(rows.rows)
        gone = [row for row in self._passages if row not in here]
        self.measure.forget(gone)
        for row in gone:
            del self._passages[row]
        while said := self._due(rows):
            failed: dict[Row, int] = {}
            for each, value in zip(said, self.measure.values(said, rows), strict=True):
                # What follows a segment that failed is taken back with it.
                if each.row not in failed and not self._passes(each, value):
                    failed[each.row] = each.begin
            rows.keep(failed)
            for row in failed:
                self._again(row, rows)

    def _due(self, rows: Rows) -> list[Said]:
        """Segments that have ended, if it pays to look at them now; of each row the first ones."""
        ended = self._ended(rows)
        if not ended or not self.measure.whole_batch:
            return [said for each in ended for said in each]
        if any(row.goes for row in rows.rows):
            beyond = [len(each[0].row.tokens) - each[0].end for each in ended]
            # How often a segment fails, of those seen; before any was, as if one in four had.
            # Where hardly any does, what nobody looks at is still not released.
            share = max((self._failed + 1) / (self._judged + 4), RELEASED)
            risk = share * sum(beyond) + sum(self._passages[each[0].row].waited for each in ended)
            if risk < len(rows.rows) and max(beyond) < LATEST:
                return []
        # A pass asks all rows as often as one of them: as long as that is of use to many.
        most = max(map(len, ended))
        often = [sum(len(each) > nth for each in ended) for nth in range(most)]
        count = sum(3 * hits >= len(rows.rows) for hits in often) or 1
        return [said for each in ended for said in each[:count]]

    def _ended(self, rows: Rows) -> list[list[Said]]:
        """Of each row that has any, the segments that have ended and not passed yet."""
        found = []
        for row in rows.rows:
            passage = self._passages.setdefault(row, _Passage())
            ends = self._ends.after(row, passage.passed)
            if self.measure.whole_batch and not row.done and ends and ends[-1] == len(row.tokens):
                # Its last token was not read yet.
                ends.pop()
            if ends:
                begins = [passage.passed, *ends[:-1]]
                found.append(
                    [Said(row=row, begin=b, end=e) for b, e in zip(begins, ends, strict=True)]
                )
                # What is done keeps its place until it has passed.
                row.held = row.done
                passage.waited += row.done * self.every
        return found

    def _passes(self, said: Said, value: float | None) -> bool:
        """Whether a segment passes, noted."""
        row, passage = said.row, self._passages[said.row]
        row.held, passage.waited = False, 0
        passes = value is not None and value >= self.threshold
        tokens = tuple(row.tokens[said.begin : said.end])
        self._log.setdefault(row.number, []).append((tokens, value, passes))
        self._judged += 1
        if passes:
            self._pass(passage, said.end)
            return True
        self._failed += 1
        ended = row.ended and said.end == len(row.tokens)
        if value is not None and (passage.best is None or value > passage.best[0]):
            passage.best = (value, [*tokens, *([self._site.band.eos_id] if ended else [])])
        first = next((t for t in tokens if t not in self._site.control_ids), None)
        if self.lower and first is not None:
            passage.lowered.add(first)
        return False

    def _again(self, row: Row, rows: Rows) -> None:
        """Have a segment that failed, and was taken back, written anew; or give up."""
        passage = self._passages[row]
        passage.restarts += 1
        passage.tries += 1
        seed = (*self._site.asks[row.number].seed, passage.restarts)
        row.chances = stream(seed, self._site.checkpoint.model.device)
        if passage.tries > self.retries:
            self._give_up(row, passage, rows)

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
                row.text += len(self._refusal)
            row.done = True
        self._pass(passage, len(row.tokens))

    def _pass(self, passage: _Passage, end: int) -> None:
        passage.passed, passage.tries, passage.best = end, 0, None
        passage.lowered = set()

    def verdicts(self, number: int) -> Verdicts:
        """What was decided on the text of an ask, in the order in which it was looked at."""
        found = self._log.get(number, [])
        controls, tokenizer = set(self._site.control_ids), self._site.checkpoint.tokenizer
        return Verdicts(
            values=tuple(value for _, value, _ in found),
            passed=tuple(passes for _, _, passes in found),
            texts=tuple(
                tokenizer.decode([t for t in ids if t not in controls]) for ids, *_ in found
            ),
        )
