r"""CSV and TSV with a header row, quoted as RFC 4180 has it; line breaks stay as they are.

A row ends with "\n" or "\r\n". A bare "\r" outside quotes makes a bad row: some writers
leave it there as text, others mean the end of a row.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import TextIO

from valence.corpus.piece import Format, Item, Piece, shown, size_on_disk
from valence.corpus.rows import (
    OTHER_BYTES,
    document_in,
    needed,
    plain,
    too_long,
    unread,
)
from valence.corpus.streams import BROKEN, broken, opened, suffix_of
from valence.data import Unread
from valence.recipe import CorpusRecipe

_CHUNK = 2**18
_ESCAPED = re.compile("[\udc80-\udcff]")


def _plan(path: str, recipe: CorpusRecipe, piece_bytes: int) -> Iterator[Piece]:
    header = next(_records(path, recipe), None)
    if header is not None and not isinstance(header[1], Unread):
        _columns(header[1], recipe, where=shown(path))
    yield Piece(format="csv", paths=(path,), size=size_on_disk(path))


def _read(piece: Piece, recipe: CorpusRecipe, skip: int) -> Iterator[Item]:
    path = piece.paths[0]
    source = shown(path)
    records = _records(path, recipe)
    _, header = next(records, (1, None))
    if header is None:
        header = unread("empty", "there is no header row", place=source, source=source)
    if isinstance(header, Unread):
        yield from [header][skip:]
        return
    names = _columns(header, recipe, where=source)
    for number, record in islice(records, skip, None):
        place = f"{source}:{number}"
        if isinstance(record, Unread):
            yield record
        elif len(record) != len(names):
            message = f"{len(record)} fields in a table of {len(names)} columns"
            yield unread("bad-row", message, place=place, source=source)
        elif any(_ESCAPED.search(field) for field in record if not field.isascii()):
            yield unread("not-utf-8", "not UTF-8", place=place, source=source)
        else:
            row = dict(zip(names, record, strict=True))
            yield document_in(row, recipe, place=place, source=source)


def _columns(header: list[str], recipe: CorpusRecipe, *, where: str) -> list[str]:
    names = [str(plain(name)) for name in header]
    needed(names, recipe, where=where)
    return names


def _records(path: str, recipe: CorpusRecipe) -> Iterator[tuple[int, list[str] | Unread]]:
    """Records that are not blank, the header first, with the number of their first line.

    A byte that is not UTF-8 is there as an escape. What cannot be a record is `Unread`.
    """
    source = shown(path)
    limit = 2 * recipe.max_document_chars + OTHER_BYTES
    comma = "\t" if suffix_of(path) == ".tsv" else ","
    # The csv module has one limit for the whole process, too low for documents; the true
    # limit is that of `_Lines`.
    csv.field_size_limit(max(csv.field_size_limit(), limit + 1))
    number = 1
    try:
        with (
            opened(path) as raw,
            io.TextIOWrapper(raw, "utf-8-sig", "surrogateescape", newline="\n") as handle,
        ):
            lines = _Lines(handle, limit, comma)
            reader = csv.reader(lines, delimiter=comma)
            while True:
                number = lines.begin()
                place = f"{source}:{number}"
                try:
                    record = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield number, unread("bad-row", str(error), place=place, source=source)
                    continue
                except _TooLong:
                    reader = csv.reader(lines, delimiter=comma)
                    what = f"a row of {lines.pass_over():,} characters"
                    yield number, too_long(what, f"{limit:,}", place=place, source=source)
                    continue
                if lines.ended_inside:
                    message = "a quote is never closed"
                    yield number, unread("bad-row", message, place=place, source=source)
                elif record:
                    yield number, record
    except BROKEN as error:
        yield number, broken(error, place=f"{source}:{number}", source=source)


class _TooLong(Exception):
    """The record at hand takes more characters than a record may."""


class _Lines:
    """Lines for a csv reader; stops a record that grows past `limit` characters.

    A class and not a generator: a generator is finished once it has raised.
    """

    def __init__(self, handle: TextIO, limit: int, comma: str) -> None:
        self._handle, self._limit, self._comma = handle, limit, comma
        self._number = self._start = 0
        self._taken = 0
        self._line = ""
        self.ended_inside = False

    def begin(self) -> int:
        """Start a record; the number of its first line."""
        self._taken = 0
        self._start = self._number
        return self._number + 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        inside = self._taken > 0
        line = self._next(self._limit - self._taken + 1)
        if not line:
            self.ended_inside = inside
            raise StopIteration
        if self._taken > self._limit:
            # A reader asks for a second line of a record only inside quotes.
            self._line = '"' + line if inside else line
            raise _TooLong
        return line

    def _next(self, limit: int) -> str:
        line = self._handle.readline(limit)
        self._taken += len(line)
        self._number += line.endswith("\n")
        return line

    def pass_over(self) -> int:
        """Read to the end of a record that is too long, in chunks; its characters."""
        state, line = "start", self._line
        while line and state != "end":
            state = _state_after(line, state, self._comma)
            line = "" if state == "end" else self._next(_CHUNK)
        self._line = ""
        return self._taken


def _state_after(text: str, state: str, comma: str) -> str:
    """Where the csv module's reader is after `text`.

    "start" of a field, "plain" field, "quoted" field, "quote" inside one, "end" of record.
    """
    position = 0
    while position < len(text):
        if state == "quoted":
            position = text.find('"', position) + 1
            if not position:
                return state
            state = "quote"
            continue
        sign = text[position]
        if sign == "\n":
            return "end"
        if sign == '"' and state != "plain":
            state = "quoted"
        elif sign == comma:
            state = "start"
        else:
            state = "plain"
            rest = re.compile(f"[{comma}\n]").search(text, position)
            position = rest.start() - 1 if rest else len(text)
        position += 1
    return state


CSV = Format(plan=_plan, read=_read)
