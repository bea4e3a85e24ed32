"""What annotating would read and about what it would cost, without doing it: `--dry-run`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from valence.annotate.judge import rows_of
from valence.annotate.read import Annotation, document_in
from valence.corpus.readers import plan_pieces, read_corpus
from valence.corpus.segment import build_segmenter
from valence.data import Document
from valence.recipe import CorpusRecipe, ScoreRecipe
from valence.score.protocol import traits
from valence.score.table import build_scorer

TIMED_CHARS = 200_000
"""Characters that are scored to estimate the speed of a scorer."""

Cut = tuple[Document, Sequence[int]]


def plan_annotation(
    place: Path, corpus: CorpusRecipe | None, scores: Iterable[ScoreRecipe], *, seed: int
) -> list[tuple[str, str]]:
    """Sizes and an estimate of cost as (label, value); raises what `annotate` would early.

    Reads and scores the first documents only. Writes nothing.
    """
    rows = [("annotation", str(place))]
    if corpus is None:
        text = Annotation(place).documents
        size = text["bytes"]
        rows += [("documents", f"{text['documents']:,}"), ("segments", f"{text['segments']:,}")]
        documents = _annotated(Annotation(place))
    else:
        pieces = plan_pieces(corpus)
        size = sum(piece.size for piece in pieces)
        rows.append(("input", f"{len(pieces):,} pieces, {size / 1e6:,.1f} MB on disk"))
        documents = _read(corpus, seed)
    first, chars = [], 0
    for document, ends in documents:
        first.append((document, ends))
        chars += len(document.text)
        if chars >= TIMED_CHARS:
            break
    segments = sum(len(ends) for _, ends in first)
    rows.append(("first documents", f"{len(first):,}, {chars:,} characters, {segments:,} segments"))
    for score in scores:
        scorer = build_scorer(score.scorer)
        known = traits(scorer)
        started = time.perf_counter()
        for start in range(0, len(first), known.batch):
            rows_of(scorer, first[start : start + known.batch], known, timeout=score.timeout)
        rate = chars / max(time.perf_counter() - started, 1e-9)
        rows.append((score.folder, f"{scorer.id}: {scorer.meaning}"))
        told = f"about {rate / 1e6:.3g} MB/s per core"
        if size:
            told += f", {size / rate / score.workers:,.0f} s with {score.workers} workers"
        rows.append(("  time", told))
    return rows


def _read(corpus: CorpusRecipe, seed: int) -> Iterator[Cut]:
    segmenter = build_segmenter(corpus.segmenter)
    for item in read_corpus(corpus, seed):
        if isinstance(item, Document):
            yield item, segmenter(item.text)


def _annotated(annotation: Annotation) -> Iterator[Cut]:
    for (texts,) in annotation.tables():
        for row in texts.to_pylist():
            if row["failure"] is None:
                yield document_in(row), row["ends"]
