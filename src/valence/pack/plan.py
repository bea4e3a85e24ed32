"""What a training will be, counted before it begins: groups, rows, tokens, epochs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from valence.control import ControlScheme
from valence.errors import RecipeError, StoreError
from valence.objective.protocol import Objective
from valence.pack.group import Group, PackSettings, Phase, phase_budgets, walk
from valence.pack.order import Order
from valence.pack.ragged import Offsets, bounds_of
from valence.pack.render import Renderer
from valence.pack.selection import selected_sizes
from valence.pack.tokens import TokenStore


@dataclass(frozen=True, kw_only=True)
class PackPlan:
    """The groups of a training with their counts.

    `epochs` is how often the text that is trained on is gone through; `documents` how many
    documents one pass holds, `selected_share` which share of all text tokens; `store` the
    digest of the token store.
    """

    settings: PackSettings
    store: str
    groups: tuple[Group, ...]
    epochs: float
    documents: int
    selected_share: float

    @cached_property
    def row_bounds(self) -> Offsets:
        """The first row of each group, and the number of all rows [G + 1]."""
        return bounds_of(np.array([group.rows for group in self.groups], dtype=np.int64))

    @property
    def rows(self) -> int:
        """Rows of the whole training."""
        return int(self.row_bounds[-1])

    @property
    def text_tokens(self) -> int:
        """Text tokens that are predicted."""
        return sum(group.text for group in self.groups)

    @property
    def control_tokens(self) -> int:
        """Control tokens in rows, those repeated at a row's begin among them."""
        return sum(group.control for group in self.groups)

    @property
    def fork_tokens(self) -> int:
        """Side branches in which a verdict is taught."""
        return sum(group.forks for group in self.groups)

    @property
    def forks_left_out(self) -> int:
        """Side branches whose unit began before their row, or that had no room."""
        return sum(group.forks_left_out for group in self.groups)

    @property
    def padding(self) -> int:
        """Empty places in the last rows of groups."""
        return sum(group.padding for group in self.groups)

    @property
    def tokens(self) -> int:
        """Tokens in rows, padding not among them."""
        return self.rows * self.settings.block - self.padding

    def facts(self) -> dict[str, Any]:
        """What there is to say about the training text of a model."""
        return {
            "rows": self.rows,
            "block": self.settings.block,
            "groups": len(self.groups),
            "tokens": self.tokens,
            "text_tokens": self.text_tokens,
            "control_tokens": self.control_tokens,
            "fork_tokens": self.fork_tokens,
            "forks_left_out": self.forks_left_out,
            "padding": self.padding,
            "epochs": self.epochs,
            "documents": self.documents,
            "selected_share": self.selected_share,
        }

    def to_json(self) -> dict[str, Any]:
        """Plain data; a few numbers for each group."""
        return {
            "settings": self.settings.to_json(),
            "store": self.store,
            "epochs": self.epochs,
            "documents": self.documents,
            "selected_share": self.selected_share,
            "groups": [group.to_list() for group in self.groups],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PackPlan:
        """The plan that `to_json` wrote; raises `StoreError` for anything else."""
        try:
            return cls(
                settings=PackSettings.from_json(data["settings"]),
                store=data["store"],
                groups=tuple(Group.from_list(numbers) for numbers in data["groups"]),
                epochs=data["epochs"],
                documents=data["documents"],
                selected_share=data["selected_share"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(
                f"not the plan of a pack ({error!r})",
                where="pack",
                fix="Delete the pack's directory and run again.",
            ) from None


def check_phases(feedback_from: float, cooldown: float) -> None:
    """Raise `RecipeError` where the training would be over before the objective begins."""
    if feedback_from + cooldown > 1:
        raise RecipeError(
            f"feedback begins after {feedback_from:.0%} of the training, and the last"
            f" {cooldown:.0%} are without control tokens",
            where="models",
            fix="Lower feedback_from or control.cooldown.",
        )


def plan_pack(
    store: TokenStore,
    objective: Objective,
    scheme: ControlScheme,
    settings: PackSettings,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> PackPlan:
    """Count a training under a settled objective, by the code that will render it.

    `on_progress` is called with text tokens (done, of). Raises `BoundError` where the
    objective leaves no text, and `RecipeError` where phases overlap.
    """
    check_phases(settings.feedback_from, scheme.cooldown)
    order = Order(store.documents, settings.seed)
    renderer = Renderer(
        store=store,
        objective=objective,
        scheme=scheme,
        settings=settings,
        # Counts do not depend on which ids the control tokens have.
        control_ids=range(len(scheme.tokens)),
        order=order,
    )
    whole = store.document_sizes
    selected = selected_sizes(store, objective, settings.seed)
    kept = whole if selected is None else selected
    sizes: dict[Phase, Offsets] = {"plain": whole, "feedback": kept, "cooldown": kept}
    budgets = phase_budgets(settings, scheme.cooldown if objective.uses_control else 0.0)
    groups, done = [], 0
    for number, group in enumerate(walk(order, sizes, budgets, settings.group_tokens)):
        groups.append(renderer.count(group, number))
        done += group.text
        if on_progress is not None:
            on_progress(done, settings.text_tokens)
    return PackPlan(
        settings=settings,
        store=store.digest,
        groups=tuple(groups),
        epochs=sum(tokens / int(sizes[phase].sum()) for phase, tokens in budgets.items()),
        documents=int((kept > 0).sum()),
        selected_share=float(kept.sum() / whole.sum()),
    )
