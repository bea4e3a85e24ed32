"""PEP 8 as a reward: minus pycodestyle violations per character, in context or line by line.

Violations are pycodestyle's, with its default ignore list and 79 columns, found by a
`Checker` that skips work which cannot find any; no configuration file is ever read.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from tokenize import (
    ERRORTOKEN,
    NEWLINE,
    TokenError,
    generate_tokens,
)

import pycodestyle

from valence.corpus.segment import BYTE_ORDER_MARK, line_ends, source_lines
from valence.data import Document, Failure, Mark, Result, Score, ScorerId, Segment
from valence.score.checker import IGNORED, Checker, Style, Violation, style

LOCAL_CODES = ("E2", "W2", "W6", "E7", "E501")


def _null_byte(text: str) -> Violation | None:
    if "\0" not in text:
        return None
    row = bisect.bisect_right(line_ends(text), text.index("\0")) + 1
    return row, 0, "E902 source code cannot contain null bytes"


def _untokenizable(row: int, message: str) -> Failure:
    return Failure(stage="score", kind="untokenizable", message=f"line {row}: {message}")


def is_tokenizable(text: str) -> Failure | None:
    """None if Python's tokenizer reads `text` to its end, else why it does not.

    What the pure-Python tokenizer of Python 3.11 passes on as an ERRORTOKEN (a stray "$", a
    string that does not end on its line) counts as an error, as it is one in later versions.
    """
    broken = _null_byte(text)
    if broken is not None:
        return _untokenizable(broken[0], broken[2][5:])
    row = 1
    try:
        for token in generate_tokens(iter(source_lines(text)).__next__):
            row = token.start[0]
            if token.type == ERRORTOKEN:
                return _untokenizable(row, f"unexpected {token.string[:20]!r}")
    except Exception as error:
        return _untokenizable(_error_row(error, row), _message(error))
    return None


def _message(error: BaseException) -> str:
    return f"{type(error).__name__}: {error.args[0] if error.args else error}"


def _error_row(error: BaseException, default: int) -> int:
    """The row in a TokenError (message, (row, column)) or a SyntaxError."""
    if isinstance(error, SyntaxError):
        return error.lineno or default
    where = error.args[1] if len(error.args) > 1 else None
    return where[0] if isinstance(where, tuple) else default


def complete_statements(text: str) -> str:
    """The longest prefix of `text` that ends with a logical line and its line break.

    It cuts off what a length limit left unfinished: an open bracket or string, a line
    without its break; also comments and blank lines after the last statement. "" if no
    logical line is complete. A text that cannot be tokenised for another reason than that
    it ends too early comes back unchanged, to be a `Failure` when it is scored.
    """
    lines = source_lines(text)
    unfinished = len(lines) if lines and not lines[-1].endswith("\n") else None
    complete = row = 0
    try:
        for token in generate_tokens(iter(lines).__next__):
            row = token.start[0]
            if token.type == NEWLINE and token.string:
                complete = row
            elif token.type == ERRORTOKEN and token.string != " ":  # before what it stands for
                if row != unfinished or token.string[0] not in "\"'\\":
                    return text
                break
    except (SyntaxError, TokenError) as error:
        if not _ends_too_early(error, _error_row(error, row) == unfinished):
            return text
    except Exception:
        return text
    prefix = text[: line_ends(text)[complete - 1]] if complete else ""
    # An unmatched closing bracket also looks like an early end.
    return prefix if is_tokenizable(prefix) is None else text


def _ends_too_early(error: Exception, in_unfinished_line: bool) -> bool:
    message = str(error.args[0])
    if "EOF" in message or "unterminated triple-quoted" in message:
        return True
    return in_unfinished_line and "unterminated" in message


class _Located:
    """Character offsets of pycodestyle's rows and columns in the original text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.ends = line_ends(text)
        self.shift = int(text.startswith(BYTE_ORDER_MARK))

    def offset(self, row: int, column: int) -> int:
        """Inside the row's line (its line break included), wherever pycodestyle points."""
        if row > len(self.ends):
            return max(len(self.text) - 1, 0)
        start = self.ends[row - 2] if row > 1 else self.shift
        return min(start + max(column, 0), self.ends[row - 1] - 1)

    def mark(self, violation: Violation) -> Mark:
        row, column, text = violation
        end = self.ends[min(row, len(self.ends)) - 1] if self.ends else 0
        return _mark(self.text, self.offset(row, column), end, text)


_WORD_OR_BLANKS = re.compile(r"\w+|[ \t]+")


def _mark(text: str, start: int, line_end: int, message: str) -> Mark:
    """One word, one stretch of blanks or one character; the rest of a line that is too long."""
    end = line_end
    if not message.startswith("E501"):
        match = _WORD_OR_BLANKS.match(text, start, line_end)
        end = match.end() if match else min(start + 1, line_end)
    return Mark(start=start, end=end, code=message[:4], message=message[5:])


def _per_character(offsets: Iterable[int], segments: Sequence[Segment]) -> list[Result]:
    counts = [0] * len(segments)
    starts = [segment.start for segment in segments]
    for offset in offsets:
        index = bisect.bisect_right(starts, offset) - 1
        if index >= 0 and offset < segments[index].end:
            counts[index] += 1
    return [
        Score(value=-count / (segment.end - segment.start))
        for count, segment in zip(counts, segments, strict=True)
    ]


def _identify(name: str, version: int, style: Style) -> ScorerId:
    options = {
        "pycodestyle": pycodestyle.__version__,
        "python": sys.version_info[:2],  # the tokenizer is a part of the scorer
        "select": style.select,
        "ignore": IGNORED,
        "max_line_length": style.options.max_line_length,
    }
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
    return ScorerId(name=name, version=str(version), digest=digest)


class Pep8:
    """Violations of each segment in the context of its document, per character.

    A document that cannot be tokenised has no number: each of its segments is a `Failure`
    of kind "untokenizable" (see `is_tokenizable`).
    """

    meaning = "minus pycodestyle violations per character, judged in context; 0 is clean"

    def __init__(self) -> None:
        self.id = _identify("pep8", 1, style())

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """One reward per segment, in order; violations count where they are located."""
        found, broken = _check(document.text)
        if broken is not None:
            failure = is_tokenizable(document.text) or _crash(broken)
            return [failure] * len(segments)
        located = _Located(document.text)
        return _per_character((located.offset(row, column) for row, column, _ in found), segments)

    def marks(self, text: str) -> list[Mark]:
        """What lowered the reward; if tokens end in an error, what came before, and "E902"."""
        found, broken = _check(text)
        located = _Located(text)
        return _in_text_order(map(located.mark, [*found, broken] if broken else found))


def _check(text: str) -> tuple[list[Violation], Violation | None]:
    """The violations, and where and why the check broke off, if it did."""
    checker = Checker(source_lines(text), style())
    try:
        found = checker.check_all()
    except Exception as error:
        checker.error(checker.line_number, 0, f"E902 {_message(error)}")
        found = sorted(checker.found)
    return found, _null_byte(text) or checker.broken


def _crash(broken: Violation) -> Failure:
    row, _, message = broken
    return Failure(stage="score", kind="checker-error", message=f"line {row}: {message[5:]}")


def _in_text_order(marks: Iterable[Mark]) -> list[Mark]:
    return sorted(marks, key=lambda mark: (mark.start, mark.end, mark.code, mark.message))


class Pep8Local:
    """Violations that a line shows by itself, without its indentation, per character.

    Only `LOCAL_CODES` less pycodestyle's default ignore list. That a lone line often has no
    complete tokens (an open bracket, the inside of a string) is normal: what was found in it
    counts. Blank lines score 0. A line on which pycodestyle itself crashes makes a `Failure`
    of kind "checker-error" of the segments that it touches.
    """

    meaning = "minus pycodestyle violations per character, each line on its own; 0 is clean"

    def __init__(self) -> None:
        self.id = _identify("pep8-local", 1, style(LOCAL_CODES))

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """One reward per segment, in order."""
        found = list(_check_lines(document.text))
        results = _per_character((mark.start for mark in found), segments)
        for crash in (mark for mark in found if mark.code == "E902"):
            for index, segment in enumerate(segments):
                if segment.start < crash.end and crash.start < segment.end:
                    results[index] = Failure(
                        stage="score", kind="checker-error", message=crash.message
                    )
        return results

    def marks(self, text: str) -> list[Mark]:
        """What lowered the reward, where it stands in `text`."""
        return _in_text_order(_check_lines(text))


def _check_lines(text: str) -> Iterator[Mark]:
    start = 0
    for end in line_ends(text):
        line = text[start:end]
        body = line.lstrip(" \t" + BYTE_ORDER_MARK if start == 0 else " \t")
        if body and not body.isspace():
            try:
                found = _check_line(body.rstrip("\r\n") + "\n" * body.endswith(("\r", "\n")))
            except Exception as error:
                yield Mark(start=start, end=end, code="E902", message=_message(error))
            else:
                begin = end - len(body)
                for _, column, message in found:
                    yield _mark(text, min(begin + max(column, 0), end - 1), end, message)
        start = end


@lru_cache(maxsize=1 << 16)
def _check_line(line: str) -> tuple[Violation, ...]:
    # An open bracket makes pycodestyle check a last line twice.
    return tuple(dict.fromkeys(Checker([line], style(LOCAL_CODES)).check_all()))
