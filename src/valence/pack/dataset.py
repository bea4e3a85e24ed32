"""Packed rows for a data loader, in training order, rendered as they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from valence.control import ControlScheme
from valence.errors import StoreError
from valence.objective.protocol import Objective
from valence.pack.draws import Purpose, generator
from valence.pack.order import Order
from valence.pack.plan import PackPlan
from valence.pack.render import Renderer, Rows
from valence.pack.tokens import TokenStore

Row = dict[str, npt.NDArray[Any]]

CACHED_GROUPS = 2


class PackedDataset:
    """The rows of a planned training, the i-th row in training order at index i.

    Each is a dict of arrays [T]: `input_ids`, `targets`, `documents` (int64), `forks` (bool,
    only with a verdict) and `rewards` (float32, only if the objective reads them); see
    `Rows`. Rows are shuffled within their group. Raises `StoreError` where the plan is of
    another token store.
    """

    def __init__(
        self,
        store: TokenStore,
        plan: PackPlan,
        objective: Objective,
        scheme: ControlScheme,
        control_ids: Sequence[int],
    ) -> None:
        if plan.store != store.digest:
            raise StoreError(
                "the plan was made for other tokens",
                where=str(store.directory),
                fix="Delete the pack's directory and run again.",
            )
        self.plan = plan
        self._renderer = Renderer(
            store=store,
            objective=objective,
            scheme=scheme,
            settings=plan.settings,
            control_ids=tuple(control_ids),
            order=Order(store.documents, plan.settings.seed),
        )
        self._cache: dict[int, tuple[Rows, npt.NDArray[np.int64]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}}

    def __len__(self) -> int:
        return self.plan.rows

    def __getitem__(self, index: int) -> Row:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Iterable[int]) -> list[Row]:
        """Rows of a whole batch; each group is rendered once for it."""
        wanted = np.asarray(list(indices), dtype=np.int64)
        wanted = np.where(wanted < 0, wanted + len(self), wanted)
        if ((wanted < 0) | (wanted >= len(self))).any():
            raise IndexError(f"there are {len(self)} rows")
        numbers = np.searchsorted(self.plan.row_bounds, wanted, side="right") - 1
        found: dict[int, Row] = {}
        for at in np.argsort(numbers, kind="stable").tolist():
            number = int(numbers[at])
            found[at] = self._row(number, int(wanted[at] - self.plan.row_bounds[number]))
        return [found[at] for at in range(len(wanted))]

    def _row(self, number: int, index: int) -> Row:
        rows, order = self._group(number)
        at = order[index]
        row: Row = {
            "input_ids": rows.ids[at].astype(np.int64),
            "targets": rows.targets[at].astype(np.int64),
            "documents": rows.documents[at].astype(np.int64),
        }
        if rows.forks is not None:
            row["forks"] = rows.forks[at].copy()
        if rows.rewards is not None:
            row["rewards"] = rows.rewards[at].copy()
        return row

    def _group(self, number: int) -> tuple[Rows, npt.NDArray[np.int64]]:
        if number not in self._cache:
            rows = self._renderer.render(self.plan.groups[number], number)
            draws = generator(self.plan.settings.seed, Purpose.ROWS, number)
            while len(self._cache) >= CACHED_GROUPS:
                del self._cache[next(iter(self._cache))]
            self._cache[number] = (rows, draws.permutation(len(rows.ids)))
        else:
            self._cache[number] = self._cache.pop(number)
        return self._cache[number]


def collate(rows: Sequence[Mapping[str, npt.NDArray[Any]]]) -> dict[str, torch.Tensor]:
    """Rows as one batch of tensors [B, T], by the same names."""
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
