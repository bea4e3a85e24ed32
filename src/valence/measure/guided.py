"""What a guide took, and what it promises: tokens, segments written anew, segments still bad.

An independent scorer says which segments are bad: one that the guide did not look at, or the
bound is on the guide's own opinion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from valence.annotate.judge import score_document
from valence.corpus.segment import build_segmenter
from valence.data import Document, Measurement, Result, Sample, Score, tile
from valence.guide import Guide, Ledger, Rollback
from valence.measure.scenario import metric_at, prompts_of
from valence.measure.statistics import Estimate, share_of
from valence.recipe import CertifyRecipe
from valence.score.table import build_scorer

COST = "tokens_through_model_per_token"
REJECTED = "rejected_segments"
BAD = "bad_segments"
FALSE_ALARMS = "good_segments_rejected"

Looked = tuple[str, float | None, bool]
"""A segment that a supervisor looked at: its text, its value, whether it passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guided:
    """Tokens that went through the model for all samples, and the segments of each [N][S]."""

    tokens: int
    looked: tuple[tuple[Looked, ...], ...] = ()


def guided(samples: Sequence[Sample], guides: Sequence[Guide], ledger: Ledger) -> Guided:
    """What guides did to samples, in their order."""
    looked: tuple[tuple[Looked, ...], ...] = ()
    for guide in guides:
        if isinstance(guide, Rollback):
            found = [guide.verdicts(sample.index) for sample in samples]
            looked = tuple(
                tuple(zip(each.texts, each.values, each.passed, strict=True)) for each in found
            )
    return Guided(tokens=ledger.tokens, looked=looked)


def guided_rows(
    samples: Sequence[Sample],
    told: Guided,
    scenario: str,
    certify: CertifyRecipe | None,
    *,
    per_prompt: int | None = None,
) -> list[Measurement]:
    """Cost by text token, and the share of segments that were rejected, as rows of results.

    The cost is of the batch as a whole, so it has no interval. With `certify` also the share of
    emitted segments that are bad, and that of good ones that were rejected. Segments of a sample,
    or with `per_prompt` samples of each of several prompts those of a prompt, are alike.
    """
    indices = [sample.index for sample in samples]
    owners = prompts_of(indices, per_prompt) or indices
    tokens = sum(sample.tokens for sample in samples)
    cost = told.tokens / tokens if tokens else None
    found = {COST: (Estimate(value=cost, low=None, high=None, count=len(samples)), 0)}
    if told.looked:
        flags = [
            (not passes, owner)
            for owner, each in zip(owners, told.looked, strict=True)
            for _, _, passes in each
        ]
        unknown = sum(looked[1] is None for each in told.looked for looked in each)
        found[REJECTED] = _share(flags, unknown)
    if certify is not None:
        found |= _certified(samples, owners, told, certify)
    first = samples[0]
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


def _share(flags: Sequence[tuple[bool, int]], failures: int) -> tuple[Estimate, int]:
    """The share of flags that are set, each with what its segment belongs to."""
    values, owners = [float(flag) for flag, _ in flags], [owner for _, owner in flags]
    return share_of(values, clusters=owners), failures


def _certified(
    samples: Sequence[Sample], owners: Sequence[int], told: Guided, recipe: CertifyRecipe
) -> dict[str, tuple[Estimate, int]]:
    scorer = build_scorer(recipe.scorer)
    split = build_segmenter(recipe.segments)
    emitted: list[tuple[bool, int]] = []
    alarms: list[tuple[bool, int]] = []
    failures = unknown = 0

    def results(text: str, start: int) -> list[Result]:
        """Of the segments of what stands after a place; what is before is seen, not asked about."""
        after = [start + end for end in split(text[start:])]
        document = Document(id="a sample", text=text, source="")
        ends = [start, *after] if start else after
        return score_document(scorer, document, tile(ends))[-len(after) :] if after else []

    for place, (sample, owner) in enumerate(zip(samples, owners, strict=True)):
        for result in results(sample.prompt + sample.text, len(sample.prompt)):
            if isinstance(result, Score):
                bad = result.value < recipe.bad_below
                emitted.append((bad, owner))
                alarms += [] if bad else [(False, owner)]
            else:
                failures += 1
        before = sample.prompt
        for text, _, passes in told.looked[place] if told.looked else ():
            if not passes and text:
                (*_, result) = results(before + text, len(before))
                if not isinstance(result, Score):
                    unknown += 1
                elif result.value >= recipe.bad_below:
                    alarms.append((True, owner))
            before += text if passes else ""
    found = {BAD: _share(emitted, failures)}
    if told.looked:
        found[FALSE_ALARMS] = _share(alarms, unknown)
    return found
