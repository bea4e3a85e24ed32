"""Read-outs of the state after EOS: how good what was said is, beside the model's own token.

The linear one is there for comparison: meanings are not a linear subspace, so it should be
worse (Soatto et al. 2023, arXiv 2305.18449). Whether it is, is measured.

Legend: N states, D hidden size, C bands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from valence.errors import ModelError
from valence.store import storage

Kind = Literal["linear", "mlp"]

READOUT = "readout.safetensors"
"""Its file beside a model."""
WIDTH = 128
"""Hidden units of the non-linear read-out."""

TINY = 1e-6
"""Added to the deviation of a direction, which may be 0."""


class Readout(nn.Module):
    """States after EOS [N, D] to one logit per band [N, C].

    `mean` and `deviation` standardise the states first, where there are any.
    """

    mean: torch.Tensor | None
    deviation: torch.Tensor | None

    def __init__(self, kind: Kind, size: int, bands: int) -> None:
        super().__init__()
        self.kind = kind
        self.layers = (
            nn.Linear(size, bands)
            if kind == "linear"
            else nn.Sequential(
                nn.LayerNorm(size), nn.Linear(size, WIDTH), nn.GELU(), nn.Linear(WIDTH, bands)
            )
        )
        self.register_buffer("mean", None)
        self.register_buffer("deviation", None)

    def forward(self, states_ND: torch.Tensor) -> torch.Tensor:
        """Logits [N, C], worst band first."""
        if self.mean is not None and self.deviation is not None:
            states_ND = (states_ND - self.mean) / self.deviation
        return cast(torch.Tensor, self.layers(states_ND))

    def standardise(self, states_ND: torch.Tensor) -> None:
        """From now on, shift and scale states so that these have mean 0 and deviation 1."""
        self.mean = states_ND.mean(0)
        self.deviation = states_ND.std(0, correction=0) + TINY

    def save(self, path: Path) -> None:
        """Write the read-out as safetensors."""
        with storage(path):
            save_file(self.state_dict(), path, metadata={"kind": self.kind})


def load_readout(path: Path) -> Readout:
    """The read-out that `Readout.save` wrote; raises `ModelError` for anything else."""
    try:
        state = load_file(path)
        last = "layers.weight" if "layers.weight" in state else "layers.3.weight"
        kind: Kind = "linear" if last == "layers.weight" else "mlp"
        size = state[last if kind == "linear" else "layers.1.weight"].shape[1]
        made = Readout(kind, size, state[last].shape[0])
        for name in ("mean", "deviation"):
            if name in state:
                setattr(made, name, torch.empty(size))
        made.load_state_dict(state)
    except Exception as error:  # safetensors and torch raise whatever they like.
        raise ModelError(
            f"not a read-out ({type(error).__name__}: {error})",
            where=str(path),
            fix="Copy the checkpoint anew, or train it again.",
        ) from None
    return made.eval()
