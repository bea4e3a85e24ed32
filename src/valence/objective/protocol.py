"""What an objective is: what it selects, which labels it renders, and its loss. One file each.

An objective sees the rewards of segments and says which segments are trained on; it sees the
bands of labelled units (segments, or documents), flat and in order, and says which token to
put before each (`NO_BAND`: none); and it says how much each predicted token counts. Placement,
dropout and cool-down are the control scheme's and come after. All models of a run see the same
text tokens, so that only this differs.

Legend: N predicted tokens, S segments, U labelled units, D documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from valence.control import Bands, ControlScheme, Rewards

IGNORED = -100
"""Target of a position at which nothing is predicted."""

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each predicted token counts: the loss is a sum over tokens of
    like · (-log p) + unlike · (-log(1 - p)). `unlike_N` is None where it is 0 everywhere.
    """

    like_N: torch.Tensor
    unlike_N: torch.Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueHead:
    """What a value head is: -sigmoid(h·w), a reward between -1 and 0, or h·w.

    `detached`: the value loss does not reach the model below the head.
    """

    kind: Literal["sigmoid", "linear"] = "sigmoid"
    detached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """The rewards of all training text, for settings that depend on it.

    `rewards` and `sizes` (text tokens) [S] of segments; `document_rewards` (mean over text
    tokens, NaN if there is none) and `document_sizes` [D] of documents.
    """

    rewards: Rewards
    sizes: npt.NDArray[np.int64]
    document_rewards: Rewards
    document_sizes: npt.NDArray[np.int64]


class Objective(Protocol):
    """One training objective. Frozen; its fields are its options."""

    @property
    def name(self) -> str: ...

    @property
    def uses_control(self) -> bool:
        """Whether the trained model knows control tokens."""
        ...

    @property
    def reads_rewards(self) -> bool:
        """Whether `weigh` looks at rewards, so that batches must carry them."""
        ...

    @property
    def selects_documents(self) -> bool:
        """Whether `select` keeps whole documents, so that its lots are one for each of them."""
        ...

    @property
    def value_head(self) -> ValueHead | None:
        """The value head that training needs, if any."""
        ...

    def settle(self, scheme: ControlScheme, census: Census) -> Objective:
        """The same objective with every setting a number: thresholds from bounds or shares.

        Raises `BoundError` or `RecipeError` where the options cannot fit these rewards.
        """
        ...

    def select(self, rewards: Rewards, document_rewards: Rewards, lots: Floats) -> Flags | None:
        """Which segments [S] are trained on; None for all.

        `document_rewards` [S] are those of each segment's document; `lots` [S] uniform in
        [0, 1), the same in every epoch: they decide between equal rewards. (Where
        `selects_documents`: equal for all segments of a document.)
        """
        ...

    def render(self, bands: Bands, rng: np.random.Generator) -> Bands:
        """Bands [U] to put before each labelled unit, from the true ones [U]."""
        ...

    def weigh(self, rewards_N: torch.Tensor, values_N: torch.Tensor | None) -> Weights:
        """How much each token counts. A reward of NaN means: learn it plainly. No gradient."""
        ...

    def value_loss(self, rewards_N: torch.Tensor, values_N: torch.Tensor) -> torch.Tensor:
        """The loss of the value head for each token [N], 0 where there is no reward."""
        ...
