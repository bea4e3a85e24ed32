"""What leaves while texts are written: pieces that nobody will take back, and early ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from valence.guide.ask import Ask
from valence.guide.rows import Row
from valence.model import continuation

BROKEN = "\ufffd"
"""What decoders give for bytes that are no character yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a caller wants of texts while they are written.

    `on_text` is given (number of the ask, new text), for each ask in order; a text ends before the
    first of `stops` that it holds; one whose number is `cancelled` ends where it is.
    """

    on_text: Callable[[int, str], None] | None = None
    stops: tuple[str, ...] = ()
    cancelled: Callable[[int], bool] | None = None


class Release:
    """Looks at rows after each step: ends some of them, and hands out what is final."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        asks: Sequence[Ask],
        control_ids: Sequence[int],
        wishes: Wishes,
    ) -> None:
        self.tokenizer, self.asks, self.wishes = tokenizer, asks, wishes
        self._controls = frozenset(control_ids)
        self._given: dict[int, str] = {}

    def end(self, rows: Sequence[Row]) -> None:
        """End rows that hold a stop or that nobody waits for any more."""
        for row in rows:
            if self.wishes.cancelled is not None and self.wishes.cancelled(row.number):
                row.done = True
            if self.wishes.stops and not row.done and self._stop(self._text(row)) is not None:
                row.done = True

    def text(self, row: Row) -> str:
        """The text of a row that has left, up to its first stop."""
        text = self._text(row)
        stop = self._stop(text)
        return text if stop is None else text[:stop]

    def give(self, row: Row, passed: int | None = None, *, last: bool = False) -> None:
        """Hand out what is new of a row's first `passed` tokens, all of them if not given."""
        if self.wishes.on_text is None or row.dropped:
            return
        text = self.text(row) if last else self._final(self._text(row, passed))
        given = self._given.get(row.number, "")
        if len(text) > len(given):
            self._given[row.number] = text
            self.wishes.on_text(row.number, text[len(given) :])

    def _final(self, text: str) -> str:
        """As much of a text as later tokens cannot change or turn out to be a stop."""
        stop = self._stop(text)
        if stop is not None:
            return text[:stop]
        text = text.rstrip(BROKEN)
        for stop_text in self.wishes.stops:
            for size in range(min(len(stop_text) - 1, len(text)), 0, -1):
                if text.endswith(stop_text[:size]):
                    text = text[:-size]
                    break
        return text

    def _stop(self, text: str) -> int | None:
        places = [place for stop in self.wishes.stops if (place := text.find(stop)) >= 0]
        return min(places, default=None)

    def _text(self, row: Row, passed: int | None = None) -> str:
        tokens = [token for token in row.tokens[:passed] if token not in self._controls]
        return continuation(self.tokenizer, self.asks[row.number].ids, tokens)
