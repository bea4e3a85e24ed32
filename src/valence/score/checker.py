"""pycodestyle's violations, found by a checker that skips work which cannot find any.

The same rows, columns and messages as pycodestyle's own `Checker` with its default ignore
list and 79 columns, in about half the time; no configuration file is ever read. A test
holds it against pycodestyle on the whole standard library.
"""

from __future__ import annotations

import bisect
import keyword
import re
from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from tokenize import ERRORTOKEN, NEWLINE, NL, OP, TokenError, TokenInfo, generate_tokens
from typing import Any

import pycodestyle

IGNORED = tuple(pycodestyle.DEFAULT_IGNORE.split(","))

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


class Style(pycodestyle.StyleGuide):
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


class Checker(pycodestyle.Checker):
    """pycodestyle's Checker at about twice its speed, for the same violations.

    The tests hold it against the original on the whole standard library. `found` has
    every violation that is not ignored; `broken` says where and why tokens ended, if so.
    """

    def __init__(self, lines: list[str], style: Style) -> None:
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


style = cache(Style)
