"""What a proposer is: it sees prompts and writes more of their kind.

One short file per proposer. A proposal that failed is a `Failure`, never a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from valence.data import Failure


class Proposer(Protocol):
    """Writes prompts like those that it is shown."""

    def propose(self, exemplars: Sequence[str], count: int, seed: int) -> list[str | Failure]:
        """`count` new prompts, or why there is none; without exemplars any text will do."""
        ...


def failed(kind: str, message: str) -> Failure:
    """Why a proposer gave no prompt."""
    return Failure(stage="propose", kind=kind, message=message)
