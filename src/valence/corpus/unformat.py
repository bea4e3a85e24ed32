"""A seeded unformatter: bad style put into Python source whose meaning stays the same.

It gives a corpus with known, varied shares of badly styled lines. Edits change only the
blanks between tokens, semicolons at the end of statements and the blank after a "#"; the
tokenizer says where, so that strings and the words of comments stay as they are.
"""

from __future__ import annotations

import hashlib
import keyword
import random
import re
import token as kinds
import tokenize
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from tokenize import COMMENT, NAME, NEWLINE, NL, OP, TokenInfo
from typing import NamedTuple

from valence.corpus.segment import BYTE_ORDER_MARK, line_ends, source_lines

DEFAULT_SHARES = (0.1, 0.4, 0.7)


class _Edit(NamedTuple):
    """Columns `start` to `end` of a row become `text`; `kind` is the code it should cause."""

    kind: str
    start: int
    end: int
    text: str


# Operators that pycodestyle wants blanks around (E225), and those where it only wants the
# same on both sides.
_SPACED = frozenset(
    {"=", "==", "!=", "<", ">", "<=", ">=", "->", ":=", "+=", "-=", "*=", "/=", "//=", "%="}
    | {"**=", "&=", "|=", "^=", "<<=", ">>="}
)
_BALANCED = frozenset({"+", "-", "*", "/", "//", "**", "|", "^", "&", "<<", ">>", "%"})
_OPERATOR_CHARACTERS = frozenset("+-*/%&|^<>=!~@:.")
_NOT_CODE = frozenset({COMMENT, NEWLINE, NL})
_LAYOUT = frozenset({tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER})
_OPAQUE_STARTS = frozenset(
    getattr(kinds, name) for name in ("FSTRING_START", "TSTRING_START") if hasattr(kinds, name)
)
_OPAQUE_ENDS = frozenset(
    getattr(kinds, name) for name in ("FSTRING_END", "TSTRING_END") if hasattr(kinds, name)
)
_COOKIE = re.compile(r"coding[:=]")  # PEP 263
_DIRECTIVE = re.compile(r"#\s*(type:|no(qa|pep8)\b)", re.IGNORECASE)
_PLAIN_COMMENT = re.compile(r"# \w")


def file_share(document_id: str, shares: Sequence[float] = DEFAULT_SHARES, seed: int = 0) -> float:
    """The share of lines to mess up in this document: one of `shares`, by a hash of its id."""
    digest = hashlib.sha256(f"{seed}\0{document_id}".encode()).digest()
    return shares[int.from_bytes(digest[:8], "big") % len(shares)]


def unformat(text: str, *, share: float, seed: int) -> str:
    """`text` with bad style in about `share` (0 to 1) of the lines that allow for an edit.

    Each such line is drawn independently and gets one to three edits. The program keeps its
    abstract syntax tree. The same text, share and seed give the same result on every machine
    with the same Python version. A text that cannot be tokenised comes back unchanged.
    """
    digest = hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
    draw = random.Random(int.from_bytes(digest, "big"))
    lines = source_lines(text)
    chosen = [draw.random() < share for _ in lines]
    edits: dict[int, list[_Edit]] = {}
    try:
        for row, edit in _edits(lines, chosen):
            edits.setdefault(row, []).append(edit)
    except Exception:
        return text
    originals = [text[start:end] for start, end in pairwise([0, *line_ends(text)])]
    for row in sorted(edits):
        shift = int(row == 1 and text.startswith(BYTE_ORDER_MARK))
        line = originals[row - 1]
        for edit in _choose(edits[row], draw):
            line = line[: edit.start + shift] + edit.text + line[edit.end + shift :]
        originals[row - 1] = line
    return "".join(originals)


def _choose(candidates: list[_Edit], draw: random.Random) -> list[_Edit]:
    """One to three edits that do not touch, from right to left."""
    chosen: list[_Edit] = []
    for _ in range(draw.randint(1, 3)):
        # First the kind, or brackets would win everywhere by their number.
        kind = draw.choice(sorted({edit.kind for edit in candidates}))
        edit = draw.choice([edit for edit in candidates if edit.kind == kind])
        chosen.append(edit)
        candidates = [other for other in candidates if not _touch(edit, other)]
        if not candidates:
            break
    return sorted(chosen, key=lambda edit: -edit.start)


def _touch(one: _Edit, other: _Edit) -> bool:
    return one.start <= other.end and other.start <= one.end


def _edits(lines: list[str], chosen: list[bool]) -> Iterator[tuple[int, _Edit]]:
    """The edits that the tokens of the chosen rows allow, each with its row (from 1)."""
    statement: list[TokenInfo] = []
    for token in _tokens(lines):
        statement.append(token)
        if token.type == NEWLINE:
            if any(chosen[statement[0].start[0] - 1 : token.end[0]]):
                yield from _statement_edits(statement, chosen)
            statement = []
    yield from _statement_edits(statement, chosen)


def _tokens(lines: list[str]) -> Iterator[TokenInfo]:
    """What matters here; a formatted string of Python 3.12 as one token, as in 3.11."""
    starts: list[TokenInfo] = []
    for token in tokenize.generate_tokens(iter(lines).__next__):
        if token.type == tokenize.ERRORTOKEN:
            raise SyntaxError(f"unexpected {token.string!r}")
        if token.type in _OPAQUE_STARTS:
            starts.append(token)
        elif token.type in _OPAQUE_ENDS:
            token = starts.pop()._replace(type=tokenize.STRING, end=token.end)
        if not starts and token.type not in _LAYOUT:
            yield token


def _statement_edits(tokens: list[TokenInfo], chosen: list[bool]) -> Iterator[tuple[int, _Edit]]:
    brackets = [""]
    ends = [token.end for token in tokens]
    for index, token in enumerate(tokens):
        text, row = token.string, token.start[0]
        before = tokens[index - 1] if index and ends[index - 1][0] == row else None
        after = tokens[index + 1] if index + 1 < len(tokens) else None
        if after is not None and (after.start[0] != token.end[0] or after.type in _NOT_CODE):
            after = None
        if token.type == OP and text in "}])" and len(brackets) > 1:
            brackets.pop()
        if chosen[row - 1]:
            if token.type == OP:
                found = _operator_edits(before, token, after, brackets[-1])
                if text in "([":
                    found = chain(found, _call_edits(tokens[max(index - 2, 0) : index], token))
            elif token.type == COMMENT:
                found = _comment_edits(before, token)
            elif token.type == NL or token.type == NEWLINE:
                found = _line_end_edits(tokens, before, token)
            else:
                continue
            for edit in found:
                yield row, edit
        if token.type == OP and text in "([{":
            brackets.append(text)


def _operator_edits(
    before: TokenInfo | None, token: TokenInfo, after: TokenInfo | None, bracket: str
) -> Iterator[_Edit]:
    """Edits around brackets, separators and operators; `bracket` is the one they are in."""
    text, start, end = token.string, token.start[1], token.end[1]
    blanks_before = start - before.end[1] if before else None
    blanks_after = after.start[1] - end if after else None
    if text in "([{":
        if after and not blanks_after and after.string not in ")]}":
            yield _Edit("E201", end, end, " ")
    elif text in ")]}":
        if before and not blanks_before and before.string not in "([{,":
            yield _Edit("E202", start, start, " ")
    elif text in ",;:":
        if before and not blanks_before and before.string not in "([{,":
            yield _Edit("E203", start, start, " ")
        closes = after is not None and after.string in ")]"  # "(a, )" may lose its blank
        if blanks_after == 1 and not closes and (text == "," or bracket == "{"):
            yield _Edit("E231", end, end + 1, "")
    elif text == "=" and bracket == "(" and blanks_before == 0 and blanks_after == 0:
        yield _Edit("E251", start, end, " = ")
    elif before and after and blanks_before == blanks_after == 1:
        yield from _binary_edits(before, token, after)


def _binary_edits(before: TokenInfo, token: TokenInfo, after: TokenInfo) -> Iterator[_Edit]:
    text, start, end = token.string, token.start[1], token.end[1]
    if text not in _SPACED and text not in _BALANCED:
        return
    yield _Edit("E221", start, start, " ")
    yield _Edit("E222", end, end, " ")
    # Never where two tokens could become one: "a < -b", "1. + b", "a = .5".
    left = before.string[-1] not in _OPERATOR_CHARACTERS
    right = after.string[0] not in _OPERATOR_CHARACTERS
    if left:
        yield _Edit("E225", start - 1, start, "")
    if right:
        yield _Edit("E225", end, end + 1, "")
    if left and right and text in _SPACED:
        yield _Edit("E225", start - 1, end + 1, text)


def _call_edits(before: list[TokenInfo], token: TokenInfo) -> Iterator[_Edit]:
    """A blank before the bracket of a call or an index; `before` is up to two tokens."""
    if not before or before[-1].end != token.start:
        return
    name = before[-1]
    after_class = len(before) == 2 and before[0].string == "class"
    word = keyword.iskeyword(name.string) or keyword.issoftkeyword(name.string)
    if name.string in (")", "]") or (name.type == NAME and not word and not after_class):
        yield _Edit("E211", token.start[1], token.start[1], " ")


def _comment_edits(before: TokenInfo | None, token: TokenInfo) -> Iterator[_Edit]:
    (row, start), text = token.start, token.string
    if _DIRECTIVE.match(text) or (row <= 2 and _COOKIE.search(text)):
        return
    if _PLAIN_COMMENT.match(text):
        yield _Edit("E262" if before else "E265", start + 1, start + 2, "")
    if before and start - before.end[1] >= 2:
        yield _Edit("E261", before.end[1], start, " ")


def _line_end_edits(
    tokens: list[TokenInfo], before: TokenInfo | None, token: TokenInfo
) -> Iterator[_Edit]:
    end = token.start[1]
    if before and before.type != COMMENT:
        yield _Edit("W291", end, end, " ")
    elif not before and end == 0:
        yield _Edit("W293", 0, 0, "    ")
    if token.type == NEWLINE:
        code = [other for other in tokens if other.type not in _NOT_CODE]
        ends_here = code and code[-1].end[0] == token.start[0]
        if ends_here and code[0].string != "@" and code[-1].string not in (":", ";"):
            yield _Edit("E703", code[-1].end[1], code[-1].end[1], ";")
