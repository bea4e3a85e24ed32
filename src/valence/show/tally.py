"""Sums over an annotation that are added up shard by shard: failures, groups, correlations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.compute as pc

from valence.report.annotation_content import FailureKind, Group
from valence.show.blocks import Block, Flags, Integers, Rewards

MOST_SOURCES = 50
"""With more sources than these they are not told apart: files, for instance, are too many."""


@dataclass(slots=True)
class Failures:
    """Failures by stage and kind: documents, segments, and the first message of each."""

    _documents: dict[tuple[str, str], int] = field(default_factory=dict)
    _segments: dict[tuple[str, str], int] = field(default_factory=dict)
    _first: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    def add_scored(self, block: Block, name: str) -> None:
        """Failures of a scorer on documents that could be read."""
        lists = block.tables[name]["failures"].combine_chunks()
        rows = pc.list_parent_indices(lists).to_numpy()
        if len(rows) == 0:
            return
        failed = pc.list_flatten(lists)
        at = pc.struct_field(failed, "segment").to_numpy(zero_copy_only=False)
        weights = np.where(at < 0, block.segments[rows], 1)
        self._add(failed, rows, weights, block.readable[rows], block.texts["id"])

    def add_unread(self, block: Block) -> None:
        """Documents that could not be read."""
        failed = block.texts["failure"].combine_chunks()
        rows = np.arange(len(failed))
        weights = np.zeros(len(failed), dtype=np.int64)
        self._add(failed, rows, weights, ~block.readable, block.texts["id"])

    def _add(self, failed: Any, rows: Integers, weights: Integers, kept: Flags, ids: Any) -> None:
        stages, kinds = pc.struct_field(failed, "stage"), pc.struct_field(failed, "kind")
        joined = pc.binary_join_element_wise(stages, kinds, "\t")
        coded = pc.dictionary_encode(pc.fill_null(joined, ""))
        codes = coded.indices.to_numpy(zero_copy_only=False)
        for code, label in enumerate(coded.dictionary.to_pylist()):
            places = np.flatnonzero(kept & (codes == code))
            if len(places) == 0:
                continue
            stage, _, kind = label.partition("\t")
            key = stage, kind
            self._documents[key] = self._documents.get(key, 0) + len(np.unique(rows[places]))
            self._segments[key] = self._segments.get(key, 0) + int(weights[places].sum())
            if key not in self._first:
                message = pc.struct_field(failed, "message")[int(places[0])].as_py()
                self._first[key] = str(ids[int(rows[places[0]])].as_py()), str(message)

    def listed(self) -> tuple[FailureKind, ...]:
        """All kinds, the most frequent first."""
        kinds = [
            FailureKind(
                stage=key[0],
                kind=key[1],
                documents=self._documents[key],
                segments=self._segments[key],
                document=self._first[key][0],
                message=self._first[key][1],
            )
            for key in self._documents
        ]
        return tuple(sorted(kinds, key=lambda k: (-k.segments, -k.documents, k.stage, k.kind)))


@dataclass(slots=True)
class Groups:
    """Documents, segments, scored segments, sum of rewards and the upper band, by group.

    `overflow` is true where there are more than `MOST_SOURCES`; then none are kept.
    """

    overflow: bool = False
    _rows: dict[str, list[float]] = field(default_factory=dict)

    def add(
        self,
        names: tuple[str, ...],
        group_D: Integers,
        block: Block,
        rewards: Rewards,
        upper: Flags,
    ) -> None:
        """One more shard, its documents in the groups `names[group_D]`."""
        if self.overflow:
            return
        scored = ~np.isnan(rewards)
        group_S = group_D[block.document]
        size = len(names)
        columns = (
            np.bincount(group_D[block.readable], minlength=size),
            np.bincount(group_S, minlength=size),
            np.bincount(group_S[scored], minlength=size),
            np.bincount(group_S[scored], weights=rewards[scored].astype(float), minlength=size),
            np.bincount(group_S[upper], minlength=size),
        )
        for at, name in enumerate(names):
            row = self._rows.setdefault(name, [0.0] * len(columns))
            self._rows[name] = [old + new[at] for old, new in zip(row, columns, strict=True)]
        if len(self._rows) > MOST_SOURCES:
            self.overflow = True
            self._rows.clear()

    def listed(self, *, bounded: bool) -> tuple[Group, ...]:
        """All groups, the largest first."""
        groups = [
            Group(
                name=name,
                documents=int(documents),
                segments=int(segments),
                scored=int(scored),
                mean=float(total / scored) if scored else None,
                upper=int(upper) if bounded else None,
            )
            for name, (documents, segments, scored, total, upper) in self._rows.items()
        ]
        return tuple(sorted(groups, key=lambda group: (-group.segments, group.name)))


@dataclass(slots=True)
class Correlation:
    """Pearson's correlation of a stream of pairs.

    Source: the pairwise update of Chan, Golub and LeVeque 1983.
    """

    count: int = 0
    _mean: tuple[float, float] = (0.0, 0.0)
    _sums: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def add(self, first: Rewards, second: Rewards) -> None:
        """More pairs [S]; a pair with NaN is left out."""
        kept = ~(np.isnan(first) | np.isnan(second))
        x, y = first[kept].astype(np.float64), second[kept].astype(np.float64)
        if len(x) == 0:
            return
        here = float(x.mean()), float(y.mean())
        a, b = x - here[0], y - here[1]
        total = self.count + len(x)
        weight = self.count * len(x) / total
        d, e = here[0] - self._mean[0], here[1] - self._mean[1]
        xx, yy, xy = self._sums
        self._sums = (
            xx + float(a @ a) + d * d * weight,
            yy + float(b @ b) + e * e * weight,
            xy + float(a @ b) + d * e * weight,
        )
        share = len(x) / total
        self._mean = self._mean[0] + d * share, self._mean[1] + e * share
        self.count = total

    @property
    def value(self) -> float | None:
        """None where one of the two does not vary."""
        xx, yy, xy = self._sums
        return float(xy / np.sqrt(xx * yy)) if xx > 0 and yy > 0 else None


def part_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Names of the parts whose numbers are kept beside the rewards."""
    return tuple(name.removeprefix("part.") for name in columns if name.startswith("part."))
