"""What a guide took: tokens that went through the model, and segments that were written anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from valence.data import Measurement, Sample
from valence.guide import Guide, Ledger, Rollback
from valence.measure.scenario import metric_at
from valence.measure.statistics import Estimate, share_of

COST = "tokens_through_model_per_token"
REJECTED = "rejected_segments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guided:
    """Tokens that went through the model for all samples, and what a supervisor decided.

    Of each sample: how many segments it looked at, how many it rejected, and how many of these
    could not be measured.
    """

    tokens: int
    looked_at: tuple[int, ...] = ()
    rejected: tuple[int, ...] = ()
    unjudged: tuple[int, ...] = ()


def guided(samples: Sequence[Sample], guides: Sequence[Guide], ledger: Ledger) -> Guided:
    """What guides did to samples, in their order."""
    for guide in guides:
        if isinstance(guide, Rollback):
            told = [guide.verdicts(sample.index) for sample in samples]
            return Guided(
                tokens=ledger.tokens,
                looked_at=tuple(len(each.passed) for each in told),
                rejected=tuple(each.passed.count(False) for each in told),
                unjudged=tuple(each.values.count(None) for each in told),
            )
    return Guided(tokens=ledger.tokens)


def guided_rows(samples: Sequence[Sample], told: Guided, scenario: str) -> list[Measurement]:
    """Cost by text token, and the share of segments that were rejected, as rows of results.

    The cost is of the batch as a whole, so it has no interval.
    """
    first = samples[0]
    tokens = sum(sample.tokens for sample in samples)
    cost = told.tokens / tokens if tokens else None
    found = {COST: (Estimate(value=cost, low=None, high=None, count=len(samples)), 0)}
    if told.looked_at:
        flags = [
            place < rejected
            for count, rejected in zip(told.looked_at, told.rejected, strict=True)
            for place in range(count)
        ]
        owners = [place for place, count in enumerate(told.looked_at) for _ in range(count)]
        found[REJECTED] = (share_of(flags, clusters=owners), sum(told.unjudged))
    return [
        estimate.measurement(
            model=first.model,
            mode=first.mode,
            metric=metric_at(name, scenario),
            failures=failures,
            seed=first.seed,
        )
        for name, (estimate, failures) in found.items()
    ]
