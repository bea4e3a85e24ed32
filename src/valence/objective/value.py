"""The value head: the reward that a model expects, read from its hidden state.

Source: Korbak et al. 2023 (arXiv 2302.08582), AWR, and its code, which reads a value between
-1 and 0 as -sigmoid(h·w), without a bias, from a weight of zeros.

Legend: D hidden size; `...` any leading dimensions.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from valence.objective.protocol import ValueHead
from valence.store import storage


class ValueModule(nn.Module):
    """The weight [D] of a value head. It starts at zero: -0.5 for a sigmoid, 0 if linear."""

    def __init__(self, head: ValueHead, size: int) -> None:
        super().__init__()
        self.head = head
        self.weight = nn.Parameter(torch.zeros(size))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Values [...] of hidden states [..., D], in the weight's type even under autocast."""
        states = hidden.detach() if self.head.detached else hidden
        with torch.autocast(hidden.device.type, enabled=False):
            values = states.to(self.weight.dtype) @ self.weight
        return -values.sigmoid() if self.head.kind == "sigmoid" else values

    def save(self, path: Path) -> None:
        """Write the weight as safetensors; the kind of head is in the file's metadata."""
        weight = self.weight.detach().contiguous().cpu()
        with storage(path):
            save_file({"weight": weight}, path, metadata={"kind": self.head.kind})
