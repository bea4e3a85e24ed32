"""Steering: a direction added to the states of a layer while the model writes.

Shapes: B rows, T tokens, D hidden size.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from valence.control import ControlScheme
from valence.errors import ControlError, ModelError
from valence.guide.ask import Ask
from valence.guide.protocol import Guide, Site
from valence.model import Checkpoint, start_ids, text_ids

Source = Literal["token", "contexts"]

OWN_TEXTS = 32
"""Texts of the model's own from which mean states are taken."""


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The layers of a model, in order; raises `ModelError` where there is no such list."""
    count = int(model.config.get_text_config().num_hidden_layers)
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ModelError(
        f"no list of {count} layers was found in the {model.config.model_type} model",
        where="steer",
        fix="Use another guide.",
    )


@contextlib.contextmanager
def steering(
    model: PreTrainedModel, direction_D: torch.Tensor, *, layer: int, strength: float
) -> Iterator[None]:
    """Add `strength` times a direction [D] to what a layer gives, at every position.

    A direction of length 1 is scaled by the layer's usual size in `Steer`; here it is taken as
    it is. Works with anybody's `generate()` too. Raises `ControlError` for a layer that there
    is not.
    """
    layers = layers_of(model)
    if not -len(layers) <= layer < len(layers):
        raise ControlError(
            f"there is no layer {layer}",
            where="steer",
            fix=f"The model has {len(layers)}, the first is 0; negative ones count from the end.",
        )
    shift_D = strength * direction_D

    def add(module: nn.Module, inputs: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        moved = states + shift_D.to(states)
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    handle = layers[layer].register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def token_direction(checkpoint: Checkpoint, scheme: ControlScheme) -> torch.Tensor:
    """From the worst band's token to the best one's, in the embeddings [D]: as dumb as that."""
    ids = scheme.token_ids(checkpoint.tokenizer)
    weight = checkpoint.model.get_input_embeddings().weight
    found: torch.Tensor = weight[ids[scheme.best]] - weight[ids[0]]
    return found.detach().float()


@torch.inference_mode()
def context_direction(
    checkpoint: Checkpoint,
    scheme: ControlScheme,
    texts: Sequence[Sequence[int]],
    layer: int,
) -> torch.Tensor:
    """Mean state at a layer in the good context less that in the bad one [D], over texts' tokens.

    Source: difference of means, as in Marks and Tegmark 2023 (arXiv 2310.06824).
    """
    model, ids = checkpoint.model, scheme.token_ids(checkpoint.tokenizer)
    head = start_ids(checkpoint.tokenizer)
    means = []
    for token in (ids[scheme.best], ids[0]):
        seen: list[torch.Tensor] = []
        with _watching(model, layer, seen):
            for text in texts:
                read = torch.tensor([[*head, token, *text]], device=model.device)
                model(input_ids=read, use_cache=False)
        means.append(torch.cat([states[0, len(head) + 1 :].float() for states in seen]).mean(0))
    return means[0] - means[1]


@contextlib.contextmanager
def _watching(model: PreTrainedModel, layer: int, seen: list[torch.Tensor]) -> Iterator[None]:
    """Keep what a layer gives."""

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    handle = layers_of(model)[layer].register_forward_hook(note)
    try:
        yield
    finally:
        handle.remove()


class Steer(Guide):
    """Move the states of a `layer` towards good by `strength`; below 0 towards bad.

    The direction is from the bad token's embedding to the good one's (`token`), or between the
    mean states of the mode's contexts (`contexts`), over texts that the model itself writes in
    its good mode. Strength counts in lengths of that difference.
    """

    def __init__(self, strength: float = 1.0, *, layer: int = 0, source: Source = "token") -> None:
        if not math.isfinite(strength):
            raise ControlError(
                f"strength is {strength}", where="steer", fix="Give a finite number."
            )
        self.strength, self.layer, self.source = strength, layer, source

    def fits(self, checkpoint: Checkpoint, known: ControlScheme | None, mode: str) -> bool:
        """Whether the model was trained with control tokens."""
        return known is not None and checkpoint.scheme is not None

    def begin(self, site: Site) -> None:
        """Raises `ControlError` for a model without control tokens."""
        if site.known is None or site.checkpoint.scheme is None:
            raise ControlError(
                "the model has no control tokens, so there is no direction from bad to good",
                where="steer",
                fix="Use a model trained with control tokens.",
            )

        if self.source == "token":
            self._direction_D = token_direction(site.checkpoint, site.known)
        else:
            self._direction_D = context_direction(
                site.checkpoint, site.known, _own_texts(site), self.layer
            )
        self._model = site.checkpoint.model

    def attached(self) -> contextlib.AbstractContextManager[None]:
        """The model with its states moved."""
        return steering(self._model, self._direction_D, layer=self.layer, strength=self.strength)


def _own_texts(site: Site) -> list[tuple[int, ...]]:
    """What the model writes in its mode, a few texts by seeds of their own."""
    asks = [Ask(ids=(), seed=(5, 7, place)) for place in range(OWN_TEXTS)]
    return [
        tuple(text_ids(site.checkpoint.tokenizer, each.text))
        for each in site.write(asks, (), 64)
        if each.text
    ]
