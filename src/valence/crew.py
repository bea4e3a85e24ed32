"""The processes of one run, where `torchrun` or `accelerate launch` started several.

One of them leads: it alone writes the run directory. The others wait for it at every stage
and join it where all must work together, which is training.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

PATIENCE = timedelta(days=30)
"""How long the others wait while one annotates a corpus."""


class Crew:
    """This process among those of the run."""

    def __init__(self) -> None:
        self._waiting: Any = None
        if self.size() > 1:
            from accelerate import PartialState

            PartialState(cpu=not torch.accelerator.is_available())
            # A group of its own: training keeps the usual, short patience for lost devices.
            self._waiting = distributed.new_group(backend="gloo", timeout=PATIENCE)

    @staticmethod
    def size() -> int:
        """How many processes there are."""
        return int(os.environ.get("WORLD_SIZE", "1"))

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return int(os.environ.get("RANK", "0")) == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self._waiting is not None:
            distributed.barrier(group=self._waiting)
