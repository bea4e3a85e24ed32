"""PEP 8 as a reward: minus pycodestyle violations per character, in context or line by line.

Violations are pycodestyle's, with its default ignore list and 79 columns, found by a
`Checker` that skips work which cannot find any; no configuration file is ever read.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import keyword
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from tokenize import (
    ERRORTOKEN,
    NEWLINE,
    NL,
    OP,
    TokenError,
    TokenInfo,
    generate_tokens,
)
from typing import Any

import pycodestyle

from valence.corpus.segment import BYTE_ORDER_MARK, line_ends, source_lines
from valence.data import Document, Failure, Mark, Result, Score, ScorerId, Segment

IGNORED = tuple(pycodestyle.DEFAULT_IGNORE.split(","))
LOCAL_CODES = ("E2", "W2", "W6", "E7", "E501")

# row from 1, column from 0, "E225 missing whitespace around operator"
Violation = tuple[int, int, str]

# What must be in a logical line before a check of it alone can find anything.
_LINE_GATES: dict[str, Callable[[str], object]] = {
    "bare_except": lambda line: "except" in line,
    "comparison_negative": lambda line: "not" in line,
    "comparison_to_singleton": lambda line: "==" in line or "!=" in line,
    "comparison_type": lambda line: "type" in line,
    "compound_statements": lambda line: ";" in line or ":" in line[:-1],
    "imports_on_separate_lines": lambda line: "import" in line,
    "whitespace_around_keywords": re.compile(r"\s\s|\t").search,
    "whitespace_around_operator": re.compile(r"\s\s|\t").search,
}
# The feature (see `_features`) that its tokens must have before a check can find anything.
_TOKEN_GATES = {
    "ambiguous_identifier": "ambiguous name",
    "continued_indentation": "several rows",
    "explicit_line_join": "several rows",
    "missing_whitespace_after_keyword": "keyword",
    "python_3000_invalid_escape_sequence": "backslash",
    "whitespace_around_named_parameter_equals": "equals",
    "whitespace_before_comment": "comment",
    "whitespace_before_parameters": "bracket",
}
_PLAIN_LINE_CHECKS = frozenset(
    {"maximum_line_length", "tabs_obsolete", "tabs_or_spaces", "trailing_blank_lines"}
    | {"trailing_whitespace"}
)
_AMBIGUOUS = frozenset("lIO")
# Token kinds of Python 3.12 and 3.14; pycodestyle has them as -1 where they do not exist.
_FORMATTED_STRING = frozenset(
    {pycodestyle.FSTRING_START, pycodestyle.FSTRING_END}
    | {pycodestyle.TSTRING_START, pycodestyle.TSTRING_END}
)
_KEYWORDS = frozenset(keyword.kwlist)


def _features(tokens: Sequence[TokenInfo]) -> set[str | None]:
    texts = {token[1] for token in tokens}
    joined = "".join(texts)
    features: set[str | None] = {None}
    if tokens[0][2][0] != tokens[-1][2][0]:
        features.add("several rows")
    if "=" in texts:
        features.add("equals")
    if "(" in texts or "[" in texts:
        features.add("bracket")
    if "#" in joined:
        features.add("comment")
    if "\\" in joined:
        features.add("backslash")
    if not texts.isdisjoint(_AMBIGUOUS):
        features.add("ambiguous name")
    if not texts.isdisjoint(_KEYWORDS):
        features.add("keyword")
    return features


class _Style(pycodestyle.StyleGuide):
    """pycodestyle's default options, the selected codes, and the checks that they ask for."""

    def __init__(self, select: tuple[str, ...] = ("",)) -> None:
        # StyleGuide.__init__ would read the user's configuration file.
        self.options = pycodestyle.get_parser().parse_args([])[0]
        self.select = select
        for kind in ("physical", "logical"):
            setattr(self.options, f"{kind}_checks", self.get_checks(f"{kind}_line"))
        self.options.ast_checks = []  # pycodestyle itself has none
        self.physical = [(run, _arguments(names)) for _, run, names in self.options.physical_checks]
        self.plain = {name for name, _, _ in self.options.physical_checks} <= _PLAIN_LINE_CHECKS
        self.of_line, self.of_tokens = [], []
        for name, run, names in self.options.logical_checks:
            if names in (["logical_line"], ["logical_line", "noqa"]):
                # (logical_line) or (logical_line, noqa), in this order
                self.of_line.append((run, len(names) == 2, _LINE_GATES.get(name, _always)))
            elif name != "maximum_doc_length":  # no maximum is set
                state = "checker_state" in names
                self.of_tokens.append((name, run, _arguments(names), _TOKEN_GATES.get(name), state))

    def ignore_code(self, code: str) -> bool:
        """Whether a code is not asked for; pycodestyle's default ignore list always holds."""
        return code.startswith(IGNORED) or not code.startswith(self.select)


def _always(line: str) -> bool:
    return True


def _arguments(names: Sequence[str]) -> Callable[[object], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    only = names[0]
    return lambda checker: (getattr(checker, only),)


class _Checker(pycodestyle.Checker):
    """pycodestyle's Checker at about twice its speed, for the same violations.

    The tests hold it against the original on the whole standard library. `found` has
    every violation that is not ignored; `broken` says where and why tokens ended, if so.
    """

    def __init__(self, lines: list[str], style: _Style) -> None:
        self.found: list[Violation] = []
        self.broken: Violation | None = None
        self.style = style
        self.tokens: list[TokenInfo] = []
        self.indent_char: str | None = None
        self.blank_lines = self.blank_before = 0
        super().__init__(options=style.options, report=self)
        self.lines = lines  # past __init__, which would strip a second byte order mark

    def error(self, row: int, column: int, text: str, check: object = None) -> None:
        """What pycodestyle calls on its report: keep one violation."""
        if text.startswith("E9"):
            self.broken = self.broken or (row, column, f"E902 {text[5:]}")
        elif not self.style.ignore_code(text[:4]):
            self.found.append((row, column, text))

    def check_physical(self, line: str) -> None:
        """Run the checks of a raw line, unless it plainly has nothing to find."""
        body = line.rstrip("\n")
        if (
            self.style.plain
            and len(body) <= self.max_line_length
            and "\t" not in body
            and self.line_number != self.total_lines
            and (not body or not body[-1].isspace())
            and (body[:1] != " " or self.indent_char == " ")
        ):
            return
        self.physical_line = line
        for check, arguments in self.style.physical:
            result = check(*arguments(self))
            if result is not None:
                self.error(self.line_number, *result)
                if result[1].startswith("E101"):
                    self.indent_char = line[0]

    def check_logical(self) -> None:
        """Run the checks of a logical line, as Checker.check_logical does."""
        mapping = self.build_tokens_line()
        if not mapping:
            return
        row, column = mapping[0][1]
        self.indent_level = pycodestyle.expand_indent(self.lines[row - 1][:column])
        self.blank_before = max(self.blank_before, self.blank_lines)
        found = self._check_line_and_tokens()
        if found:
            starts = [start for start, _ in mapping]
            for offset, text in found:
                if isinstance(offset, tuple):
                    row, column = offset
                else:
                    start, (row, column) = mapping[bisect.bisect_left(starts, offset)]
                    column += offset - start
                self.error(row, column, text)
        if self.logical_line:
            self.previous_indent_level = self.indent_level
            self.previous_logical = self.logical_line
            if not self.indent_level:
                self.previous_unindented_logical_line = self.logical_line
        self.blank_lines = 0
        self.tokens = []

    def _check_line_and_tokens(self) -> list[tuple[Any, str]]:
        found: list[tuple[Any, str]] = []
        line = self.logical_line
        if line:
            for check, wants_noqa, gate in self.style.of_line:
                if gate(line):
                    found += (check(line, self.noqa) if wants_noqa else check(line)) or ()
        features = _features(self.tokens)
        for name, check, arguments, feature, state in self.style.of_tokens:
            if feature in features:
                if state:
                    self.init_checker_state(name, ("checker_state",))
                found += check(*arguments(self)) or ()
        return found

    def check_all(self, expected: object = None, line_offset: int = 0) -> list[Violation]:
        """Check the lines; sorted violations, those before the error if tokens end in one."""
        self.total_lines = len(self.lines)
        self.line_number = 0
        self.indent_char = None
        self.indent_level = self.previous_indent_level = 0
        self.previous_logical = self.previous_unindented_logical_line = ""
        self.tokens = []
        self.blank_lines = self.blank_before = 0
        try:
            self._check_tokens()
        except (SyntaxError, TokenError):
            self.report_invalid_syntax()
        if self.tokens:
            self.noqa = pycodestyle.noqa(self.tokens[-1].line)
            self.check_physical(self.lines[-1])
            self.check_logical()
        return sorted(self.found)

    def _check_tokens(self) -> None:
        depth = 0
        previous = ""
        for token in generate_tokens(self.readline):
            kind, text, (row, column), _, line = token
            if row > self.total_lines:
                break
            if kind == NEWLINE or kind == NL:
                self.noqa = pycodestyle.noqa(line)
                self.check_physical(line or previous)
                self.tokens.append(token)
                if not depth:
                    self._end_line(kind)
            else:
                if kind == OP:
                    if text in "([{":
                        depth += 1
                    elif text in "}])":
                        depth -= 1
                elif kind == ERRORTOKEN:
                    self.error(row, column, f"E902 unexpected {text[:20]!r}")
                # the only other tokens that can end a physical line
                if "\n" in text or "\\\n" in line or kind in _FORMATTED_STRING:
                    self.noqa = pycodestyle.noqa(line)
                    self.maybe_check_physical(token, previous)
                self.tokens.append(token)
            previous = line

    def _end_line(self, kind: int) -> None:
        if len(self.tokens) == 1 and kind == NL:
            self.blank_lines += 1
            del self.tokens[0]
        else:
            self.check_logical()
            if kind == NEWLINE:
                self.blank_before = 0


_style = cache(_Style)


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
        return max(min(start + column, self.ends[row - 1] - 1), 0)

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


def _identify(name: str, version: int, style: _Style) -> ScorerId:
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
        self.id = _identify("pep8", 1, _style())

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
    checker = _Checker(source_lines(text), _style())
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
        self.id = _identify("pep8-local", 1, _style(LOCAL_CODES))

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
                    yield _mark(text, min(begin + column, end - 1), end, message)
        start = end


@lru_cache(maxsize=1 << 16)
def _check_line(line: str) -> tuple[Violation, ...]:
    # An open bracket makes pycodestyle check a last line twice.
    return tuple(dict.fromkeys(_Checker([line], _style(LOCAL_CODES)).check_all()))
