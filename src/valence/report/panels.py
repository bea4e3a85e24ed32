"""Which lines stand together in which small panel, and what each is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from valence.data import Series
from valence.report.drawing import Look, palette
from valence.report.seeds import mean_interval

MOST_LINES = 6
"""More lines than this cannot be told apart in a small panel."""
MOST_PANELS = 12
"""More panels than this have a figure of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place on a line: None where nothing could be measured."""

    x: float
    y: float | None
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a panel: its name, its colour, and a number for its dashes and marker.

    Where there are several `seeds`, `points` are their means with the interval over seeds; none
    where the seeds do not have the same x.
    """

    label: str
    colour: str
    style: int
    points: tuple[Point, ...]
    seeds: tuple[tuple[Point, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines in axes of their own."""

    title: str
    lines: tuple[Line, ...]


Key = tuple[str, str, str]
"""Model, mode and name of a line, of all its seeds."""


def family(series: Series) -> str:
    """What a line belongs to: the metric or set of questions after the @ of its name."""
    return series.name.partition("@")[2]


def panels(series: Sequence[Series], look: Look) -> list[Panel]:
    """Lines of one kind and family in panels: of a model; or of a model in a mode, where it has
    too many; or of a name, where every model has but one.
    """
    found: dict[Key, list[Series]] = {}
    for each in series:
        found.setdefault((each.model, each.mode, _short(each.name)), []).append(each)
    models = {model for model, _, _ in found}
    alone = len(models) > 1 and len(found) == len(models)
    by: Callable[[Key], tuple[str, ...]] = (
        (lambda key: (key[2],)) if alone else (lambda key: (key[0],))
    )
    groups = _grouped(found, by)
    if not alone and max(map(len, groups.values()), default=0) > MOST_LINES:
        groups = _grouped(found, lambda key: key[:2])
    made = []
    draw = _Draw(found, look, alone=alone)
    for title, keys in groups.items():
        size = ceil(len(keys) / ceil(len(keys) / MOST_LINES))
        made += [
            Panel(
                title=" · ".join(title),
                lines=tuple(draw.line(key, title) for key in keys[start : start + size]),
            )
            for start in range(0, len(keys), size)
        ]
    return made


class _Draw:
    """Makes lines: a name has one colour and a mode one style in all panels of a figure."""

    def __init__(self, found: dict[Key, list[Series]], look: Look, *, alone: bool) -> None:
        self.found, self.look, self.alone = found, look, alone
        self.names = list(dict.fromkeys(name for _, _, name in found))
        self.modes = list(dict.fromkeys(mode for _, mode, _ in found))

    def line(self, key: Key, title: tuple[str, ...]) -> Line:
        """The line of all seeds of a model, mode and name, in a panel with a title."""
        model, mode, name = key
        own = mode in (*title, name)
        plain = mode == "none" and (model, name, name) not in self.found
        series = self.found[key]
        return Line(
            label=self._label(key, said=own or plain),
            colour=self.look.colour(model) if self.alone else palette(self.names.index(name)),
            style=0 if own else self.modes.index(mode),
            points=_mean(series),
            seeds=tuple(map(_points, series)) if len(series) > 1 else (),
        )

    def _label(self, key: Key, *, said: bool) -> str:
        model, mode, name = key
        first = model if self.alone else name.replace("_", " ")
        return first if said else f"{first} · {mode}"


def _grouped(
    keys: Iterable[Key], by: Callable[[Key], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Key]]:
    groups: dict[tuple[str, ...], list[Key]] = {}
    for key in keys:
        groups.setdefault(by(key), []).append(key)
    return groups


def _short(name: str) -> str:
    return name.partition("@")[0]


def _points(series: Series) -> tuple[Point, ...]:
    columns = zip(series.x, series.y, series.low, series.high, series.count, strict=True)
    return tuple(Point(x=x, y=y, low=low, high=high, count=n) for x, y, low, high, n in columns)


def _mean(series: Sequence[Series]) -> tuple[Point, ...]:
    """The points of a line; over several seeds their means at each x, with Student's interval.

    None where the seeds do not have the same x.
    """
    if len(series) == 1:
        return _points(series[0])
    if len({each.x for each in series}) > 1:
        return ()
    made = []
    for at in zip(*map(_points, series), strict=True):
        values = [point.y for point in at if point.y is not None]
        low, high = mean_interval(values) if len(values) > 1 else (None, None)
        mean = sum(values) / len(values) if values else None
        count = sum(point.count for point in at)
        made.append(Point(x=at[0].x, y=mean, low=low, high=high, count=count))
    return tuple(made)
