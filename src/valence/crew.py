"""The processes of one run, where `torchrun` or `accelerate launch` started several.

One of them leads: it alone writes the run directory and speaks. The others wait for it at
every stage and join it where all must work together, which is training.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from valence.errors import ValenceError

PATIENCE = timedelta(days=30)
"""How long the others wait while one annotates a corpus."""


class ProcessLost(ValenceError, ConnectionError):
    """Another process of the run has ended, so that this one cannot go on."""

    exit_code = 1


class Crew:
    """This process among those of the run; `alone`: it does not wait for the others."""

    def __init__(self, *, alone: bool = False) -> None:
        self._waiting: Any = None
        if self.size() > 1 and not alone:
            import torch
            from accelerate import PartialState

            with together():
                PartialState(cpu=not torch.accelerator.is_available())
                # A group of its own: training keeps the usual, short patience for lost devices.
                self._waiting = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)

    @staticmethod
    def size() -> int:
        """How many processes there are."""
        return int(os.environ.get("WORLD_SIZE", "1"))

    @staticmethod
    def rank() -> int:
        """The number of this process; the one that leads has 0."""
        return int(os.environ.get("RANK", "0")) if Crew.size() > 1 else 0

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank() == 0

    def wait(self) -> None:
        """Until all processes are here; raises `ProcessLost` if one of them has ended."""
        self.agree(True)

    def agree(self, said: bool) -> bool:
        """What the process that leads says, on all of them; `said` of the others is ignored.

        Raises `ProcessLost` if one of them has ended.
        """
        if self._waiting is None:
            return said
        from torch import distributed, tensor

        with together():
            word = tensor([int(said)])
            distributed.broadcast(word, src=0, group=self._waiting)
            distributed.barrier(group=self._waiting)
        return bool(word.item())


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Work of all processes: raises `ProcessLost` where the connection to another breaks."""
    try:
        yield
    except RuntimeError as error:
        if Crew.size() == 1 or not _is_lost_connection(error):
            raise
        raise ProcessLost(
            "another process of this run has ended",
            where=f"process {Crew.rank()}",
            fix="What it said is the cause; the same command continues what is finished.",
        ) from None


def _is_lost_connection(error: RuntimeError) -> bool:
    from torch.distributed import DistError

    # Gloo has no error class of its own, but its messages name its source files.
    return isinstance(error, DistError) or "gloo" in str(error)
