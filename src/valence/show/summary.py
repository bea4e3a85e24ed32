"""Did this scorer do what I think? Its rewards counted, and segments to read.

Three passes over the numbers, none over the text, in memory that does not grow with the
corpus. Whatever is counted is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow.parquet as pq

from valence.annotate.read import Annotation
from valence.errors import StoreError
from valence.report.annotation_content import Bands, Examples, PartSummary, Quantile, Summary
from valence.report.bound import Bound
from valence.report.table import format_value
from valence.show.blocks import Block, Rewards, blocks, flat
from valence.show.bounds import lower_share
from valence.show.choose import SPARE, Target, read_examples, shown
from valence.show.costs import ledger_lines
from valence.show.distribution import Distribution
from valence.show.histogram import MASS, Binning
from valence.show.tally import Correlation, Failures, Groups, part_columns

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
EXAMPLES_AT = {
    0.0: "the worst",
    0.01: "1%",
    0.05: "5%",
    0.25: "25%",
    0.5: "the median",
    0.75: "75%",
    0.95: "95%",
    1.0: "the best",
}


@dataclass(slots=True)
class _Part:
    values: Distribution = field(default_factory=Distribution)
    with_total: Correlation = field(default_factory=Correlation)


@dataclass(slots=True)
class _Counts:
    """What the first two passes find."""

    parts: dict[str, _Part]
    rewards: Distribution = field(default_factory=Distribution)
    lengths: Distribution = field(default_factory=Distribution)
    failures: Failures = field(default_factory=Failures)
    firsts: list[int] = field(default_factory=list)
    segments: int = 0


@dataclass(slots=True)
class _Sums:
    """What the third pass adds up, by the bound where there is one."""

    splits: Groups = field(default_factory=Groups)
    sources: Groups = field(default_factory=Groups)
    upper: int = 0
    tied: int = 0
    chars: int = 0
    upper_chars: int = 0
    by_char: float = 0.0


def summarise(
    annotation: Annotation,
    name: str,
    *,
    bound: Bound | None = None,
    examples: int = 3,
    seed: int = 0,
) -> Summary:
    """One scorer's rewards, with so many `examples` for each quantile, chosen with `seed`.

    A bound given as a share is resolved over all scored segments of both splits. Raises
    `MissingFileError` for rewards that are not there, and `StoreError` for damaged ones.
    """
    counts = _count(annotation, name, bound)
    at = _reward_of(bound, counts)
    targets = _targets(counts, at, examples, seed)
    binning, sums = Binning(counts.rewards), _Sums()
    for block in blocks(annotation, [name]):
        _add(sums, block, block.rewards[name], at)
        binning.add(block.rewards[name])
        for target in targets:
            target.add(block.first, block.rewards[name])
    manifest = annotation.rewards(name)
    scorer = manifest["scorer"]
    return Summary(
        name=name,
        scorer=f"{scorer['name']}@{scorer['version']}+{scorer['digest'][:12]}",
        meaning=str(scorer.get("meaning", "")),
        device=str(scorer.get("device", "cpu")),
        segments=counts.segments,
        scored=counts.rewards.size,
        mean=counts.rewards.mean,
        mean_by_char=sums.by_char / sums.chars if sums.chars else None,
        quantiles=_quantiles(counts.rewards),
        histogram=binning.histogram(),
        bands=_bands(bound, at, counts, sums),
        splits=sums.splits.listed(bounded=at is not None),
        sources=sums.sources.listed(bounded=at is not None),
        examples=_examples(annotation, name, targets, counts.firsts, examples),
        failures=counts.failures.listed(),
        parts=tuple(
            PartSummary(
                name=part,
                scored=found.values.size,
                mean=found.values.mean,
                quantiles=_quantiles(found.values),
                correlation=found.with_total.value,
            )
            for part, found in counts.parts.items()
        ),
        mean_length=counts.lengths.mean,
        lengths=_quantiles(counts.lengths),
        ledger=ledger_lines(manifest),
    )


def _count(annotation: Annotation, name: str, bound: Bound | None) -> _Counts:
    names = _part_names(annotation, name)
    columns = [f"part.{part}" for part in names]
    counts = _Counts(parts={part: _Part() for part in names})
    for block in blocks(annotation, [name], of_documents=["id"], of_rewards=["failures", *columns]):
        counts.firsts.append(block.first)
        counts.segments += len(block.ends)
        counts.rewards.count(block.rewards[name])
        counts.lengths.count(_lengths(block))
        counts.failures.add_scored(block, name)
        for part, found in counts.parts.items():
            values = _part(block, name, part)
            found.values.count(values)
            found.with_total.add(values, block.rewards[name])
    shares = QUANTILES if bound is None or bound.best is None else (*QUANTILES, lower_share(bound))
    counts.rewards.settle(shares, frequent=MASS)
    for other in (counts.lengths, *(found.values for found in counts.parts.values())):
        other.settle(QUANTILES)
    for block in blocks(annotation, [name], of_rewards=columns):
        counts.rewards.recount(block.rewards[name])
        counts.lengths.recount(_lengths(block))
        for part, found in counts.parts.items():
            found.values.recount(_part(block, name, part))
    return counts


def _part_names(annotation: Annotation, name: str) -> tuple[str, ...]:
    annotation.rewards(name)
    if not annotation.shards:
        return ()
    path = annotation.path / "rewards" / name / f"{annotation.shards[0]}.parquet"
    return part_columns(pq.read_schema(path).names) if path.is_file() else ()


def _part(block: Block, name: str, part: str) -> Rewards:
    values, _ = flat(block.tables[name][f"part.{part}"])
    if len(values) != len(block.ends):
        raise StoreError(
            f"the part `{part}` of the rewards `{name}` does not have one number a segment",
            where=f"shard {block.shard}",
            fix=f"Remove rewards/{name} and annotate again.",
        )
    return values.astype(np.float32)


def _lengths(block: Block) -> Rewards:
    return (block.ends - block.starts).astype(np.float32)


def _reward_of(bound: Bound | None, counts: _Counts) -> float | None:
    if bound is None or counts.rewards.size == 0:
        return None
    return counts.rewards.quantile(lower_share(bound)) if bound.reward is None else bound.reward


def _add(sums: _Sums, block: Block, rewards: Rewards, at: float | None) -> None:
    scored = ~np.isnan(rewards)
    # In 64 bits, as control.ControlScheme compares: -0.1 in 32 bits is not quite -0.1.
    upper = scored & (rewards >= np.float32(np.inf if at is None else at))
    lengths = block.ends - block.starts
    sums.upper += int(upper.sum())
    sums.tied += 0 if at is None else int((rewards == np.float32(at)).sum())
    sums.chars += int(lengths[scored].sum())
    sums.upper_chars += int(lengths[upper].sum())
    sums.by_char += float(lengths[scored] @ rewards[scored].astype(np.float64))
    splits = ("training", "held out")
    sums.splits.add(splits, block.held_out.astype(np.int64), block, rewards, upper)
    sums.sources.add(block.sources, block.source, block, rewards, upper)


def _bands(bound: Bound | None, at: float | None, counts: _Counts, sums: _Sums) -> Bands | None:
    if bound is None or at is None:
        return None
    return Bands(
        asked=bound,
        reward=at,
        scored=counts.rewards.size,
        upper=sums.upper,
        tied=sums.tied,
        chars=sums.chars,
        upper_chars=sums.upper_chars,
    )


def _quantiles(distribution: Distribution) -> tuple[Quantile, ...]:
    if distribution.size == 0:
        return ()
    return tuple(Quantile(share=s, value=distribution.quantile(s)) for s in QUANTILES)


def _targets(counts: _Counts, at: float | None, examples: int, seed: int) -> list[Target]:
    """What to look for: each quantile once, equal ones together, and both sides of the bound."""
    if counts.rewards.size == 0 or examples == 0:
        return []
    titles: dict[float, list[str]] = {}
    for share, title in EXAMPLES_AT.items():
        titles.setdefault(counts.rewards.quantile(share), []).append(title)
    keep = examples * SPARE
    targets = [
        Target(
            title=f"{', '.join(title)}: {format_value(value)}",
            value=value,
            keep=keep,
            seed=seed + number,
        )
        for number, (value, title) in enumerate(titles.items())
    ]
    if at is not None:
        said = f"the bound, {format_value(at)}"
        targets += [
            Target(title=f"just below {said}", value=at, side="below", keep=keep, seed=seed + 101),
            Target(
                title=f"at {said}, or just above",
                value=at,
                side="at or above",
                keep=keep,
                seed=seed + 102,
            ),
        ]
    return targets


def _examples(
    annotation: Annotation,
    name: str,
    targets: Sequence[Target],
    firsts: Sequence[int],
    most: int,
) -> tuple[Examples, ...]:
    wanted = [int(index) for target in targets for index in target.found]
    found = read_examples(annotation, [name], wanted, firsts)
    return tuple(
        Examples(title=target.title, examples=shown(target.found.tolist(), found, most))
        for target in targets
        if len(target.found)
    )
