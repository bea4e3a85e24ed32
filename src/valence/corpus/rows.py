"""From a row to a document: text, id and other columns, or why there is no document.

The other columns become plain JSON values, the same on every machine: dates and times are
ISO 8601, bytes are base64, decimals, UUIDs, NaN and infinities are strings.
"""

from __future__ import annotations

import base64
import datetime
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from valence.corpus.piece import Item
from valence.data import Document, Failure, Unread
from valence.errors import RecipeError
from valence.recipe import CorpusRecipe

READ = "read"
UTF_8_BYTES = 4
"""The most bytes that one character takes."""
OTHER_BYTES = 2**20
"""What the rest of a row may take beside its text, where rows are lines."""
DEEPEST = 100
"""Levels of nesting in a column that is kept; what lies deeper becomes `TOO_DEEP`."""
TOO_DEEP = "(nested too deep)"


def unread(kind: str, message: str, *, place: str, source: str) -> Unread:
    """What stands for a document that could not be read; `place` is its id."""
    failure = Failure(stage=READ, kind=kind, message=f"{place}: {message}")
    return Unread(id=place, source=source, failure=failure)


def too_long(what: str, limit: str, *, place: str, source: str) -> Unread:
    """What stands for a document over the limit, with how to raise it."""
    message = f"{what}, and the limit is {limit} (corpus.max_document_chars)"
    return unread("too-long", message, place=place, source=source)


def checked(document: Document, recipe: CorpusRecipe, *, place: str) -> Item:
    """The document, or why its text cannot be used: empty, too long, half a surrogate pair."""
    text, source = document.text, document.source
    if not text:
        return unread("empty", "the text is empty", place=place, source=source)
    if len(text) > recipe.max_document_chars:
        limit = f"{recipe.max_document_chars:,}"
        return too_long(f"{len(text):,} characters", limit, place=place, source=source)
    if _has_surrogates(text):
        # JSON can spell half of a surrogate pair, which is not text in any encoding.
        return unread("not-unicode", "lone surrogate", place=place, source=source)
    return document


def document_in(
    row: Mapping[str, object], recipe: CorpusRecipe, *, place: str, source: str
) -> Item:
    """The document in a row, or why there is none; text in bytes is taken for UTF-8."""
    text = row.get(recipe.text_column)
    if isinstance(text, bytes):
        if len(text) > recipe.max_document_chars * UTF_8_BYTES:
            limit = f"{recipe.max_document_chars:,} characters"
            return too_long(f"{len(text):,} bytes", limit, place=place, source=source)
        try:
            text = text.decode("utf-8")
            row = {**row, recipe.text_column: text}
        except UnicodeDecodeError as error:
            return unread("not-utf-8", str(error), place=place, source=source)
    if not isinstance(text, str):
        nested = isinstance(text, Mapping | list | tuple)
        what = "nested" if nested else "missing" if text is None else type(text).__name__
        message = f"no string `{recipe.text_column}` ({what})"
        return unread("not-text" if nested else "no-text", message, place=place, source=source)
    name = place if recipe.id_column is None else _id(row.get(recipe.id_column))
    if name is None:
        message = f"`{recipe.id_column}` is neither a string nor a whole number"
        return unread("no-id", message, place=place, source=source)
    document = Document(id=name, text=text, source=source, columns=_columns(row, recipe))
    return checked(document, recipe, place=place)


def needed(names: Sequence[str], recipe: CorpusRecipe, *, where: str) -> list[str]:
    """Which columns of a table to read, in its order.

    Raises `RecipeError` when one that the recipe names is not there or stands twice.
    """
    required = [recipe.text_column, *(recipe.keep or ())]
    required += [] if recipe.id_column is None else [recipe.id_column]
    missing = sorted(set(required) - set(names))
    if missing:
        raise RecipeError(
            f"there is no column {_quoted(missing)}; the columns are {_quoted(names) or 'none'}",
            where=where,
            fix="Set corpus.text_column, corpus.id_column and corpus.keep to what is there.",
        )
    wanted = [name for name in names if recipe.keep is None or name in required]
    double = sorted(name for name, count in Counter(wanted).items() if count > 1)
    if double:
        raise RecipeError(
            f"column {_quoted(double)} stands twice",
            where=where,
            fix="Name each column once, or keep others only (corpus.keep).",
        )
    return wanted


def plain(value: object, depth: int = 0) -> object:
    """A value as plain JSON; half a surrogate pair in a string becomes its escape."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return (
            value.encode("utf-8", "backslashreplace").decode() if _has_surrogates(value) else value
        )
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth >= DEEPEST:
        return TOO_DEEP
    if isinstance(value, Mapping):
        return {str(plain(str(key))): plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, depth + 1) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)


def _columns(row: Mapping[str, object], recipe: CorpusRecipe) -> dict[str, object]:
    if recipe.keep is not None:
        return {name: plain(row[name]) for name in recipe.keep if name in row}
    own = (recipe.text_column, recipe.id_column)
    return {_name(name): plain(value) for name, value in row.items() if name not in own}


def _name(name: str) -> str:
    return name if name.isascii() else str(plain(name))


def _id(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value and not _has_surrogates(value) else None


def _has_surrogates(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{plain(name)}`" for name in names)
