"""Sentences on measures that are not of samples: abilities of modes, judges, attacks, knowledge.

Each says what its intervals show, and when they show nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from valence.data import VERDICT, Measurement
from valence.measure.compare import APART, compare, numbers, verdict
from valence.measure.paired import Paired, unpaired
from valence.measure.statistics import independent_difference
from valence.measure.words import leaning, named, of_interval, subject

POLICY = "_policy_score@"
CONTROLS = {
    "pool": "pool_control",
    "random": "search_control",
    "greedy": "search_control",
    "gcg": "search_control",
}
"""What each attack is held against."""


def other_sentences(rows: Sequence[Measurement], paired: Paired = unpaired) -> list[str]:
    """What rows of these measures say, model by model; nothing where there are none.

    `paired` knows differences on the same items.
    """
    return [*_gaps(rows), *_judges(rows, paired), *_attacks(rows), *_knowledge(rows, paired)]


def _gaps(rows: Sequence[Measurement]) -> Iterator[str]:
    """What the best and the worst mode of a model differ by in ability."""
    modes = {(row.model, row.mode) for row in rows}
    for row in rows:
        best, dash, worst = row.mode.partition("-")
        ours = dash and (row.model, best) in modes and (row.model, worst) in modes
        if not ours or not row.metric.startswith(("loss_per_text_token", "bits_per_byte", "kl@")):
            continue
        if row.metric.startswith("bits_per_byte"):
            continue  # It says what the loss says.
        way = leaning(row.low, row.high)
        shown = {
            "lower": f"{best} mode is better",
            "higher": f"{best} mode is worse",
        }.get(way, "not shown to differ")
        head = f"{subject(row.metric)} of {row.model}, {best} less {worst} mode"
        yield f"{head}: {_cell(row)}; {shown}."


def _judges(rows: Sequence[Measurement], paired: Paired) -> Iterator[str]:
    """Which judge tells best at the end of the text, within each model and among models."""
    best: dict[tuple[str, str], float] = {}
    for model in _models(rows, VERDICT):
        found: dict[str, list[float]] = {}
        for row in rows:
            if (row.model, row.metric) == (model, VERDICT) and row.value is not None:
                found.setdefault(row.mode, []).append(row.value)
        values = {mode: sum(each) / len(each) for mode, each in found.items()}
        order = sorted(values, key=lambda mode: -values[mode])
        if order:
            best[model, order[0]] = values[order[0]]
        for other in order[1:2]:
            within = compare(rows, VERDICT, (model, order[0]), (model, other), paired=paired)
            if within is not None:
                yield (
                    f"Best judge of what {model} reads: {order[0]}, AUROC {within.left_value:.3g};"
                    f" next {other}, {within.right_value:.3g}; the best is {verdict(within)}."
                )
    models = sorted(best, key=lambda who: -best[who])
    for one, following in itertools.pairwise(models[:2]):
        among = compare(rows, VERDICT, one, following, paired=paired)
        if among is not None:
            yield (
                f"Best of the models' best judges: {one[1]} of {one[0]}, AUROC"
                f" {among.left_value:.3g}; next {following[1]} of {following[0]},"
                f" {among.right_value:.3g}; the best is {verdict(among)}."
            )


def _attacks(rows: Sequence[Measurement]) -> Iterator[str]:
    """Each attack's worst prompt against the worst that nobody searched for."""
    found = {(_who(row), row.metric): row for row in rows if row.metric.startswith("redteam_")}
    for (who, name), row in found.items():
        base, _, metric = name.removeprefix("redteam_").partition("@")
        against = CONTROLS.get(base)
        control = found.get((who, f"redteam_{against}@{metric}"))
        if against is None or control is None:
            continue
        tried, others = (
            found.get((who, f"redteam_{each}_prompts@{metric}")) for each in (base, against)
        )
        yield (
            f"Worst prompt{_among(tried)} of {base} on {named(row.model, row.mode)}:"
            f" {subject(metric).lower()} {_cell(row)}; worst{_among(others)} that nobody searched"
            f" for: {_cell(control)}; {_apart(row, control)}."
        )


def _among(count: Measurement | None) -> str:
    """Of how many prompts one is the worst."""
    return "" if count is None or count.value is None else f" of {count.value:.0f}"


def _knowledge(rows: Sequence[Measurement], paired: Paired) -> Iterator[str]:
    """Whether a model abstains where it does not know, and whether that pays."""
    for row in rows:
        base, at, place = row.metric.partition("@")
        if base != "score" or not at:
            continue
        ours = {r.metric: r for r in rows if _who(r) == _who(row)}
        known, unknown = (ours.get(f"abstention_{kind}@{place}") for kind in ("known", "unknown"))
        if known is None or unknown is None:
            continue
        pays = {
            "higher": "better than always abstaining",
            "lower": "worse than always abstaining",
        }.get(leaning(row.low, row.high), "not shown to differ from always abstaining (0)")
        yield (
            f"Asked about {place}, {named(row.model, row.mode)} abstains on {_cell(unknown)} of"
            f" what it does not know and on {_cell(known)} of what it knows:"
            f" {_apart(unknown, known)}. Its score is {_cell(row)}: {pays}."
        )
        pay = [r for n, r in ours.items() if POLICY in n and (r.low or 0) > 0]
        for best in sorted(pay, key=lambda r: -(r.value or 0))[:1]:
            confidence = best.metric.partition(POLICY)[0]
            yield (
                f"Answering only above a threshold of {confidence}, found on other people,"
                f" {named(row.model, row.mode)} scores {_cell(best)}: better than always"
                " abstaining."
            )
    for model in _models(rows, "score@"):
        yield from _against(rows, model, paired)


def _against(rows: Sequence[Measurement], model: str, paired: Paired) -> Iterator[str]:
    """The score of a model's first mode against that of the first model."""
    scored = [r for r in rows if r.metric.startswith("score@")]
    first = scored[0]
    own = next(row for row in scored if row.model == model)
    if own.model != first.model:
        two = (own.model, own.mode), (first.model, first.mode)
        found = compare(rows, own.metric, *two, paired=paired)
        if found is not None:
            yield f"{numbers(found)}; {verdict(found)}."


def _who(row: Measurement) -> tuple[str, str, int]:
    return row.model, row.mode, row.seed


def _models(rows: Iterable[Measurement], metric: str) -> list[str]:
    """Models that have a metric, or one that begins so."""
    return list(dict.fromkeys(r.model for r in rows if r.metric.startswith(metric)))


def _cell(row: Measurement) -> str:
    if row.value is None:
        return "nothing"
    interval = "" if row.low is None or row.high is None else f" [{row.low:.3g}, {row.high:.3g}]"
    return f"{row.value:.3g}{interval}"


def _apart(one: Measurement, other: Measurement) -> str:
    gap = independent_difference(one, other)
    return of_interval(gap.low, gap.high, APART)
