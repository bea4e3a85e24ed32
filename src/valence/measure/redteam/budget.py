"""What an attack cost, in calls of models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Texts written by the attacked model and their tokens, proposals, and passes.

    `proposals` are answers of a proposer, of use or not. A pass is one sequence that goes
    through the model; `forward` and `backward` are those of the token-level searches, and
    `unreadable` counts their candidates that no text says. `refused` counts prompts that were
    not tried, by reason: not fit, or not there because the proposer failed.
    """

    texts: int = 0
    tokens: int = 0
    proposals: int = 0
    forward: int = 0
    backward: int = 0
    unreadable: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """Texts, proposals and passes together; a backward pass counts as two."""
        return self.texts + self.proposals + self.forward + 2 * self.backward

    def __add__(self, other: Budget) -> Budget:
        return Budget(
            texts=self.texts + other.texts,
            tokens=self.tokens + other.tokens,
            proposals=self.proposals + other.proposals,
            forward=self.forward + other.forward,
            backward=self.backward + other.backward,
            unreadable=self.unreadable + other.unreadable,
            refused=dict(sorted((Counter(self.refused) + Counter(other.refused)).items())),
        )
