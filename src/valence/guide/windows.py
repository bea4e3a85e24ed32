"""Sliding windows: what each layer sees of a row, told to the model as masks that are made here.

transformers' own sliding layers forget what has left the window, and its masks count columns.
Here every layer keeps all, and a window counts what its row sees, so that a text can be taken
back however its tokens lie in the cache.

Shapes: P rows, T columns, Q queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from valence.guide.cache import whole_cache

FULL, SLIDING = "full_attention", "sliding_attention"
BIASED = ("eager", "sdpa")
"""Kinds of attention that add a mask to their scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Sliding layers see the last `width` tokens of a row, the newest with them.

    `kinds` are the layers' names by which the model looks up masks; without them one mask is for
    all, and if there is a width all slide. Without a width none does.
    """

    dtype: torch.dtype
    width: int | None = None
    kinds: tuple[str, ...] = ()

    def told(self, seen_PT: torch.Tensor | None, ids_PQ: torch.Tensor, past: int) -> Any:
        """What the model is told, who reads `ids_PQ` after `past` columns.

        `seen_PT` says which columns, new ones too, each row sees; None is all. As long as no
        window has an effect the model is told just that.
        """
        new = ids_PQ.shape[1]
        columns = past + new
        if self.width is None or columns <= self.width:
            return seen_PT
        every = seen_PT is None
        if seen_PT is None:
            seen_PT = torch.ones(1, columns, dtype=torch.bool, device=ids_PQ.device)
        ones_QT = torch.ones(new, columns, dtype=torch.bool, device=ids_PQ.device)
        seen_PQT = seen_PT[:, None] & ones_QT.tril(past)
        # A query that sees nothing would divide by 0 where the lowest number becomes -inf.
        seen_PQT.diagonal(past, dim1=1, dim2=2).fill_(True)
        position_PQ = seen_PT.cumsum(dim=1)[:, past:] - 1
        masks = self.masks(seen_PQT, position_PQ, seen_PT[:, :past])
        if every and new == 1 and isinstance(masks, dict) and FULL in masks:
            masks[FULL] = None
        return masks

    def masks(
        self, seen_PQT: torch.Tensor, position_PQ: torch.Tensor, past_PT: torch.Tensor
    ) -> Any:
        """What is added to the scores of attention, for each kind of layer [P, 1, Q, T].

        `seen_PQT` are the columns that a query sees where nothing slides. The last are the
        queries' own, at `position_PQ` of the row's text; of those before the row sees `past_PT`.
        """
        near_PQT = seen_PQT
        if self.width is not None:
            key_PT = torch.cat([past_PT.cumsum(dim=1) - 1, position_PQ], dim=1)
            near_PQT = seen_PQT & (position_PQ[:, :, None] - key_PT[:, None] < self.width)
        if not self.kinds:
            return _bias(near_PQT, self.dtype)
        chosen = {FULL: seen_PQT, SLIDING: near_PQT}
        return {kind: _bias(chosen[kind], self.dtype) for kind in self.kinds}


def _bias(seen_PQT: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    bias_PQT = torch.zeros(seen_PQT.shape, dtype=dtype, device=seen_PQT.device)
    return bias_PQT.masked_fill_(~seen_PQT, torch.finfo(dtype).min)[:, None]


def windows_of(model: PreTrainedModel) -> Windows | None:
    """The windows of a model in which each layer slides or sees everything.

    None where it has layers of yet another kind (recurrent, chunked), or windows of several
    widths, or where its layers do not get the masks that its forward is given. A pass or two
    over a token or two find that out, of models with windows alone.
    """
    layers = DynamicCache(config=model.config).layers
    if all(type(layer) is DynamicLayer for layer in layers):
        return None if _has_own(model) else Windows(dtype=model.dtype)
    if {type(layer) for layer in layers} - {DynamicLayer, DynamicSlidingWindowLayer}:
        return None
    config = model.config.get_text_config(decoder=True)
    slides = [type(layer) is DynamicSlidingWindowLayer for layer in layers]
    width, *others = {each.sliding_window for each in layers if hasattr(each, "sliding_window")}
    # transformers keeps chunks in layers that slide; the names tell, or the width's own name.
    expected = [SLIDING if each else FULL for each in slides]
    names = getattr(config, "layer_types", None)
    alike = names is None or list(names) == expected
    if others or not alike or width != getattr(config, "sliding_window", None):
        return None
    if model.config._attn_implementation not in BIASED:
        return None
    forms = [] if names is None else [tuple(sorted(set(names)))]
    for kinds in [*forms, ()] if all(slides) else forms:
        found = Windows(dtype=model.dtype, width=width, kinds=kinds)
        if _taken(model, found, expected) and _meant(model, width, slides):
            return found
    return None


def _has_own(model: PreTrainedModel) -> bool:
    """Whether some layer keeps a mask with a window, which counts columns (GPT-Neo)."""
    return any(
        mask.ndim == 4 and mask.dtype == torch.bool and not mask[..., -1:, :1].all()
        for mask in model.buffers()
    )


def _taken(model: PreTrainedModel, windows: Windows, expected: Sequence[str]) -> bool:
    """Whether each layer's attention gets its own mask, and no other, of those that are given.

    A pass over two tokens, with windows of one.
    """
    ids_PQ = torch.tensor([[0, 1], [1, 0]], device=model.device)
    given = replace(windows, width=1).told(None, ids_PQ, 0)
    by_kind = given if isinstance(given, dict) else {SLIDING: given}
    got: list[set[str]] = [set() for _ in expected]

    def look(layer: int, taken: Sequence[Any]) -> None:
        got[layer] |= {kind for kind, mask in by_kind.items() if any(x is mask for x in taken)}

    done = _passed(model, ids_PQ, given, whole_cache(model), look)
    return done and got == [{kind} for kind in expected]


def _meant(model: PreTrainedModel, width: int, slides: Sequence[bool]) -> bool:
    """Whether the model's own masks hide from its sliding layers what ours hide, and no more.

    A pass over the first token that no longer sees the first column. Some configurations have
    a window that nobody looks at.
    """
    cache = whole_cache(model)
    cache.layers = [_Blank(width) for _ in cache.layers]
    hidden: list[set[int]] = [set() for _ in slides]

    def look(layer: int, taken: Sequence[Any]) -> None:
        for mask in taken:
            if isinstance(mask, torch.Tensor) and mask.ndim == 4 and mask.shape[-1] == width + 1:
                seen_T = (mask if mask.dtype == torch.bool else mask == 0)[0, 0, -1]
                hidden[layer] |= set((~seen_T).nonzero()[:, 0].tolist())

    done = _passed(
        model, torch.zeros(1, 1, dtype=torch.long, device=model.device), None, cache, look
    )
    return done and hidden == [{0} if each else set() for each in slides]


class _Blank(DynamicLayer):
    """Columns of zeros, as though so many tokens had been read before."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    def get_seq_length(self) -> int:
        return self.columns

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        before = (0, 0, self.columns, 0)
        return pad(key_states, before), pad(value_states, before)


@torch.no_grad()
def _passed(
    model: PreTrainedModel,
    ids_PQ: torch.Tensor,
    masks: Any,
    cache: DynamicCache,
    look: Callable[[int, Sequence[Any]], None],
) -> bool:
    """Whether the model reads some ids under masks; `look` sees what each layer is given."""

    def note(module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        look(module.layer_idx, [*inputs, *named.values()])

    handles = [
        module.register_forward_pre_hook(note, with_kwargs=True)
        for module in model.modules()
        if isinstance(getattr(module, "layer_idx", None), int)
    ]
    training = model.training
    if training:
        model.eval()
    try:
        model(
            input_ids=ids_PQ,
            attention_mask=masks,
            position_ids=torch.arange(ids_PQ.shape[1], device=model.device).expand_as(ids_PQ),
            past_key_values=cache,
            use_cache=True,
        )
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        # Whoever does not know such masks trips over them, each in a way of its own.
        return False
    finally:
        for handle in handles:
            handle.remove()
        if training:
            model.train()
    return True
