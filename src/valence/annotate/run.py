"""Annotate a corpus: the text into shards once, then each scorer's rewards beside it.

`annotate` is the whole of it: it takes the directory (one writer at a time), brings the
text in if it is not there, and scores what is not scored. What is on disk is described in
`read.py`; what a single job does, in `job.py`.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from valence.annotate.cluster import connected, run_ray
from valence.annotate.job import PieceJob, ShardJob, read_job, score_job
from valence.annotate.ledger import RewardLedger, TextLedger, cost, plain, total
from valence.annotate.local import run_local
from valence.annotate.read import MANIFEST, Annotation
from valence.annotate.watch import watched
from valence.corpus.readers import corpus_stamp, highest_rank, plan_pieces
from valence.display import Display, Progress, Silent, shown_stage
from valence.errors import CorpusError, RunExistsError, TooManyFailures
from valence.recipe import CorpusRecipe, ScoreRecipe
from valence.score.protocol import Scorer, traits
from valence.score.table import build_scorer, canonical
from valence.store import RunDirectory, digest, read_json, write_json

CORPUS = "corpus.yaml"
"""The file that says what was read, and how it was cut."""

LAYOUT = 1
"""Changes when shards of the same input would be other bytes."""

COMPRESSED = {".gz": 3.5, ".zst": 3.5, ".parquet": 2.0}
"""About how much text comes out of a byte, for the estimate of what is left to do."""


def annotate(
    out: Path,
    score: ScoreRecipe | None,
    corpus: CorpusRecipe | None = None,
    *,
    seed: int = 0,
    overwrite: bool = False,
    rebuild: bool = False,
    strict: bool = True,
    display: Display | None = None,
) -> Annotation:
    """Text and rewards in the directory `out`; what is there already is kept.

    Without a corpus the directory's own text is scored; without a score only the text is
    brought in. Text that was made from other input, or rewards of that name from another
    scorer, are refused (`RunExistsError`) unless `overwrite`. `rebuild` is for a caller who
    owns the directory: text whose input has changed is made again, and so are its rewards.
    Raises `TooManyFailures` when all is done and more failed than `score.max_failures`;
    not if `strict` is off, for a caller who calls `check_failures` later.
    """
    display = display or Silent()
    scorer = None if score is None else build_scorer(score.scorer)
    if corpus is None and not (out / "documents" / MANIFEST).is_file():
        Annotation(out)  # Says what is missing.
    with (
        _open(out, corpus, seed, overwrite=overwrite, rebuild=rebuild) as place,
        _cluster(score),
    ):
        if corpus is not None:
            _bring_text(place, corpus, score, seed, overwrite or rebuild, display)
        if score is not None and scorer is not None:
            _bring_rewards(place, score, scorer, overwrite or rebuild, display)
    found = Annotation(out)
    if score is not None and strict:
        check_failures(found, score)
    return found


def _open(
    out: Path, corpus: CorpusRecipe | None, seed: int, *, overwrite: bool, rebuild: bool
) -> RunDirectory:
    """The directory, locked; emptied if it holds another corpus and may be overwritten."""
    text = None
    if corpus is not None:
        described = {"seed": seed, **corpus.model_dump(mode="json")}
        text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True)
    known = out / CORPUS
    other = text is not None and known.is_file() and known.read_bytes() != text.encode()
    return RunDirectory.open(
        out,
        text,
        resume=rebuild,
        overwrite=overwrite and other,
        marker_name=CORPUS,
        noun="annotation",
        fix="Choose another --out, or add --overwrite (removes that annotation).",
    )


def _bring_text(
    place: RunDirectory,
    corpus: CorpusRecipe,
    score: ScoreRecipe | None,
    seed: int,
    may_replace: bool,
    display: Display,
) -> None:
    """The corpus as shards, unless they are there and were made from the same input."""
    inputs = {
        "corpus": corpus.model_dump(mode="json"),
        "files": corpus_stamp(corpus),
        "seed": seed,
        "layout": LAYOUT,
        "python": sys.version if corpus.reader == "stdlib" else None,
    }
    if place.differs("documents", inputs) and not may_replace:
        raise RunExistsError(
            "the input has changed since this annotation was made from it",
            where=str(place.path),
            fix="Choose another --out, or add --overwrite (makes text and rewards anew).",
        )
    with shown_stage(place, display, "documents", inputs, "read the corpus") as stage:
        if stage is not None:
            manifest = write_documents(corpus, seed, stage.work, score, stage.progress)
            stage.facts.update({k: v for k, v in manifest.items() if k != "shards"})
    for name in Annotation(place.path).stale:
        place.forget(f"rewards/{name}")


def write_documents(
    corpus: CorpusRecipe,
    seed: int,
    directory: Path,
    score: ScoreRecipe | None = None,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a corpus as shards into a directory, with the engine of `score`; the manifest.

    Shards that are there already are kept. The bytes written do not depend on the engine.
    """
    pieces = plan_pieces(corpus)
    highest = highest_rank(corpus, seed)
    jobs = [
        PieceJob(
            piece=piece,
            number=number,
            corpus=corpus,
            seed=seed,
            highest_rank=highest,
            directory=directory,
        )
        for number, piece in enumerate(pieces)
    ]
    expected = corpus.max_chars or sum(
        piece.size * COMPRESSED.get(Path(piece.paths[0]).suffix if piece.paths else "", 1.0)
        for piece in pieces
    )
    with watched(directory, int(expected), on_progress):
        _engine(score)(read_job, jobs)
    ledger = total(TextLedger, [TextLedger(**read_json(job.ledger)) for job in jobs])
    if ledger.documents == 0:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in ledger.failures.items())
        raise CorpusError(
            f"there is no document with text in it ({kinds or 'no file'})",
            where=", ".join(corpus.paths) or corpus.reader,
            fix="Check corpus.paths and corpus.text_column.",
        )
    found = plain(ledger)
    shards = found.pop("shards")
    manifest = {
        **found,
        "shards": [name for name, _ in shards],
        "digest": digest(shards),
    }
    write_json(directory / MANIFEST, manifest)
    return manifest


def _bring_rewards(
    place: RunDirectory,
    score: ScoreRecipe,
    scorer: Scorer,
    may_replace: bool,
    display: Display,
) -> None:
    """One scorer's rewards, unless they are there already."""
    name = f"rewards/{score.folder}"
    documents = read_json(place.path / "documents" / MANIFEST)
    inputs = {
        "documents": documents["digest"],
        "scorer": asdict(scorer.id),
        "layout": LAYOUT,
    }
    if place.differs(name, inputs) and not may_replace:
        known = read_json(place.path / name / MANIFEST)["scorer"]
        raise RunExistsError(
            f"`{score.folder}` was made by another scorer"
            f" ({known['name']}@{known['version']}+{known['digest'][:12]}; this is {scorer.id})",
            where=str(place.path),
            fix="Give these rewards another --name, or add --overwrite (replaces those).",
        )
    with shown_stage(place, display, name, inputs, f"score with {score.folder}") as stage:
        if stage is not None:
            manifest = write_rewards(
                place.path / "documents", stage.work, score, scorer, stage.progress
            )
            stage.facts.update({k: v for k, v in manifest.items() if k != "shards"})


def write_rewards(
    documents: Path,
    directory: Path,
    score: ScoreRecipe,
    scorer: Scorer,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Score every document under `documents` into `directory`; returns the manifest.

    Shards that are there already are kept, so a killed run continues. The bytes written
    do not depend on the engine or the number of workers.
    """
    text = read_json(documents / MANIFEST)
    jobs = [
        ShardJob(
            scorer=canonical(score.scorer),
            digest=scorer.id.digest,
            shard=shard,
            documents=documents,
            directory=directory,
            timeout=score.timeout,
        )
        for shard in text["shards"]
    ]
    # In this process the scorer that is built already does the work.
    alone = score.engine == "local" and (score.workers == 1 or len(jobs) <= 1)
    function = functools.partial(score_job, scorer=scorer) if alone else score_job
    with watched(directory, text["chars"], on_progress):
        _engine(score)(function, jobs)
    ledger = total(RewardLedger, [RewardLedger(**read_json(job.ledger)) for job in jobs])
    found = plain(ledger)
    shards = found.pop("shards")
    manifest = {
        "text": text["digest"],
        "scorer": {
            **asdict(scorer.id),
            "meaning": scorer.meaning,
            "device": traits(scorer).device,
            "spec": score.scorer,
        },
        "parts": list(traits(scorer).parts),
        "keeps_marks": traits(scorer).keeps_marks,
        **found,
        **cost(
            ledger,
            parameters=None if score.pretraining is None else score.pretraining.parameters,
            tokens=None if score.pretraining is None else score.pretraining.tokens,
        ),
        "shards": [name for name, _ in shards],
        "digest": digest(shards),
    }
    write_json(directory / MANIFEST, manifest)
    return manifest


def check_failures(annotation: Annotation, score: ScoreRecipe) -> None:
    """Raises `TooManyFailures` if more documents failed than `score.max_failures` allows."""
    if score.max_failures is None:
        return
    text, rewards = annotation.documents, annotation.rewards(score.folder)
    failed = text["unread"] + rewards["failed_documents"]
    documents = text["unread"] + text["documents"]
    allowed = score.max_failures * (documents if score.max_failures < 1 else 1)
    if failed > allowed:
        raise TooManyFailures(
            f"{failed:,} of {documents:,} documents failed, and {allowed:,.0f} may",
            where=str(annotation.path),
            fix="All that could be scored is there; `valence show` tells what failed and why.",
        )


Engine = Callable[[Callable[[Any], object], Sequence[Any]], object]


def _engine(score: ScoreRecipe | None) -> Engine:
    """What calls a function with each of many jobs."""
    score = score or ScoreRecipe()
    if score.engine == "ray":
        return functools.partial(run_ray, workers=score.workers, gpus=score.gpus)
    return functools.partial(run_local, workers=score.workers)


def _cluster(score: ScoreRecipe | None) -> AbstractContextManager[None]:
    """The cluster that the engine needs, while the block runs."""
    if score is None or score.engine == "local":
        return contextlib.nullcontext()
    return connected(score.address, score.workers)
