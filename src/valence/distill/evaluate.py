"""A student, or any scorer, against rewards that an annotation holds, such as labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from valence.annotate.read import Annotated, Annotation
from valence.data import Measurement, Score, tile
from valence.distill.fidelity import RESAMPLES, Compared, Floats, compare
from valence.distill.teacher import Teacher
from valence.errors import CorpusError
from valence.score.protocol import ArrayScorer, BatchScorer, Scorer


def evaluate(
    scorer: Scorer | str,
    annotation: Path | Annotation,
    labels: str,
    *,
    bound: float,
    seed: int = 0,
    resamples: int = RESAMPLES,
    held_out: bool | None = True,
) -> tuple[Measurement, ...]:
    """Every metric of `fidelity.METRICS` of a scorer, with the rewards `labels` for a teacher.

    A scorer is one that is built, or the name of rewards in the same annotation. `held_out`
    says which documents: those held out, the others, or all for None. Segments for which
    either has no reward are left out and counted. Raises `CorpusError` if none is left.
    """
    teacher = Teacher.of([annotation], labels)
    read = teacher.annotations[0].read
    wanted = list(read(labels, held_out=held_out))
    if isinstance(scorer, str):
        given = [row.rewards.astype(np.float64) for row in read(scorer, held_out=held_out)]
    else:
        given = _scored(scorer, wanted)
    x = np.concatenate([*given, np.zeros(0)]).astype(np.float64)
    y = np.concatenate([*(document.rewards for document in wanted), np.zeros(0)])
    sizes = [len(document.rewards) for document in wanted]
    documents = np.repeat(np.arange(len(wanted)), sizes)
    kept = np.isfinite(x) & np.isfinite(y)
    if not kept.any():
        raise CorpusError(
            "no segment has a reward of both",
            where=str(teacher.annotations[0].path),
            fix="Choose other rewards, or an annotation with held-out documents.",
        )
    compared = Compared(
        student=x[kept], teacher=y[kept].astype(np.float64), documents=documents[kept]
    )
    lower = float((compared.teacher < bound).mean())
    return compare(
        compared,
        bound=bound,
        matched_bound=float(np.quantile(compared.student, lower, method="higher")),
        failures=int((~kept).sum()),
        seed=seed,
        mode=labels,
        resamples=resamples,
    )


def _scored(scorer: Scorer, wanted: Sequence[Annotated]) -> list[Floats]:
    """One array per document; NaN where the scorer failed."""
    found: list[Floats] = []
    step = scorer.batch if isinstance(scorer, ArrayScorer | BatchScorer) else 1
    for at in range(0, len(wanted), step):
        part = wanted[at : at + step]
        if isinstance(scorer, ArrayScorer):
            rows = scorer.score_arrays([d.document.text for d in part], [d.ends for d in part])
            found += [np.asarray(row, dtype=np.float64) for row in rows]
            continue
        items = [(d.document, tile(d.ends.tolist())) for d in part]
        results = (
            scorer.score_many(items)
            if isinstance(scorer, BatchScorer)
            else [scorer.score(*item) for item in items]
        )
        found += [
            np.array([r.value if isinstance(r, Score) else np.nan for r in row]) for row in results
        ]
    return found
