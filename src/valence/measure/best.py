"""Which model and mode is best on the headline metric, whether it is the conditional one, and
which are beaten by none where ability counts as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from valence.data import Measurement
from valence.measure.compare import compare, verdict
from valence.measure.paired import Paired, unpaired
from valence.measure.settings import budget_keys, budget_of
from valence.measure.words import named, subject
from valence.recipe import Recipe
from valence.report.pareto import unbeaten
from valence.report.seeds import by_seed, summarise

Who = tuple[str, str]


def best_sentences(
    rows: Sequence[Measurement],
    recipe: Recipe,
    *,
    good: str,
    ability: str,
    paired: Paired = unpaired,
) -> list[str]:
    """Which model and mode has the best mean, how the conditional model stands to it, and
    which are beaten by none in both the headline and `ability`, a metric that is better lower.

    Once for each budget (`train.tokens`, `model.*`) that a sweep made; `good` is the mode of
    the best band. Nothing where fewer than two models can be compared.
    """
    headline = recipe.measure.first
    if headline is None:
        return []
    sign = 1 if recipe.measure.metrics[headline].scale < 0 else -1
    means, losses = _means(rows, recipe, headline), _means(rows, recipe, ability)
    keys = budget_keys(recipe)
    budgets: dict[str, list[Who]] = {}
    for who in sorted(means, key=lambda who: sign * means[who]):
        budgets.setdefault(budget_of(recipe, who[0], keys), []).append(who)
    said = []
    for name in dict.fromkeys(budget_of(recipe, model, keys) for model in recipe.models):
        order, at = budgets.get(name, []), f" at {name}" if name else ""
        if len({model for model, _ in order}) > 1:
            said.append(_best(rows, recipe, headline, order, means, good, at, paired))
            both = {who: (means[who], losses[who]) for who in order if who in losses}
            said += _unbeaten(both, sign, f"{subject(headline)} and {subject(ability)}".lower(), at)
    return said


def _means(rows: Sequence[Measurement], recipe: Recipe, wanted: str) -> dict[Who, float]:
    found: dict[Who, float] = {}
    for (model, mode, metric), seeds in by_seed(rows).items():
        value = summarise(seeds).value
        if metric == wanted and value is not None and model in recipe.models:
            found[model, mode] = value
    return found


def _unbeaten(both: Mapping[Who, tuple[float, float]], sign: int, what: str, at: str) -> list[str]:
    """Those that none beats in both values, where that is not true of all.

    The first value is better lower if `sign` is 1, higher if it is -1; the second lower.
    """
    front = unbeaten({who: (sign * first, second) for who, (first, second) in both.items()})
    if len(front) == len(both):
        return []
    listed = "; ".join(f"{named(*who)} ({both[who][0]:.3g}, {both[who][1]:.3g})" for who in front)
    return [f"Beaten by none in both {what}, by the means of {len(both)}{at}: {listed}."]


def _best(
    rows: Sequence[Measurement],
    recipe: Recipe,
    headline: str,
    order: Sequence[Who],
    means: Mapping[Who, float],
    good: str,
    at: str,
    paired: Paired,
) -> str:
    first, models = order[0], recipe.models
    ours = [
        (model, mode)
        for model, mode in order
        if models[model].objective_name == "conditional" and mode == good
    ]
    head = (
        f"Best by the mean of {subject(headline).lower()} among {len(order)} models and"
        f" modes{at}: {named(*first)}, {means[first]:.3g}"
    )
    if ours and ours[0] == first:
        others = [who for who in order if models[who[0]].objective_name != "conditional"]
        rival, place = (others[0], "Next among the others") if others else (None, "")
    elif ours:
        rival, place = ours[0], "The conditional model is not best"
    else:
        rival, place = order[1], "Next"
    if rival is None:
        return f"{head}."
    comparison = compare(rows, headline, first, rival, paired=paired)
    shown = f"; the best is {verdict(comparison)}" if comparison is not None else ""
    return f"{head}. {place}: {named(*rival)}, {means[rival]:.3g}{shown}."
