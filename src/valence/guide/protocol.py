"""What a guide is: it changes the next token's scores, or has segments written anew.

Write one file, and one line in `guide/table.py`. A guide overrides what it needs.

Shapes: N rows, C contexts, K tries of L tokens, T tokens so far, V vocabulary, D hidden size.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import LogitsProcessor

from valence.control import ControlScheme
from valence.guide.band import BandProcessor
from valence.guide.rows import Row, Rows
from valence.model import Checkpoint

if TYPE_CHECKING:
    from valence.guide.ask import Ask, Written


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a guide works: the model, the mode that is kept, what it is asked."""

    checkpoint: Checkpoint
    known: ControlScheme | None
    """The scheme whose control tokens are in the vocabulary."""
    mode: str
    band: BandProcessor
    control_ids: tuple[int, ...]
    asks: Sequence[Ask]
    max_tokens: int
    """Text tokens of each at the most."""
    write: Callable[[Sequence[Ask], Sequence[Guide], int], list[Written]]
    """What the model writes in the mode under other guides, or none, in so many tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The rows that a token is picked for now, and what the model says."""

    rows: Sequence[Row]
    ids_NT: torch.Tensor
    """Tokens so far, EOS as padding."""
    contexts: Mapping[str, torch.Tensor]
    """Scores [N, V] in the contexts that guides asked for, by mode."""
    fork: Callable[[torch.Tensor], torch.Tensor]
    """Tries [N, K, L] of what could follow, to the last hidden states after them [N, K, D]."""


class Guide:
    """A guide that changes nothing."""

    contexts: tuple[str, ...] = ()
    """Modes in whose context each token is read too."""
    copies: int = 1
    """Rows that are written for each ask."""
    every: int = 0
    """Steps between two reviews of what was written; 0 for a guide that reviews nothing."""

    @property
    def looked(self) -> int:
        """Tokens that went through a model to look at segments, beside those of the rows."""
        return 0

    def fits(self, checkpoint: Checkpoint, known: ControlScheme | None, mode: str) -> bool:
        """Whether it can guide this model in this mode at all."""
        return True

    def begin(self, site: Site) -> None:
        """Get ready; raises `ControlError` for a model that it cannot guide."""

    def attached(self) -> contextlib.AbstractContextManager[None]:
        """The model changed for as long as it writes under this guide."""
        return contextlib.nullcontext()

    def scores(self, step: Step, scores_NV: torch.Tensor) -> torch.Tensor:
        """Scores of the next token [N, V], from those so far."""
        return scores_NV

    def passed(self, row: Row) -> int:
        """How many tokens of a row it will not take back."""
        return len(row.tokens)

    def review(self, rows: Rows) -> None:
        """Look at what was written; take rows back, hold them or let them go."""


class Processed(Guide):
    """Plain `LogitsProcessor`s of transformers as a guide."""

    def __init__(self, *processors: LogitsProcessor) -> None:
        self.processors = processors

    def scores(self, step: Step, scores_NV: torch.Tensor) -> torch.Tensor:
        """The scores through one processor after the other."""
        for processor in self.processors:
            scores_NV = processor(step.ids_NT, scores_NV)
        return scores_NV
