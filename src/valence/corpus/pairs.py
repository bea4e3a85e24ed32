"""Pairs: a row with two texts, of which one is preferred, as two documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from valence.corpus.piece import Item
from valence.corpus.rows import checked, unread
from valence.data import Document
from valence.recipe import CorpusRecipe

CHOSEN, REJECTED = "#chosen", "#rejected"
"""What the ids of a pair's documents end with: the preferred one, the other."""


def row_of(document_id: str) -> str:
    """The id of a document's row: for the two of a pair it is the same."""
    return document_id.removesuffix(CHOSEN).removesuffix(REJECTED)


def row_recipe(recipe: CorpusRecipe) -> CorpusRecipe:
    """The recipe by which a format reads rows that hold pairs: one document a row."""
    if recipe.pair is None:
        return recipe
    first, second = recipe.pair
    keep = None if recipe.keep is None else (*recipe.keep, second)
    return recipe.model_copy(update={"text_column": first, "keep": keep, "pair": None})


def in_pairs(rows: Iterable[Item], recipe: CorpusRecipe) -> Iterator[Item]:
    """Each row as two documents, the preferred one first; as one `Unread` if either is none."""
    assert recipe.pair is not None
    for row in rows:
        if isinstance(row, Document):
            yield from _two(row, recipe.pair[1], recipe)
        else:
            yield row


def _two(row: Document, column: str, recipe: CorpusRecipe) -> Iterator[Item]:
    text = row.columns.get(column)
    if not isinstance(text, str):
        what = "missing" if text is None else type(text).__name__
        message = f"no string `{column}` ({what})"
        yield unread("no-text", message, place=row.id, source=row.source)
        return
    kept = {name: value for name, value in row.columns.items() if _is_kept(name, column, recipe)}
    shared = {**kept, "pair": row.id}
    other = replace(row, id=row.id + REJECTED, text=text, columns={**shared, "preferred": False})
    found = checked(other, recipe, place=row.id)
    if isinstance(found, Document):
        yield replace(row, id=row.id + CHOSEN, columns={**shared, "preferred": True})
    yield found


def _is_kept(name: str, column: str, recipe: CorpusRecipe) -> bool:
    return name != column or (recipe.keep is not None and column in recipe.keep)
