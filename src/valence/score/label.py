"""Human labels as rewards: what a document's own columns say of it."""

from __future__ import annotations

import bisect
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeGuard

from valence.data import Document, Failure, Mark, Result, Score, ScorerId, Segment
from valence.errors import ScorerError
from valence.score.density import clipped
from valence.store import digest

Answer = Callable[[object, Document, Sequence[Segment]], list[Result]]


class Label:
    """A column's labels, in one of three readings.

    - `rewards`: a map from its values (as text; `true`, `null` as in JSON) to rewards. Any
      other value is a failure of kind "unknown-label".
    - `spans`: it holds the characters that raters marked, as a list of offsets, a list of
      [start, end) pairs, or either as JSON text; with `keys`, a list of maps that hold start
      and end under these names. `how: any` gives a segment -1 if a marked character lies in
      it, else 0; `how: share` minus the share of its characters. Where raters marked nothing
      at all, every segment gets 0; with `unmarked: unlabelled` a failure of kind "unmarked",
      for posts that raters did judge bad as a whole.
    - Neither: it holds a number, which times `scale` is the reward.

    A label of the whole document is given to each of its segments. A document without the
    column, or with nothing in it, is a failure of kind "no-label"; an empty list of offsets
    says that nothing is marked. Raises `ScorerError` if the readings are mixed.
    """

    def __init__(
        self,
        column: str,
        rewards: dict[str | bool | int | float, float] | None = None,
        spans: bool = False,
        how: Literal["any", "share"] = "any",
        scale: float = 1.0,
        unmarked: Literal["good", "unlabelled"] = "good",
        keys: tuple[str, str] | None = None,
    ) -> None:
        if spans and rewards is not None:
            raise ScorerError(
                "`rewards` and `spans` are two readings of one column",
                where="scorer `label`",
                fix="Give one of them.",
            )
        if keys is not None and not spans:
            raise ScorerError(
                "`keys` names start and end of spans",
                where="scorer `label`",
                fix="Give it with `spans: true`.",
            )
        self.column = column
        self.keeps_marks = spans
        named = {_text(label): reward for label, reward in (rewards or {}).items()}
        if spans:
            self._answer, self.meaning = _marked(how, unmarked, keys), _SPANS[how].format(column)
        elif rewards is not None:
            self._answer = _named(named)
            self.meaning = f"the reward that the recipe gives for the label in `{column}`"
        else:
            self._answer = _numbered(scale)
            self.meaning = f"the number in `{column}` times {scale:g}"
        options: dict[str, object] = {"column": column, "rewards": rewards and named}
        options |= {"spans": spans, "unmarked": unmarked}
        # Only where it is given: rewards that were made before there was such a key stay valid.
        options |= {} if keys is None else {"keys": list(keys)}
        self.id = ScorerId(
            name="label", version="1", digest=digest({**options, "how": how, "scale": scale})
        )

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """One reward per segment, in order."""
        value = document.columns.get(self.column)
        if value is None or (isinstance(value, str) and not value.strip()):
            missing = self.column not in document.columns
            told = f"there is no column `{self.column}`" if missing else f"`{self.column}` is empty"
            return [_failed("no-label", told)] * len(segments)
        return self._answer(value, document, segments)


_SPANS = {
    "any": "-1 where a rater marked a character (column `{}`), else 0",
    "share": "minus the share of characters that raters marked (column `{}`); 0 is none",
}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _failed(kind: str, message: str) -> Failure:
    return Failure(stage="score", kind=kind, message=message)


def _named(rewards: dict[str, float]) -> Answer:
    def answer(value: object, _: Document, segments: Sequence[Segment]) -> list[Result]:
        label = _text(value)
        if label in rewards:
            return [Score(value=rewards[label])] * len(segments)
        return [_failed("unknown-label", f"no reward is given for {label[:50]!r}")] * len(segments)

    return answer


def _numbered(scale: float) -> Answer:
    def answer(value: object, _: Document, segments: Sequence[Segment]) -> list[Result]:
        try:
            number = float(value) * scale  # type: ignore[arg-type]  # What it raises is caught.
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            told = f"{_text(value)[:50]!r} is not a number"
            return [_failed("unknown-label", told)] * len(segments)
        return [Score(value=number)] * len(segments)

    return answer


def _marked(
    how: Literal["any", "share"],
    unmarked: Literal["good", "unlabelled"],
    keys: tuple[str, str] | None,
) -> Answer:
    def answer(value: object, document: Document, segments: Sequence[Segment]) -> list[Result]:
        try:
            ranges = marked_ranges(value, len(document.text), keys)
        except ValueError as error:
            return [_failed("broken-spans", str(error))] * len(segments)
        if not ranges and unmarked == "unlabelled":
            return [_failed("unmarked", "raters marked nothing in it")] * len(segments)
        ends = [end for _, end in ranges]
        return [
            _in_segment(
                itertools.islice(ranges, bisect.bisect_right(ends, segment.start), None),
                segment,
                how,
            )
            for segment in segments
        ]

    return answer


def _in_segment(ranges: Iterable[tuple[int, int]], segment: Segment, how: str) -> Score:
    """`ranges` are those that end after the segment's start."""
    marks = tuple(
        clipped(Mark(start=start, end=end, code="marked", message="by a rater"), segment)
        for start, end in itertools.takewhile(lambda item: item[0] < segment.end, ranges)
    )
    if how == "any":
        return Score(value=-1.0 if marks else 0.0, marks=marks)
    count = sum(mark.end - mark.start for mark in marks)
    return Score(value=-count / (segment.end - segment.start), marks=marks)


def marked_ranges(
    value: object, size: int, keys: tuple[str, str] | None = None
) -> list[tuple[int, int]]:
    """Disjoint [start, end) ranges, ascending, of what marks characters of a text.

    `value` is a list of offsets, or of [start, end) pairs, or of maps that hold those under
    `keys`, or any of these as JSON text; `size` is the text's length in characters. Raises
    `ValueError` for anything else, and for offsets outside of the text.
    """
    given = json.loads(value) if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise ValueError("the column holds no list of offsets")
    joined: list[tuple[int, int]] = []
    for start, end in sorted(_range(item, keys) for item in given):
        if not 0 <= start < end <= size:
            raise ValueError(f"[{start}, {end}) is no part of a text of {size} characters")
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _range(item: object, keys: tuple[str, str] | None) -> tuple[int, int]:
    if keys is not None and isinstance(item, Mapping):
        item = [item.get(key) for key in keys]
    if _is_offset(item):
        return item, item + 1
    if isinstance(item, list | tuple) and len(item) == 2 and all(map(_is_offset, item)):
        return item[0], item[1]
    raise ValueError(f"{_text(item)[:50]} is neither an offset nor a [start, end) pair")


def _is_offset(item: object) -> TypeGuard[int]:
    return isinstance(item, int) and not isinstance(item, bool)
