"""A weighted sum of other scorers: total(segment) = sum of weight_i * score_i(segment).

The compositional reward: what each part gave is kept beside the total, and a segment that
one part has no number for has no total.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, FiniteFloat

from valence.data import Document, Failure, Result, Score, ScorerId, Segment
from valence.errors import ScorerError
from valence.score.protocol import BatchScorer, Item, Scorer, flops_of, traits
from valence.store import digest


class Weighted(BaseModel):
    """A part of a sum: which scorer, and how much one unit of its reward counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scorer: str | dict[str, dict[str, object] | None]
    weight: FiniteFloat = 1.0


class Sum:
    """The weighted sum of its parts' rewards, with the parts kept.

    `parts` maps a name of your own to `{scorer: ..., weight: ...}`, or the name of a scorer to
    its weight alone: `{pep8: 1.0, pii: 0.5}`. Parts stand in the order of their names, and
    the total is added up in that order in double precision: ((0 + w1 s1) + w2 s2) + ...

    A segment for which a part has a failure is a `Failure` of kind "part-failed" that names
    the part and what was wrong; so is all of a document for which a part raises. Raises
    `ScorerError` and what the parts raise.
    """

    def __init__(self, *, parts: dict[str, float | Weighted]) -> None:
        from valence.score.table import build_scorer  # It knows this class: a cycle otherwise.

        given = {name: _weighted(name, part) for name, part in sorted(parts.items())}
        if not given:
            raise ScorerError(
                "has no parts", where="sum", fix="For example: {sum: {parts: {pep8: 1.0}}}."
            )
        self.parts = tuple(given)
        self._weights = [part.weight for part in given.values()]
        self._scorers = [build_scorer(part.scorer) for part in given.values()]
        known = [traits(scorer) for scorer in self._scorers]
        self.keeps_marks = any(trait.keeps_marks for trait in known)
        self.batch = max(trait.batch for trait in known)
        self.device = next((t.device for t in known if t.device != "cpu"), "cpu")
        ids = [
            [name, scorer.id.name, scorer.id.version, scorer.id.digest, weight]
            for name, scorer, weight in self._each
        ]
        self.id = ScorerId(name="sum", version="1", digest=digest(ids))
        terms = (f"{w:g} * {name} ({scorer.meaning})" for name, scorer, w in self._each)
        self.meaning = "the sum of " + " + ".join(terms)

    @property
    def _each(self) -> list[tuple[str, Scorer, float]]:
        return list(zip(self.parts, self._scorers, self._weights, strict=True))

    @property
    def flops(self) -> float | None:
        """Floating-point operations of the parts that count theirs; None if none does."""
        counted = [n for n in map(flops_of, self._scorers) if n is not None]
        return math.fsum(counted) if counted else None

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """One total per segment, in order."""
        return self.score_many([(document, segments)])[0]

    def score_many(self, items: Sequence[Item]) -> list[list[Result]]:
        """For each document what `score` gives for it, but for rounding in its parts."""
        by_part = [_asked(scorer, items) for scorer in self._scorers]
        return [
            [self._total(of_segment) for of_segment in zip(*of_document, strict=True)]
            for of_document in zip(*by_part, strict=True)
        ]

    def _total(self, results: Sequence[Result]) -> Result:
        failed = [
            f"{name}: {result.kind} ({result.message})"
            for name, result in zip(self.parts, results, strict=True)
            if isinstance(result, Failure)
        ]
        if failed:
            return Failure(stage="score", kind="part-failed", message="; ".join(failed))
        scores = [result for result in results if isinstance(result, Score)]
        total = 0.0
        for weight, score in zip(self._weights, scores, strict=True):
            total += weight * score.value
        if not math.isfinite(total):
            return Failure(stage="score", kind="not-finite", message=f"the sum is {total}")
        return Score(
            value=total,
            parts=tuple(score.value for score in scores),
            marks=tuple(mark for score in scores for mark in score.marks),
        )


def _weighted(name: str, part: float | Weighted | Mapping[str, object]) -> Weighted:
    if isinstance(part, Weighted):
        return part
    try:
        if isinstance(part, Mapping):
            return Weighted.model_validate(part)
        return Weighted(scorer=name, weight=part)
    except ValueError as error:
        raise ScorerError(
            f"is not a part ({error})",
            where=f"sum: {name}",
            fix="Give {scorer: ..., weight: ...}, or a weight for a scorer of that name.",
        ) from None


def _asked(scorer: Scorer, items: Sequence[Item]) -> list[list[Result]]:
    """What one part gives for each document; what it raises fails that document alone."""
    if isinstance(scorer, BatchScorer) and len(items) > 1:
        try:
            return _checked(scorer, scorer.score_many(items), items)
        except ScorerError:
            raise
        except Exception:  # noqa: S110  (each document is asked about alone, and tells why)
            pass
    return _checked(scorer, [_alone(scorer, *item) for item in items], items)


def _alone(scorer: Scorer, document: Document, segments: Sequence[Segment]) -> list[Result]:
    try:
        return scorer.score(document, segments)
    except (ScorerError, KeyboardInterrupt):
        raise
    except Exception as error:  # A scorer is foreign code.
        failure = Failure(stage="score", kind=type(error).__name__, message=str(error))
        return [failure] * len(segments)


def _checked(
    scorer: Scorer, found: Sequence[Sequence[Result]], items: Sequence[Item]
) -> list[list[Result]]:
    if [len(results) for results in found] != [len(segments) for _, segments in items]:
        raise ScorerError(
            f"the part {scorer.id.name} did not answer once per segment",
            where="sum",
            fix="A scorer gives one result for each segment that it is asked about.",
        )
    return [list(results) for results in found]
