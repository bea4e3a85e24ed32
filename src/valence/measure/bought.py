"""What guides cost and what they buy, in sentences: the front, the best for each budget of tokens
through the model, and search against training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from valence.data import Measurement, Standing
from valence.measure.compare import compare, numbers, verdict
from valence.measure.front import Setting, Who, fronts, standings
from valence.measure.paired import Paired, unpaired
from valence.measure.words import named, subject
from valence.recipe import MeasureRecipe
from valence.report.pareto import BUDGETS, best_within, stairs

PART = 0.1
"""Where a value leaves out more of the texts than this, that is said."""
MOST = 3
"""Of more settings that beat one the first are named."""
PRICE = "tokens through the model for each of text"


def front_sentences(
    rows: Sequence[Measurement], measure: MeasureRecipe, paired: Paired = unpaired
) -> list[str]:
    """What to choose, scenario by scenario; nothing where no cost was counted."""
    stood = standings(rows, measure, paired)
    said: list[str] = []
    for signs, settings in fronts(rows, measure):
        ours = [each for each in stood if each.metrics == tuple(signs)]
        headline = next(iter(signs))
        said += _front(ours, list(signs))
        said += _budgets(rows, settings, headline, paired)
        said += _trained(rows, settings, headline, paired)
        said += _reductions(ours, headline)
        said += _others(ours)
        said += _parts(rows, settings, list(signs))
    return said


def _front(ours: Sequence[Standing], metrics: Sequence[str]) -> Iterator[str]:
    what = ", ".join(_plain(metric) for metric in metrics)
    front = [_who(each) for each in ours if not each.beaten_by]
    listed = f": {_listed(front)}" if len(front) < len(ours) else ""
    yield (
        f"On the front of {what}, by the values: {len(front)} of {len(ours)} settings, which none"
        f" beats (is as good in all and better in one){listed}."
    )
    surely = [_who(each) for each in ours if not each.outdone_by and not each.alike]
    yield (
        "Shown to be better than every other setting in something:"
        f" {_listed(surely) or 'none of them'}."
    )


def _others(ours: Sequence[Standing]) -> Iterator[str]:
    """What is shown to be beaten; the table beside the figure tells the rest."""
    for each in ours:
        if each.shown_by:
            yield f"{named(*_who(each))} is shown to be beaten by {_listed(each.shown_by, MOST)}."
    outdone = [_who(each) for each in ours if each.outdone_by and not each.shown_by]
    if outdone:
        yield (
            f"Outdone by others, which are shown to be better in something and worse in nothing:"
            f" {_listed(outdone)}."
        )


def _parts(
    rows: Sequence[Measurement], settings: Sequence[Setting], metrics: Sequence[str]
) -> Iterator[str]:
    """Values that stand on part of the texts: of the others there was none."""
    compared = {each.who for each in settings}
    for row in rows:
        whole = row.count + row.failures
        ours = row.metric in metrics and (row.model, row.mode) in compared
        if ours and row.failures > PART * whole:
            yield (
                f"{subject(row.metric)} of {named(row.model, row.mode)} stands on"
                f" {row.count} of {whole} texts: the others have none."
            )


def _budgets(
    rows: Sequence[Measurement], settings: Sequence[Setting], headline: str, paired: Paired
) -> Iterator[str]:
    """The best of each model within each budget, the best of all against the next one's."""
    before: list[Who] = []
    for budget in BUDGETS:
        found = [best_within(own, budget) for own in priced(settings).values()]
        value = {each.who: each.point[0] for each in settings}
        best = sorted((who for who in found if who is not None), key=value.__getitem__)[:2]
        if not best or best == before:
            continue
        before = best
        versus = compare(rows, headline, best[0], best[-1], paired=paired)
        assert versus is not None
        head = f"Within {budget:g} {PRICE}, the best"
        if len(best) > 1:
            yield f"{head} of each model: {numbers(versus)}; {verdict(versus)}."
        else:
            (metric,) = (each.metrics[0] for each in settings if each.who == best[0])
            told = f"{_plain(headline)} {metric.value:.3g}{_interval(metric.low, metric.high)}"
            yield f"{head}: {named(*best[0])}, {told}."


def _trained(
    rows: Sequence[Measurement], settings: Sequence[Setting], headline: str, paired: Paired
) -> Iterator[str]:
    """What each model without a guide is worth in tokens of every model that is worse without."""
    for own in settings:
        if "+" in own.who[1]:
            continue
        value, cost = own.point[0], own.point[-1]
        for model, points in priced(settings).items():
            alone = [points[who][1] for who in points if "+" not in who[1]]
            if model == own.who[0] or not alone or min(alone) <= value:
                continue
            steps = stairs(points)
            enough = [who for who in steps if points[who][1] <= value]
            head = f"{named(*own.who)} alone, at {cost:.3g} {PRICE}"
            closest = (enough or steps[-1:])[0]
            versus = compare(rows, headline, closest, own.who, paired=paired)
            assert versus is not None
            if enough:
                price = points[enough[0]][0]
                told = f"{model} is as good, by the values, from {price:.3g} on"
            else:
                told = f"no setting of {model} is as good, by the values; its best"
            yield f"{head}: {told}. {numbers(versus)}; {verdict(versus)}."


def _reductions(ours: Sequence[Standing], headline: str) -> Iterator[str]:
    """The guide of each model that takes most off for a token."""
    for model in dict.fromkeys(each.model for each in ours):
        known = [each for each in ours if each.model == model and each.reduction is not None]
        if known:
            best = max(known, key=lambda each: each.reduction or 0.0)
            yield (
                f"For each added token through the model {named(model, best.mode)} takes the"
                f" logarithm of {_plain(headline)} down most: by {best.reduction:.3g}"
                f"{_interval(best.low, best.high)}."
            )


def priced(settings: Sequence[Setting]) -> dict[str, dict[Who, tuple[float, float]]]:
    """By model the cost and the headline, lower is better, of each setting."""
    found: dict[str, dict[Who, tuple[float, float]]] = {}
    for each in settings:
        found.setdefault(each.who[0], {})[each.who] = (each.point[-1], each.point[0])
    return found


def _who(standing: Standing) -> Who:
    return standing.model, standing.mode


def _interval(low: float | None, high: float | None) -> str:
    """Both ends, or the one that is known; nothing where neither is."""
    if low is None or high is None:
        side, end = ("at least", low) if high is None else ("at most", high)
        return "" if end is None else f", {side} {end:.3g}"
    return f" [{low:.3g}, {high:.3g}]"


def _plain(metric: str) -> str:
    words = subject(metric)
    return words[0].lower() + words[1:]


def _listed(names: Iterable[Who], most: int | None = None) -> str:
    every = [named(*who) for who in names]
    rest = f" and {len(every[most:])} more" if most and every[most:] else ""
    return ", ".join(every[:most]) + rest
