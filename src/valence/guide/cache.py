"""A key-value cache that grows in place, and whose rows come and go.

transformers' `DynamicCache` concatenates all keys and values anew at each step; on a
processor that is a third of the time of sampling from a small model.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer


class GrowingLayer(DynamicLayer):
    """One layer's keys and values [B, H, T, D] as views into buffers with room to spare."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None
        self._views: tuple[torch.Tensor, torch.Tensor] | None = None
        self._first = 0
        """The column of the buffers where the views begin."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values [B, H, t, D]; returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, past = key_states.shape[0], self.get_seq_length()
        total = past + key_states.shape[-2]
        # Cropping or selecting rows replaces `keys`; the buffers then no longer hold them.
        ours = self._views is not None and self.keys is self._views[0]
        if self._buffers is None or not ours or self._first + total > self._buffers[0].shape[-2]:
            held = rows if self._buffers is None else max(rows, self._buffers[0].shape[0])
            old = (self.keys, self.values)
            self._buffers = (_roomy(key_states, held, total), _roomy(value_states, held, total))
            self._first = 0
            if past:
                for buffer, states in zip(self._buffers, old, strict=True):
                    buffer[:rows, :, :past] = states
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:rows, :, self._first + past : self._first + total] = new
        return self._look(rows, total)

    def join(self, other: DynamicLayer, index: torch.Tensor) -> None:
        """Add rows: those of another layer at `index` [N], right-aligned to the columns here.

        The other layer has no more columns than this one, unless this one is empty.
        """
        new = (other.keys, other.values)
        width = new[0].shape[-2]
        if self._buffers is None:
            self.lazy_initialization(*new)
            self._buffers = (_roomy(new[0], len(index), width), _roomy(new[1], len(index), width))
            rows, length = 0, width
        else:
            rows, length = self.keys.shape[0], self.keys.shape[-2]
            if rows + len(index) > self._buffers[0].shape[0]:
                self._widen(rows + len(index))
        last = self._first + length
        for buffer, states in zip(self._buffers, new, strict=True):
            chosen = states[index.to(states.device)]
            buffer[rows : rows + len(index), :, last - width : last] = chosen
        self._look(rows + len(index), length)

    def _widen(self, rows: int) -> None:
        """Have room for so many rows."""
        old = (self.keys, self.values)
        held, length = old[0].shape[0], old[0].shape[-2]
        self._buffers = (_roomy(old[0], rows, length), _roomy(old[1], rows, length))
        self._first = 0
        for buffer, states in zip(self._buffers, old, strict=True):
            buffer[:held, :, :length] = states

    def keep_rows(self, gone: torch.Tensor, moved: torch.Tensor, rows: int) -> None:
        """Keep the first `rows` rows, after those at `moved` were put in the places `gone`."""
        for view in (self.keys, self.values):
            view[gone.to(view.device)] = view[moved.to(view.device)]
        self._look(rows, self.keys.shape[-2])

    def copy_row(self, source: int, to: torch.Tensor) -> None:
        """Let the rows `to` [N] hold what another one holds."""
        for view in (self.keys, self.values):
            view[to.to(view.device)] = view[source].clone()

    def take_columns(self, index_RT: torch.Tensor) -> None:
        """Keep of each row the columns at `index_RT` [R, T], in that order."""
        assert self._buffers is not None
        index = index_RT.to(self.keys.device)[:, None, :, None]
        taken = [
            view.gather(2, index.expand(-1, view.shape[1], -1, view.shape[3]))
            for view in (self.keys, self.values)
        ]
        self._first = 0
        rows, columns = index_RT.shape
        for buffer, states in zip(self._buffers, taken, strict=True):
            buffer[:rows, :, :columns] = states
        self._look(rows, columns)

    def crop(self, max_length: int) -> None:
        """Keep the first `max_length` columns; if it is negative, forget so many."""
        length = self.keys.shape[-2]
        kept = length + max_length if max_length < 0 else min(max_length, length)
        self._look(self.keys.shape[0], kept)

    def insert_columns(self, count: int) -> None:
        """Have more columns, before all others; nobody may look at them."""
        rows, length = self.keys.shape[0], self.keys.shape[-2]
        if self._first < count:
            old = (self.keys, self.values)
            assert self._buffers is not None
            held = self._buffers[0].shape[0]
            self._buffers = (
                _roomy(old[0], held, length + count),
                _roomy(old[1], held, length + count),
            )
            for buffer, states in zip(self._buffers, old, strict=True):
                buffer[:rows, :, count : count + length] = states
            self._first = count
        self._first -= count
        self._look(rows, length + count)

    def drop_columns(self, count: int) -> None:
        """Forget the first `count` columns, which no row looks at any more."""
        self._first += count
        self._look(self.keys.shape[0], self.keys.shape[-2] - count)

    def _look(self, rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Show so many rows and columns of the buffers."""
        assert self._buffers is not None
        columns = slice(self._first, self._first + length)
        self._views = (self._buffers[0][:rows, :, columns], self._buffers[1][:rows, :, columns])
        self.keys, self.values = self._views
        return self._views


def _roomy(like: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A buffer for states [B, H, T, D] with room for as many columns again.

    Of zeros: what is masked is still multiplied by 0, and 0 times NaN is NaN.
    """
    return like.new_zeros((rows, like.shape[1], max(64, 2 * columns), like.shape[-1]))


def growing_cache(model: PreTrainedModel) -> DynamicCache:
    """An empty cache for a model, its plain layers growing in place."""
    cache = DynamicCache(config=model.config)
    cache.layers = [
        GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def whole_cache(model: PreTrainedModel, kind: type[DynamicLayer] = GrowingLayer) -> DynamicCache:
    """An empty cache for a model whose layers, sliding ones too, all keep everything."""
    cache = DynamicCache(config=model.config)
    cache.layers = [kind() for _ in cache.layers]
    return cache
