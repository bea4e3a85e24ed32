"""Held-out text without rewards, as documents: read from files, cut, and tokenised."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from valence.annotate import Annotated
from valence.corpus.readers import plan_pieces, read_piece
from valence.corpus.segment import SEGMENTERS, Segmenter, build_segmenter
from valence.data import Document
from valence.errors import CorpusError
from valence.model import Checkpoint
from valence.pack import Tokenised, tokenise
from valence.recipe import CorpusRecipe, SegmentRecipe
from valence.recipe.ability import TextRecipe

ARTICLE = re.compile(r"^ ?= [^=\r\n].*[^=\r\n] = ?\r?$|^ ?= [^=\r\n] = ?\r?$", re.MULTILINE)
"""The heading of an article in WikiText; sections have more signs: ` = = Section = = `."""
PARAGRAPH = re.compile(r"(?<=\n)(?:[^\S\n]*\n)+(?=[^\n]*\S)")
"""Blank lines, after which the next paragraph begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutText:
    """Documents, and how many could not be read."""

    documents: tuple[Document, ...]
    unread: int = 0


def read_text(recipe: TextRecipe) -> HeldOutText:
    """The documents of files; the parts of a file of text join to that file.

    A file that is not cut is one document: a loss on it has no interval, for nothing tells
    how other documents would differ. Raises `MissingFileError` for a path that is not there,
    `CorpusError` where nothing has text.
    """
    corpus = CorpusRecipe(
        reader="files", paths=(recipe.path,), text_column=recipe.text_column, keep=()
    )
    documents: list[Document] = []
    unread = chars = 0
    for piece in plan_pieces(corpus):
        for item in read_piece(piece, corpus):
            if not isinstance(item, Document):
                unread += 1
                continue
            for document in cut(item, recipe.documents if piece.format == "text" else "file"):
                if recipe.max_chars is not None and chars >= recipe.max_chars:
                    return HeldOutText(documents=tuple(documents), unread=unread)
                documents.append(document)
                chars += len(document.text)
    if not documents:
        raise CorpusError(
            "there is no document with text in it",
            where=recipe.path,
            fix="Check the path and text_column.",
        )
    return HeldOutText(documents=tuple(documents), unread=unread)


def cut(document: Document, how: str) -> list[Document]:
    """The documents in a file of text, in order; joined, they are its text.

    What stands before the first heading belongs to the first article.
    """
    text = document.text
    if how == "paragraph":
        starts = [match.end() for match in PARAGRAPH.finditer(text)]
    else:
        starts = [match.start() for match in ARTICLE.finditer(text)][1:]
    if how == "file" or not starts:
        return [document]
    bounds = [0, *starts, len(text)]
    parts = [text[low:high] for low, high in pairwise(bounds) if low < high]
    return [
        Document(id=f"{document.id}#{number}", text=part, source=document.source)
        for number, part in enumerate(parts)
    ]


def tokenise_text(
    documents: Sequence[Document],
    checkpoint: Checkpoint,
    *,
    max_tokens: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tokenised:
    """Documents without rewards as a model's tokens, cut where its control tokens stood.

    Raises what the model's segmenter raises.
    """
    segment = segmenter_of(checkpoint)
    annotated = (_unrewarded(document, segment) for document in documents if document.text)
    return tokenise(
        annotated,
        checkpoint.tokenizer,
        max_tokens=max_tokens,
        unrewarded=True,
        on_progress=on_progress,
    )


def segmenter_of(checkpoint: Checkpoint) -> Segmenter:
    """What a model's control tokens stand before; whole documents where it has none."""
    scheme = checkpoint.scheme
    if scheme is None or scheme.level == "document":
        return SEGMENTERS["document"]
    # A checkpoint knows the kind that it was trained with.
    return build_segmenter(SegmentRecipe.model_validate({"kind": checkpoint.segmenter}))


def _unrewarded(document: Document, segment: Segmenter) -> Annotated:
    ends = np.array(segment(document.text), dtype=np.int64)
    nothing = np.full(len(ends), np.nan, dtype=np.float32)
    return Annotated(document=document, ends=ends, rewards=nothing, held_out=True)
