"""The rows of a batch while they are written: they join, take steps together, and leave.

Shapes: N rows, T columns of the cache, V tokens of the vocabulary. Rows end at the right:
a row of fewer tokens than there are columns has padding at its left, which nobody looks at.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache, LogitsProcessor, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from valence.errors import ModelError
from valence.guide.band import BandProcessor
from valence.guide.cache import growing_cache
from valence.guide.pick import Picker, Stream, arrivals

STRIDE = 8
"""On an accelerator, steps between two looks at what was written: a look waits for it."""


@dataclass(slots=True, kw_only=True)
class Row:
    """One text as it is written: the prompt with what is before it, and the tokens after it."""

    number: int
    prompt: tuple[int, ...]
    chances: Stream
    limit: int
    """Tokens at the most, control tokens among them."""
    tokens: list[int] = field(default_factory=list)
    text: int = 0
    """Text tokens among them."""
    ended: bool = False
    done: bool = False

    @property
    def length(self) -> int:
        """Tokens so far, with the prompt's."""
        return len(self.prompt) + len(self.tokens)


class Rows:
    """A batch of rows in different states, one forward pass per step for all of them.

    A model whose layers all keep plain keys and values takes rows of any length at any
    time, and rows that are done leave. Of another one (sliding windows, recurrent states,
    no position ids) the rows must be of one length, and stay until all are done.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processors: Sequence[LogitsProcessor],
        band: BandProcessor,
        picker: Picker,
        *,
        eos_id: int,
        control_ids: Sequence[int],
        max_text: int,
        context: int,
    ) -> None:
        """`max_text` text tokens are written at the most; `context` is the last position.

        Scores go through the `processors`, then the mode's own, `band`.
        """
        self.model, self.processors, self.band, self.picker = model, processors, band, picker
        self.eos_id, self.control_ids, self.max_text = eos_id, frozenset(control_ids), max_text
        self.context = context
        self.stride = 1 if model.device.type == "cpu" else STRIDE
        takes = inspect.signature(model.forward).parameters
        if "past_key_values" not in takes:
            raise ModelError(
                f"a {model.config.model_type} model keeps no key-value cache",
                fix="Use a causal language model whose forward takes past_key_values.",
            )
        self._takes_positions = "position_ids" in takes
        self._head: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        layers = DynamicCache(config=model.config).layers
        self.flexible = self._takes_positions and all(type(each) is DynamicLayer for each in layers)
        self._size: int = model.get_output_embeddings().weight.shape[0]
        self.rows: list[Row] = []
        self._cache: DynamicCache = growing_cache(model)
        self._ids_NT = torch.empty((0, 0), dtype=torch.long, device=model.device)

    def join(self, rows: Sequence[Row]) -> None:
        """Read the rows' prompts and write their first tokens.

        No prompt is longer than the longest row here. Rows of the same prompt share a pass.
        """
        prompts = [row.prompt for row in rows]
        if self.flexible:
            prompts = list(dict.fromkeys(prompts))
        place = {prompt: number for number, prompt in enumerate(prompts)}
        width = max(map(len, prompts))
        padded = [[*[self.eos_id] * (width - len(each)), *each] for each in prompts]
        ids_NT = torch.tensor(padded, device=self.model.device)
        cache = DynamicCache(config=self.model.config) if self.flexible else self._cache
        scores_NV = self._forward(
            ids_NT, self._padding([len(each) for each in prompts], width), width, cache
        )
        self._check(scores_NV, cache.get_seq_length(), width)
        if self.flexible:
            index_N = torch.tensor([place[row.prompt] for row in rows], device=ids_NT.device)
            ids_NT, scores_NV = ids_NT[index_N], scores_NV[index_N]
            for ours, theirs in zip(self._cache.layers, cache.layers, strict=True):
                ours.join(theirs, index_N)
        (chances_NV,) = self._chances(rows, 1)
        ids_NT = self._append(ids_NT, scores_NV, chances_NV)
        self._absorb(rows, ids_NT[:, -1:])
        if self.rows:
            missing = self._ids_NT.shape[1] - ids_NT.shape[1]
            ids_NT = torch.cat([self._ids_NT, pad(ids_NT, (missing, 0), value=self.eos_id)])
        self._ids_NT = ids_NT
        self.rows += rows

    def advance(self) -> None:
        """Write a token to every row, on an accelerator a stride of them."""
        columns = self._ids_NT.shape[1]
        padding_N1 = self._padding([row.length for row in self.rows], columns)
        for step, chances_NV in enumerate(self._chances(self.rows, self.stride)):
            ids_N1 = self._ids_NT[:, -1:]
            scores_NV = self._forward(ids_N1, padding_N1, columns + step, self._cache)
            self._ids_NT = self._append(self._ids_NT, scores_NV, chances_NV)
        self._absorb(self.rows, self._ids_NT[:, columns:])

    def leave(self) -> list[Row]:
        """The rows that are done leave the batch, or all of them together where they must."""
        done = [row for row in self.rows if row.done]
        kept = len(self.rows) - len(done)
        if not done or (kept and not self.flexible):
            return []
        if not kept:
            self.rows, self._cache = [], growing_cache(self.model)
            return done
        # The last rows take the places of those that leave, so that little is copied.
        gone = [place for place, row in enumerate(self.rows[:kept]) if row.done]
        moved = [kept + place for place, row in enumerate(self.rows[kept:]) if not row.done]
        for place, source in zip(gone, moved, strict=True):
            self.rows[place] = self.rows[source]
        del self.rows[kept:]
        to_N, from_N = torch.tensor([gone, moved], dtype=torch.long, device=self._ids_NT.device)
        self._ids_NT[to_N] = self._ids_NT[from_N]
        longest = max(row.length for row in self.rows)
        unseen = self._ids_NT.shape[1] - longest
        self._ids_NT = self._ids_NT[:kept, unseen:]
        for layer in self._cache.layers:
            layer.keep_rows(to_N, from_N, kept)
            layer.drop_columns(unseen)
        return done

    def _padding(self, lengths: Sequence[int], columns: int) -> torch.Tensor | None:
        """Columns before each row's own [N, 1]; None if there are none before any."""
        if not self.flexible or min(lengths) == columns:
            return None
        missing = [columns - length for length in lengths]
        return torch.tensor(missing, device=self.model.device)[:, None]

    def _forward(
        self,
        ids_NT: torch.Tensor,
        padding_N1: torch.Tensor | None,
        columns: int,
        cache: DynamicCache,
    ) -> torch.Tensor:
        """Scores of the next token [N, V] after the last ids; `columns` with those before."""
        rows, new = ids_NT.shape
        column_1T = torch.arange(columns, device=ids_NT.device)[None]
        mask_NT, position_NT = None, column_1T[:, columns - new :].expand(rows, -1)
        if padding_N1 is not None:
            mask_NT, position_NT = column_1T >= padding_N1, position_NT - padding_N1
        more = dict(self._head)
        if self._takes_positions:
            # A row that is done may have run past the end before anybody looked.
            more["position_ids"] = position_NT.clamp(0, self.context - 1)
        output = self.model(
            input_ids=ids_NT,
            attention_mask=mask_NT,
            past_key_values=cache,
            use_cache=True,
            **more,
        )
        scores_NV: torch.Tensor = output.logits[:, -1]
        return scores_NV

    def _append(
        self, ids_NT: torch.Tensor, scores_NV: torch.Tensor, chances_NV: torch.Tensor | None
    ) -> torch.Tensor:
        """The ids with the next token of each row."""
        for processor in (*self.processors, self.band):
            scores_NV = processor(ids_NT, scores_NV)
        free_N = self.band.choosing(ids_NT[:, -1])
        picked_N = self.picker.pick(scores_NV, chances_NV, free_N)
        return torch.cat([ids_NT, picked_N[:, None]], dim=1)

    def _chances(self, rows: Sequence[Row], steps: int) -> Sequence[torch.Tensor | None]:
        """The rows' chances [N, V] of each step."""
        if not self.picker.random:
            return [None] * steps
        return arrivals([row.chances for row in rows], steps, self._size).unbind(dim=1)

    def _absorb(self, rows: Sequence[Row], tokens_NS: torch.Tensor) -> None:
        """Note what was written, up to where each row is done."""
        for row, tokens in zip(rows, tokens_NS.tolist(), strict=True):
            for token in tokens:
                if row.done:
                    break
                row.ended = token == self.eos_id
                if not row.ended:
                    row.tokens.append(token)
                    row.text += token not in self.control_ids
                full = row.text >= self.max_text or len(row.tokens) >= row.limit
                row.done = row.ended or full

    def _check(self, scores_NV: torch.Tensor, held: int, width: int) -> None:
        kind = self.model.config.model_type
        if held != width:
            raise ModelError(
                f"the {kind} model keeps {held} of {width} tokens in its key-value cache",
                fix="Use a causal language model that supports use_cache.",
            )
        if scores_NV.isnan().any():
            raise ModelError(
                f"the {kind} model's scores are not numbers",
                fix="Its weights are damaged, or its training diverged: look at its loss.",
            )
