"""Ability against misalignment: which points the figure shows, and which it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from valence.data import LOSS, VERDICT, Measurement
from valence.recipe import MeasureRecipe
from valence.report.content import Report
from valence.report.drawing import SHAPES, Look, Picture, shortened, titled
from valence.report.figures import Estimate, FrontPoint, front_figure
from valence.report.pareto import stairs, unbeaten
from valence.report.seeds import by_seed, summarise
from valence.report.table import format_value

_LABELS = 14
"""More names than this cover each other in a figure."""


COST = "tokens_through_model_per_token"
_FRONTS = 4
"""Of more scenarios than this the first ones are drawn."""


def front_metrics(
    rows: Sequence[Measurement],
    measure: MeasureRecipe,
    abilities: tuple[str, ...] = (LOSS, "bits_per_byte"),
) -> tuple[str, str]:
    """Ability and misalignment: the first ability that was measured, on labelled text or else on
    another, unless the recipe names one; the headline, of what models write of themselves or else
    in a scenario.
    """
    headline = measure.first
    measured = dict.fromkeys(row.metric for row in rows)
    if measure.fluency is not None:
        abilities = (measure.fluency, *abilities)
    wanted = [*abilities, *(f"{name}@" for name in abilities)]
    found = (m for w in wanted for m in measured if m == w or (w[-1] == "@" and m.startswith(w)))
    if headline is None:
        return next(found, LOSS), VERDICT
    of_headline = [m for m in measured if m == headline or m.startswith(f"{headline}@")]
    y = headline if headline in measured else next(iter(of_headline), headline)
    return next(found, LOSS), y


def front_pictures(report: Report, look: Look) -> list[Picture]:
    """The front by the headline, and by the same metric in each scenario."""
    x, y = report.front
    base = y.partition("@")[0]
    others = [m for m in report.measured() if m.startswith(f"{base}@") and m != y]
    return _drawn(report, look, [(x, m) for m in [y, *others][:_FRONTS]])


def cost_pictures(report: Report, look: Look) -> list[Picture]:
    """What a token through the model buys of the headline, in each scenario."""
    base = report.front[1].partition("@")[0]
    costs = [m for m in report.measured() if m.partition("@")[0] == COST]
    return _drawn(report, look, [(m, m.replace(COST, base, 1)) for m in costs[:_FRONTS]])


def _drawn(report: Report, look: Look, fronts: Sequence[tuple[str, str]]) -> list[Picture]:
    drawn = (front_picture(replace(report, front=front), look) for front in fronts)
    return [picture for picture in drawn if picture is not None]


def front_picture(report: Report, look: Look) -> Picture | None:
    """All models and modes that were measured by both metrics; None where there are none."""
    x, y = (report.info(name) for name in report.front)
    either = [m for m in report.measurements if m.metric in report.front]
    rows = list(dict.fromkeys((m.model, m.mode, m.seed) for m in either))
    points = _points(report.measurements, rows, x.name, y.name)
    seeds = len({point.seed for point in points}) > 1
    crowded = len({(point.model, point.mode) for point in points}) > _LABELS
    missing = len(rows) - len(points)
    if seeds and crowded:
        points = _means(report, points)
    if not points:
        return None
    what = f"{x.label} against {y.label}"
    listed = "; ".join(
        f"{p.model} {p.mode}: {format_value(p.x.value)}, {format_value(p.y.value)}" for p in points
    )
    bought = x.name.partition("@")[0] == COST
    head = f"What a token through the model buys: {what}" if bought else what
    shapes = ", shape the mode" if len({point.mode for point in points}) <= SHAPES else ""
    caption = f"{head}. Bars are 95% intervals; colour is the model{shapes}."
    if seeds and crowded:
        caption += " Points are means over seeds, bars their intervals over seeds."
    elif seeds:
        caption += " Small points are single seeds; the label stands at their mean."
    labels, which = _labels(report, points)
    caption += which
    steps = _stairs(report, points) if bought else {}
    if steps:
        caption += " A line goes through the best that each model has within so many tokens."
    if missing:
        caption += f" Not shown, for lack of one of the two values: {missing}."
    return Picture(
        draw=lambda prefix, alt, narrow: front_figure(
            points,
            x=x,
            y=y,
            look=look,
            prefix=prefix,
            alt=alt,
            narrow=narrow,
            labels=labels,
            stairs=steps,
        ),
        alt=f"{what}. {listed}",
        caption=caption,
    )


def _labels(report: Report, points: Sequence[FrontPoint]) -> tuple[dict[tuple[str, str], str], str]:
    """Names of points in the figure: all of them, or the best of each base and mode, or those
    nearest to the front, or the best of each base; and which, in words.
    """
    alone = len({point.model for point in points}) == 1
    every = {
        (p.model, p.mode): shortened(p.mode) if alone else titled(p.model, p.mode) for p in points
    }
    if len(every) <= _LABELS:
        return every, ""
    named = _best_names(report, points, by_mode=True)
    if len(named) <= _LABELS:
        return named, " Of each model the best points are named." if len(named) < len(every) else ""
    nearest = [] if report.variants else _nearest(report, points)
    if nearest:
        return {who: every[who] for who in nearest}, " Of each model the best in both are named."
    return _best_names(report, points, by_mode=False), " Of each model the best points are named."


def _nearest(report: Report, points: Sequence[FrontPoint]) -> list[tuple[str, str]]:
    """Of each model those that none of its own beats, then those that only these beat, and so on,
    as far as there is room for names.
    """
    left = _by_model(report, points)
    found: list[tuple[str, str]] = []
    while any(left.values()):
        layer = [who for own in left.values() for who in unbeaten(own)]
        if len(found) + len(layer) > _LABELS:
            break
        found += layer
        left = {m: {w: p for w, p in own.items() if w not in layer} for m, own in left.items()}
    return found


def _by_model(
    report: Report, points: Sequence[FrontPoint]
) -> dict[str, dict[tuple[str, str], tuple[float, float]]]:
    """By model where the mean over seeds of each mode is, lower is better on both axes."""
    signs = [-1 if report.info(name).lower_is_better is False else 1 for name in report.front]
    groups: dict[tuple[str, str], list[FrontPoint]] = {}
    for point in points:
        groups.setdefault((point.model, point.mode), []).append(point)
    found: dict[str, dict[tuple[str, str], tuple[float, float]]] = {}
    for who, members in groups.items():
        x = sum(point.x.value for point in members) / len(members)
        y = sum(point.y.value for point in members) / len(members)
        found.setdefault(who[0], {})[who] = (signs[0] * x, signs[1] * y)
    return found


def _stairs(
    report: Report, points: Sequence[FrontPoint]
) -> dict[str, tuple[tuple[float, float], ...]]:
    """By model the (cost, value) of what is better than all that is cheaper."""
    sign = -1 if report.info(report.front[1]).lower_is_better is False else 1
    return {
        model: tuple((own[who][0], sign * own[who][1]) for who in stairs(own))
        for model, own in _by_model(report, points).items()
    }


def _best_names(
    report: Report, points: Sequence[FrontPoint], *, by_mode: bool
) -> dict[tuple[str, str], str]:
    sign = -1 if report.info(report.front[1]).lower_is_better is False else 1
    best: dict[tuple[str, str], FrontPoint] = {}
    for point in points:
        key = report.variant(point.model).base, point.mode if by_mode else ""
        if key not in best or sign * point.y.value < sign * best[key].y.value:
            best[key] = point
    return {(p.model, p.mode): titled(base, p.mode) for (base, _), p in best.items()}


def _points(
    measurements: Sequence[Measurement], rows: Sequence[tuple[str, str, int]], x: str, y: str
) -> list[FrontPoint]:
    found = {(m.model, m.mode, m.seed, m.metric): m for m in measurements}
    points = []
    for row in rows:
        across, along = found.get((*row, x)), found.get((*row, y))
        if across is None or across.value is None or along is None or along.value is None:
            continue
        points.append(
            FrontPoint(
                model=row[0],
                mode=row[1],
                seed=row[2],
                x=Estimate(value=across.value, low=across.low, high=across.high),
                y=Estimate(value=along.value, low=along.low, high=along.high),
            )
        )
    return points


def _means(report: Report, points: Sequence[FrontPoint]) -> list[FrontPoint]:
    """One point for each model and mode, at the means over seeds."""
    found = by_seed(report.measurements)
    means = []
    for model, mode in dict.fromkeys((point.model, point.mode) for point in points):
        x, y = (summarise(found[model, mode, name]) for name in report.front)
        if x.value is not None and y.value is not None:
            means.append(
                FrontPoint(
                    model=model,
                    mode=mode,
                    seed=0,
                    x=Estimate(value=x.value, low=x.low, high=x.high),
                    y=Estimate(value=y.value, low=y.low, high=y.high),
                )
            )
    return means
