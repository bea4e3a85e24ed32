"""What a model has read: rows of keys and values in different states, and looks beside them.

A row sees some of the columns, its own tokens in order; in the others is what it took back, what
it did not write while it waited, or nothing. Positions count what a row sees.

Shapes: P rows, T columns, L tokens that are read together, K forks of a row, D hidden size.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from valence.errors import ModelError
from valence.guide.cache import GrowingLayer, growing_cache, whole_cache
from valence.guide.windows import Windows, windows_of
from valence.model import backbone

LOOSE = 1.5
"""Columns by those that the longest row sees from which on the cache is packed together."""


class Lattice:
    """The cache of a batch of rows, and which of its columns each of them sees.

    A model whose layers all can keep plain keys and values is `flexible`: its rows come and go,
    take steps back and look beside. Of another one (recurrent states, chunked attention, no
    position ids) rows must be of one length, and see every column.
    """

    def __init__(self, model: PreTrainedModel, *, context: int, eos_id: int) -> None:
        """`context` is how many tokens the model can hold.

        Raises `ModelError` for a model without a key-value cache.
        """
        self.model, self.context, self.eos_id = model, context, eos_id
        takes = inspect.signature(model.forward).parameters
        if "past_key_values" not in takes:
            raise ModelError(
                f"a {model.config.model_type} model keeps no key-value cache",
                fix="Use a causal language model whose forward takes past_key_values.",
            )
        self._takes_positions = "position_ids" in takes
        self._shortens = "logits_to_keep" in takes
        windows = windows_of(model) if self._takes_positions else None
        self.flexible = windows is not None
        self._windows = windows or Windows(dtype=model.dtype)
        self.empty()

    def empty(self) -> None:
        """Forget everything."""
        self.cache = (whole_cache if self.flexible else growing_cache)(self.model)
        self._seen_PT: torch.Tensor | None = None
        """Which columns each row sees; None while all see all."""
        self._length_P = torch.zeros(0, dtype=torch.long, device=self.model.device)
        self.ids_PT = torch.zeros((0, 0), dtype=torch.long, device=self.model.device)
        """The tokens of each column; EOS, as padding, where a row does not see it."""

    @property
    def columns(self) -> int:
        """Columns of the cache."""
        length: int = self.cache.get_seq_length()
        return length

    def begin(
        self, ids_PL: torch.Tensor, lengths: list[int], index_N: torch.Tensor
    ) -> torch.Tensor:
        """Read prompts of `lengths` tokens, which end at the right, and add rows [N] of them.

        `index_N` names each new row's prompt: rows of the same prompt share a pass. Gives the
        scores [P, V] after the prompts. Raises `ModelError` where the model does not keep what
        it read.
        """
        rows, width = ids_PL.shape
        device = ids_PL.device
        missing_P = width - torch.tensor(lengths, device=device)
        padded = min(lengths) < width
        seen_PL = torch.arange(width, device=device)[None] >= missing_P[:, None]
        position_PL = (torch.arange(width, device=device)[None] - missing_P[:, None]).clamp(min=0)
        cache = whole_cache(self.model, DynamicLayer) if self.flexible else self.cache
        scores_PV = self._scores(ids_PL, seen_PL if padded else None, position_PL, cache)
        self._check(scores_PV, cache.get_seq_length(), width)
        before = len(self._length_P)
        if not self.flexible:
            self._length_P = torch.full((rows,), width, device=device)
            self.ids_PT = ids_PL
            return scores_PV
        if before and self.columns < width:
            self._insert(before, width - self.columns)
        had = self.columns
        for ours, theirs in zip(self.cache.layers, cache.layers, strict=True):
            cast(GrowingLayer, ours).join(theirs, index_N)
        missing = self.columns - width
        if padded or missing or self._seen_PT is not None:
            old_PT = self._seen(before, had) if before else seen_PL[:0]
            seen_NT = pad(seen_PL[index_N], (missing, 0), value=False)
            self._seen_PT = torch.cat([old_PT, seen_NT])
        self._length_P = torch.cat([self._length_P, width - missing_P[index_N]])
        new_NT = pad(ids_PL[index_N], (missing, 0), value=self.eos_id)
        self.ids_PT = torch.cat([self.ids_PT, new_NT]) if before else new_NT
        return scores_PV[index_N]

    def read(self, ids_P: torch.Tensor, active_P: torch.Tensor | None = None) -> torch.Tensor:
        """Read a token of each row; scores of the next [P, V].

        Rows that are not `active_P` do not see what they read.
        """
        if active_P is not None or self._seen_PT is not None:
            new_P = torch.ones_like(ids_P, dtype=torch.bool) if active_P is None else active_P
            old_PT = self._seen(len(ids_P), self.columns)
            self._seen_PT = torch.cat([old_PT, new_P[:, None]], dim=1)
        scores_PV = self._scores(ids_P[:, None], self._seen_PT, self._length_P[:, None], self.cache)
        self._length_P = self._length_P + (1 if active_P is None else active_P.long())
        known_P = ids_P if active_P is None else ids_P.where(active_P, self.eos_id)
        self.ids_PT = torch.cat([self.ids_PT, known_P[:, None]], dim=1)
        return scores_PV

    def feed(self, ids_PL: torch.Tensor, active_PL: torch.Tensor) -> None:
        """Read tokens of each row, those that are active; what is not, its row does not see."""
        rows, held = ids_PL.shape[0], self.columns
        seen_PT = torch.cat([self._seen(rows, held), active_PL], dim=1)
        position_PL = self._length_P[:, None] + active_PL.long().cumsum(dim=1) - 1
        backbone(self.model)(
            input_ids=ids_PL,
            attention_mask=self._windows.told(seen_PT, ids_PL, held),
            position_ids=position_PL.clamp(0, self.context - 1),
            past_key_values=self.cache,
            use_cache=True,
        )
        self._seen_PT = seen_PT
        self._length_P = self._length_P + active_PL.sum(dim=1)
        known_PL = ids_PL.where(active_PL, self.eos_id)
        self.ids_PT = torch.cat([self.ids_PT, known_PL], dim=1)

    def fork(self, ids_PKL: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """The last hidden states [P, K, D] after K tries of L more tokens, which are forgotten.

        Each try sees its row's text and itself alone. With `lengths` [P, K] a try comes after only
        so many of the row's tokens.
        """
        rows, tries, new = ids_PKL.shape
        device, held = ids_PKL.device, self.columns
        past_PT = self._seen(rows, held)
        past_PKT, length_PK = past_PT[:, None], self._length_P[:, None]
        if lengths is not None:
            past_PKT = past_PKT & (past_PT.cumsum(dim=1)[:, None] <= lengths[:, :, None])
            length_PK = lengths
        own = torch.ones(new, new, dtype=torch.bool, device=device).tril()
        own_QQ = torch.eye(tries, dtype=torch.bool, device=device).repeat_interleave(new, dim=0)
        own_QQ = own_QQ.repeat_interleave(new, dim=1) & own.repeat(tries, tries)
        queries = tries * new
        seen_PQT = torch.cat(
            [
                past_PKT.expand(-1, tries, -1).repeat_interleave(new, dim=1),
                own_QQ[None].expand(rows, -1, -1),
            ],
            dim=-1,
        )
        step_Q = torch.arange(new, device=device).repeat(tries)
        length_PQ = length_PK.expand(-1, tries).repeat_interleave(new, dim=1)
        position_PQ = length_PQ + step_Q[None]
        output = backbone(self.model)(
            input_ids=ids_PKL.reshape(rows, queries),
            attention_mask=self._windows.masks(seen_PQT, position_PQ, past_PT),
            position_ids=position_PQ.clamp(0, self.context - 1),
            past_key_values=self.cache,
            use_cache=True,
        )
        self.cache.crop(held)
        states_PKLD = output.last_hidden_state.view(rows, tries, new, -1)
        states_PKD: torch.Tensor = states_PKLD[:, :, -1]
        return states_PKD

    def keep(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Rows take back all but their first `lengths` tokens."""
        device = self.model.device
        row_R, length_R = torch.tensor([list(rows), list(lengths)], device=device)
        self._seen_PT = self._seen(len(self._length_P), self.columns)
        seen_RT = self._seen_PT[row_R]
        seen_RT &= seen_RT.cumsum(dim=1) <= length_R[:, None]
        self._seen_PT[row_R] = seen_RT
        self.ids_PT[row_R] = self.ids_PT[row_R].where(seen_RT, self.eos_id)
        self._length_P[row_R] = length_R

    def copy(self, source: int, to: list[int]) -> None:
        """Some rows become what another one is."""
        index = torch.tensor(to, device=self.model.device)
        for layer in self.cache.layers:
            cast(GrowingLayer, layer).copy_row(source, index)
        self._length_P = self._length_P.clone()
        self._length_P[index] = self._length_P[source].clone()
        if self._seen_PT is not None:
            self._seen_PT = self._seen_PT.clone()
            self._seen_PT[index] = self._seen_PT[source].clone()
        self.ids_PT = self.ids_PT.clone()
        self.ids_PT[index] = self.ids_PT[source].clone()

    def leave(self, to_N: torch.Tensor, from_N: torch.Tensor, rows: int) -> None:
        """Keep the first `rows` rows, after those at `from_N` were put in the places `to_N`."""
        for layer in self.cache.layers:
            cast(GrowingLayer, layer).keep_rows(to_N, from_N, rows)
        self._length_P[to_N] = self._length_P[from_N]
        self._length_P = self._length_P[:rows]
        self.ids_PT[to_N] = self.ids_PT[from_N]
        self.ids_PT = self.ids_PT[:rows]
        if self._seen_PT is not None:
            self._seen_PT[to_N] = self._seen_PT[from_N]
            self._seen_PT = self._seen_PT[:rows]

    def tidy(self, longest: int) -> None:
        """Forget columns that no row sees: those before all and after all, or every one."""
        if self._seen_PT is None:
            return
        used = self._seen_PT.any(dim=0).nonzero()[:, 0]
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
        if last < self.columns:
            self.cache.crop(last)
        if first:
            for layer in self.cache.layers:
                cast(GrowingLayer, layer).drop_columns(first)
        self._seen_PT, self.ids_PT = self._seen_PT[:, first:last], self.ids_PT[:, first:last]
        if self.columns > LOOSE * longest:
            self._pack()
        if bool(self._seen_PT.all()):
            self._seen_PT = None

    def _pack(self) -> None:
        """Put what each row sees to the right, so that there are no gaps."""
        assert self._seen_PT is not None
        # Stable, so that tokens stay in order; what is not seen comes first.
        order_PT = self._seen_PT.long().argsort(dim=1, stable=True)
        width = int(self._length_P.max())
        index_PT = order_PT[:, -width:]
        for layer in self.cache.layers:
            cast(GrowingLayer, layer).take_columns(index_PT)
        self._seen_PT = self._seen_PT.gather(1, index_PT)
        self.ids_PT = self.ids_PT.gather(1, index_PT)

    def _insert(self, rows: int, count: int) -> None:
        """Have more columns before all others, that no row sees."""
        seen_PT = self._seen(rows, self.columns)
        for layer in self.cache.layers:
            cast(GrowingLayer, layer).insert_columns(count)
        self._seen_PT = pad(seen_PT, (count, 0), value=False)
        self.ids_PT = pad(self.ids_PT, (count, 0), value=self.eos_id)

    def _seen(self, rows: int, columns: int) -> torch.Tensor:
        if self._seen_PT is not None:
            return self._seen_PT
        return torch.ones((rows, columns), dtype=torch.bool, device=self.model.device)

    def _scores(
        self,
        ids_PL: torch.Tensor,
        seen_PT: torch.Tensor | None,
        position_PL: torch.Tensor,
        cache: DynamicCache,
    ) -> torch.Tensor:
        """Scores of the next token [P, V] after the last ids."""
        more: dict[str, Any] = {"logits_to_keep": 1} if self._shortens else {}
        if self._takes_positions:
            # A row that is done may have run past the end before anybody looked.
            more["position_ids"] = position_PL.clamp(0, self.context - 1)
        output = self.model(
            input_ids=ids_PL,
            attention_mask=self._windows.told(seen_PT, ids_PL, cache.get_seq_length()),
            past_key_values=cache,
            use_cache=True,
            **more,
        )
        scores_PV: torch.Tensor = output.logits[:, -1]
        return scores_PV

    def _check(self, scores_PV: torch.Tensor, held: int, width: int) -> None:
        kind = self.model.config.model_type
        if held != width:
            raise ModelError(
                f"the {kind} model keeps {held} of {width} tokens in its key-value cache",
                fix="Use a causal language model that supports use_cache.",
            )
        if scores_PV.isnan().any():
            raise ModelError(
                f"the {kind} model's scores are not numbers",
                fix="Its weights are damaged, or its training diverged: look at its loss.",
            )
