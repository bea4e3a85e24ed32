"""Filtering: train on the good part of the text alone, repeated up to the budget.

Source: Korbak et al. 2023 (arXiv 2302.08582), section 2: documents whose mean reward is below
a threshold are left out. `by: segment` cuts bad segments out of their documents instead.

Legend: S segments, K things chosen between (documents or segments).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from valence.control import ControlScheme, Rewards
from valence.errors import BoundError, RecipeError
from valence.objective.mle import Mle
from valence.objective.protocol import Census, Flags, Floats, Objective
from valence.recipe.options import Finite

WHERE = "objective `filtering`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtering(Mle):
    """Text whose reward is at least `threshold`, or the best `share` of the tokens.

    Exactly one of the two is given. `by`: whether whole documents are kept, by their mean
    reward, or segments by their own. `tie`: which share of the text whose reward equals the
    threshold is kept; a share of tokens is settled to a threshold and a tie, because many
    texts have the same reward. What has no reward is never kept.
    """

    name = "filtering"

    by: Literal["document", "segment"] = "document"
    threshold: Finite | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    tie: Annotated[float, Field(ge=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        if (self.threshold is None) == (self.share is None):
            given = "neither" if self.threshold is None else "both"
            raise RecipeError(
                f"takes a threshold or a share, and {given} is given",
                where=WHERE,
                fix="For example {filtering: {share: 0.25}} or {filtering: {threshold: 0.0}}.",
            )

    @property
    def selects_documents(self) -> bool:
        """As `by` says."""
        return self.by == "document"

    def settle(self, scheme: ControlScheme, census: Census) -> Objective:
        """With a threshold and a tie instead of a share; raises `BoundError` if nothing is kept.

        The share is one of the text tokens that have a reward.
        """
        whole = self.selects_documents
        rewards = census.document_rewards if whole else census.rewards
        sizes = census.document_sizes if whole else census.sizes
        known = ~np.isnan(rewards) & (sizes > 0)
        rewards, sizes = rewards[known], sizes[known]
        settled = self if self.share is None else self._at_share(self.share, rewards, sizes)
        # A lot of 0: whatever can be kept.
        kept = settled.select(rewards, rewards, np.zeros(len(rewards)))
        if kept is None or not kept.any():
            best = f"the best is {rewards.max():g}" if len(rewards) else "there are no rewards"
            raise BoundError(
                f"keeps no {self.by} at the threshold {settled.threshold} ({best})",
                where=WHERE,
                fix="Lower the threshold, or give a share.",
            )
        return settled

    def _at_share(self, share: float, rewards: Rewards, sizes: npt.NDArray[np.int64]) -> Filtering:
        """The threshold that leaves `share` of the tokens above or, by its tie, at it."""
        if not len(rewards):
            raise BoundError(
                "there are no rewards to take a share of",
                where=WHERE,
                fix="Annotate the text first, and look at why scoring failed.",
            )
        values, group = np.unique(rewards, return_inverse=True)
        tokens = np.bincount(group, sizes)[::-1]  # From the best reward down.
        wanted, reached = share * tokens.sum(), tokens.cumsum()
        # A rounding error of the product must not reach for the next lower reward.
        at = min(int(np.searchsorted(reached, wanted * (1 - 1e-12))), len(values) - 1)
        tie = (wanted - (reached[at] - tokens[at])) / tokens[at]
        threshold = float(values[::-1][at])
        return replace(self, threshold=threshold, share=None, tie=float(np.clip(tie, 0.0, 1.0)))

    def select(self, rewards: Rewards, document_rewards: Rewards, lots: Floats) -> Flags | None:
        """Segments [S] above the threshold, and of those equal to it what `lots` leave."""
        if self.threshold is None:
            raise RecipeError(
                "a share is not settled", where=WHERE, fix="Call `settle` before training."
            )
        judged = document_rewards if self.selects_documents else rewards
        # Numbers are compared as float32, as rewards are kept, so that -0.1 equals -0.1.
        kept: Flags = (judged > self.threshold) | ((judged == self.threshold) & (lots < self.tie))
        return kept
