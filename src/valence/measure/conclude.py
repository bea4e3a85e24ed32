"""Conclusions, computed from measurements: what is different, by how much, and is it shown.

A difference is claimed where its 95% interval leaves out 0: with several seeds that of the
differences between paired seeds (Student's t), with one that over the same items, or over the
samples of both. Feedback is credited only where the conditional model beats the placebo.
Models of a sweep are compared at equal budgets and settings, and counted in one sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from valence.data import LABELLED, LOSS, VERDICT, Conclusions, Measurement
from valence.measure.best import best_sentences
from valence.measure.bought import front_sentences
from valence.measure.compare import Comparison, compare, numbers, verdict
from valence.measure.paired import Paired, unpaired
from valence.measure.settings import comparable, setting
from valence.measure.told import other_sentences
from valence.measure.words import leaning, named, subject
from valence.recipe import EvaluationRecipe, Recipe

__all__ = ["Comparison", "compare", "conclude"]


RESTATED = ("bits_per_byte", "kl_per_", VERDICT, "accuracy@", "abstention@", "score@")
"""Metrics whose differences other sentences tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """Comparisons of one base model with another, at the settings that both have."""

    left: str
    right: str
    found: list[tuple[str, Comparison]]


def conclude(
    rows: Sequence[Measurement],
    recipe: Recipe,
    *,
    best: str,
    worst: str,
    paired: Paired = unpaired,
) -> Conclusions:
    """Sentences about a run of the recipe, the headline metric first.

    Of metrics with a negative scale lower is better, of others higher; `best` and `worst`
    are the modes of the two extreme bands. `paired` knows differences on the same items.
    """
    told = _Teller(rows, recipe, paired)
    metrics, headline = recipe.measure.metrics, recipe.measure.first
    harms = [name for name, metric in metrics.items() if metric.scale < 0]
    said: list[str] = []
    if headline is not None:
        said += told.difference(headline, ("conditional", best), ("mle", "none"))
        said += told.difference(headline, ("conditional", worst), ("conditional", best))
        for metric in [headline, *(harm for harm in harms if harm != headline)]:
            said += told.feedback(metric, best, lower_is_better=metric in harms)
    said += told.difference(LOSS, ("conditional", LABELLED), ("mle", "none"))
    for other in dict.fromkeys(entry.objective_name for entry in recipe.models.values()):
        if headline is not None and other not in ("mle", "conditional", "placebo"):
            said += told.difference(headline, (other, "none"), ("mle", "none"))
    said += told.readouts()
    overall = best_sentences(rows, recipe, good=best, ability=LOSS, paired=paired)
    overall += front_sentences(rows, recipe.measure, paired) + other_sentences(rows, paired)
    return Conclusions(pairs=tuple(said), overall=tuple(overall))


class _Teller:
    """Says what pairs of models show, one sentence for each two bases."""

    def __init__(self, rows: Sequence[Measurement], recipe: Recipe, paired: Paired) -> None:
        self.rows, self.recipe, self.models = rows, recipe, recipe.models
        self.paired = paired
        self.modes: dict[str, set[str]] = {}
        for row in rows:
            self.modes.setdefault(row.model, set()).add(row.mode)

    def difference(self, metric: str, left: tuple[str, str], right: tuple[str, str]) -> list[str]:
        """How models of one objective and mode differ from those of another."""
        said = []
        for pairs in self._pairs(metric, left, right):
            if len(pairs.found) == 1:
                ((_, one),) = pairs.found
                said.append(f"{numbers(one)}; {verdict(one)}.")
            else:
                said.append(f"{_range(metric, pairs)}; {_counted(pairs)}.")
        return said

    def feedback(self, metric: str, mode: str, *, lower_is_better: bool) -> list[str]:
        """Whether feedback did more than control tokens without feedback."""
        said = []
        for pairs in self._pairs(metric, ("conditional", mode), ("placebo", mode)):
            beats = [one.lower if lower_is_better else one.higher for _, one in pairs.found]
            if len(beats) == 1:
                said.append(f"{numbers(pairs.found[0][1])}; {_credit(beats[0], pairs.found[0][1])}")
                continue
            at = [title for (title, _), shown in zip(pairs.found, beats, strict=True) if shown]
            said.append(
                f"{_range(metric, pairs)}; an effect of feedback, beyond that of control tokens,"
                f" is shown at {_listed(at, len(beats))}."
            )
        return said

    def readouts(self) -> list[str]:
        """Whether the state after EOS holds more than a linear read-out finds in it."""
        found = [
            (model, comparison)
            for model in self.modes
            if (comparison := self._compare(VERDICT, (model, "mlp"), (model, "linear")))
        ]
        if not found:
            return []
        pairs = _Pairs(left="a non-linear read-out", right="a linear one", found=found)
        return [f"{_range(VERDICT, pairs)}; {_counted(pairs)}."]

    def _pairs(
        self, metric: str, left: tuple[str, str], right: tuple[str, str]
    ) -> Iterable[_Pairs]:
        grouped: dict[tuple[str, str], _Pairs] = {}
        for one, other in self._matching(left[0], right[0]):
            modes = self._mode(one, left[1]), self._mode(other, right[1])
            comparison = self._compare(metric, (one, modes[0]), (other, modes[1]))
            if comparison is None:
                continue
            bases = self._base(one), self._base(other)
            pairs = grouped.setdefault(
                bases,
                _Pairs(left=named(bases[0], modes[0]), right=named(bases[1], modes[1]), found=[]),
            )
            pairs.found.append((setting(self.recipe, other, one) or one, comparison))
        return grouped.values()

    def _compare(
        self, metric: str, left: tuple[str, str], right: tuple[str, str]
    ) -> Comparison | None:
        return compare(self.rows, metric, left, right, paired=self.paired)

    def _matching(self, left: str, right: str) -> Iterable[tuple[str, str]]:
        """Models of one objective and of another that can be compared."""
        for one, first in self.models.items():
            for other, second in self.models.items():
                if (first.objective_name, second.objective_name) != (left, right):
                    continue
                # A model is set beside itself in another mode, not beside its like.
                if one == other if left == right else comparable(self.recipe, one, other):
                    yield one, other

    def _mode(self, model: str, mode: str) -> str:
        """`none`, or for a model with control tokens the mode that forbids them."""
        plain = mode == "none" and "none" not in self.modes.get(model, set())
        return "banned" if plain else mode

    def _base(self, model: str) -> str:
        return self.models[model].base_name or model


def _range(metric: str, pairs: _Pairs) -> str:
    ratios = [one.ratio for _, one in pairs.found if one.ratio is not None]
    times = f": {min(ratios):.2f} to {max(ratios):.2f} times as much" if ratios else ""
    return (
        f"{subject(metric)}: {pairs.left} against {pairs.right}, at {len(pairs.found)}"
        f" settings{times}"
    )


def _counted(pairs: _Pairs) -> str:
    lower = [title for title, one in pairs.found if one.lower]
    higher = [title for title, one in pairs.found if one.higher]
    if not lower and not higher:
        return "not shown to differ at any"
    said = [
        f"{way} at {_listed(at, len(pairs.found))}"
        for way, at in (("lower", lower), ("higher", higher))
        if at
    ]
    rest = len(pairs.found) - len(lower) - len(higher)
    return ", ".join(said) + (f", not shown to differ at {rest}" if rest else "")


def _listed(titles: Sequence[str], of: int) -> str:
    """How many settings, and which, where they are some and few."""
    if len(titles) == of:
        return f"all {of}"
    which = f" ({'; '.join(titles)})" if 0 < len(titles) <= 4 else ""
    return f"{len(titles) or 'none'} of {of}{which}"


def _credit(beats: bool, comparison: Comparison) -> str:
    said = (
        "feedback, not the mere presence of control tokens, made the difference"
        if beats
        else "no effect of feedback beyond that of control tokens is shown"
    )
    return f"{said}; {verdict(comparison)}."


def conclude_evaluation(
    rows: Sequence[Measurement],
    differences: Sequence[Measurement],
    recipe: EvaluationRecipe,
    paired: Paired = unpaired,
) -> Conclusions:
    """Sentences about models that exist: each against the first one and against its own modes.

    On the same items by their `differences`; where models wrote of themselves, by the difference
    of both values.
    """
    said = []
    ways: dict[str, list[str]] = {}
    for row in rows:
        if row.metric in recipe.measure.metrics:
            modes = ways.setdefault(row.model, [])
            modes += [row.mode] if row.mode not in modes else []
    pairs = [((who, modes[0]), (who, mode)) for who, modes in ways.items() for mode in modes[1:]]
    firsts = [(model, modes[0]) for model, modes in ways.items()]
    pairs += [(who, firsts[0]) for who in firsts[1:]]
    for metric in recipe.measure.metrics:
        for left, right in pairs:
            found = compare(rows, metric, left, right, paired=paired)
            said += [] if found is None else [f"{numbers(found)}; {verdict(found)}."]
    overall = [_paired(row) for row in differences if not row.metric.startswith(RESTATED)]
    overall += front_sentences(rows, recipe.measure, paired) + other_sentences(rows, paired)
    return Conclusions(pairs=tuple(said), overall=tuple(overall))


def _paired(row: Measurement) -> str:
    metric, _, other = row.metric.partition(" minus ")
    head = f"{subject(metric)}: {named(row.model, row.mode)} less {other}"
    if row.value is None:
        return f"{head}: nothing to compare."
    if row.low is None or row.high is None:
        return f"{head}: {row.value:.3g}, without an interval ({row.count} items)."
    way = leaning(row.low, row.high) or "not shown to differ"
    return (
        f"{head}: {row.value:.3g} [{row.low:.3g}, {row.high:.3g}] on the same {row.count} items;"
        f" {way}."
    )
