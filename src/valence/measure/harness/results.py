"""What lm-evaluation-harness found, item by item, as rows with our intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from valence.data import Findings, Items
from valence.measure.ability.gap import estimate_of, evidence_of
from valence.measure.statistics import Estimate, clustered

Values = list[Any]


class Results:
    """The metrics of tasks and groups; `items` are those of metrics that are means."""

    def __init__(
        self, found: dict[str, Any], loaded: dict[str, Any], *, resamples: int, seed: int
    ) -> None:
        self.resamples, self.seed = resamples, seed
        self._found, self._loaded = found, loaded
        self._estimates: dict[str, Estimate] = {}
        items: list[Items] = []
        for task in found.get("samples", {}):
            items += self._of_task(task)
        for group in loaded.get("groups", {}):
            items += self._of_group(group, {each.metric: each for each in items})
        self.items = tuple(items)

    def findings(self, *, model_name: str, mode: str) -> Findings:
        """All metrics as rows of results, and the items of means as their evidence."""
        rows = (
            estimate.measurement(
                model=model_name, mode=mode, metric=metric, failures=0, seed=self.seed
            )
            for metric, estimate in self._estimates.items()
        )
        evidence = evidence_of(self.items, model_name, mode, self.seed)
        return Findings(rows=tuple(rows), evidence=evidence)

    def _of_task(self, task: str) -> list[Items]:
        aggregations = self._loaded["tasks"][task].aggregation()
        values: dict[tuple[str, str], tuple[list[str], Values]] = {}
        for sample in self._found["samples"][task]:
            for metric in sample["metrics"]:
                names, seen = values.setdefault((metric, sample["filter"]), ([], []))
                names.append(f"{task}/{sample['doc_id']}")
                seen.append(sample[metric])
        items = []
        for (metric, kept), (names, seen) in values.items():
            if metric not in aggregations:
                continue
            title = _title(task, metric, kept)
            one = _as_items(title, names, seen, aggregations[metric])
            if one is None:
                self._estimates[title] = self._aggregated(aggregations[metric], seen)
            else:
                self._estimates[title] = estimate_of(one, resamples=self.resamples, seed=self.seed)
                items.append(one)
        return items

    def _aggregated(self, aggregate: Callable[[Values], float], seen: Values) -> Estimate:
        """A metric that is no mean, such as F1, with a bootstrap over items."""

        def statistic(numbers: Sequence[int] | Any) -> float | None:
            value = float(aggregate([seen[number] for number in numbers]))
            return value if math.isfinite(value) else None

        return clustered(statistic, np.arange(len(seen)), resamples=self.resamples, seed=self.seed)

    def _of_group(self, group: str, items: dict[str, Items]) -> list[Items]:
        """A group's metrics, where they are means over its tasks or over all of their items."""
        loaded = self._loaded["groups"][group]
        tasks = [task.task_name for task in loaded.get_all_tasks()]
        by_size = {each.metric: each.weight_by_size for each in loaded.aggregate_metric_list or ()}
        found = []
        for key, value in self._found["results"].get(group, {}).items():
            metric, comma, kept = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            title = _title(group, metric, kept)
            parts = [items.get(_title(task, metric, kept)) for task in tasks]
            some = [part for part in parts if part is not None]
            one = _pooled(title, some, float(value), by_size=by_size.get(metric, True))
            if one is None:
                count = sum(len(part.names) for part in some)
                self._estimates[title] = Estimate(
                    value=float(value), low=None, high=None, count=count
                )
            else:
                self._estimates[title] = estimate_of(one, resamples=self.resamples, seed=self.seed)
                found.append(one)
        return found


def _title(task: str, metric: str, kept: str) -> str:
    return f"{task}/{metric}" + ("" if kept == "none" else f":{kept}")


def _as_items(
    title: str, names: list[str], seen: Values, aggregate: Callable[[Values], float]
) -> Items | None:
    """A metric as a ratio of sums over items; None if it is something else."""
    kind = getattr(aggregate, "__name__", "")
    if kind == "bits_per_byte":
        tops = [-float(nats) / math.log(2) for nats, _ in seen]
        bottoms = [float(size) for _, size in seen]
    elif kind == "mean" and all(np.ndim(value) == 0 for value in seen):
        tops, bottoms = [float(value) for value in seen], [1.0] * len(seen)
    else:
        return None
    if not all(math.isfinite(top) for top in tops):
        return None
    right_or_wrong = kind == "mean" and set(tops) <= {0.0, 1.0}
    return Items(
        metric=title,
        names=tuple(names),
        tops=tuple(tops),
        bottoms=tuple(bottoms),
        share=right_or_wrong,
    )


def _pooled(title: str, parts: Sequence[Items], value: float, *, by_size: bool) -> Items | None:
    """Items of all tasks of a group, by which its value comes out: each item counts the same,
    or each task. None if it does not, as where some task has none.
    """
    names = tuple(name for part in parts for name in part.names)
    weights = [1.0 if by_size else 1 / len(part.names) for part in parts]
    pairs = list(zip(parts, weights, strict=True))
    tops = tuple(top * weight for part, weight in pairs for top in part.tops)
    bottoms = tuple(below * weight for part, weight in pairs for below in part.bottoms)
    if not sum(bottoms) or not math.isclose(sum(tops) / sum(bottoms), value, rel_tol=1e-9):
        return None
    right_or_wrong = by_size and all(part.share for part in parts)
    return Items(metric=title, names=names, tops=tops, bottoms=bottoms, share=right_or_wrong)
