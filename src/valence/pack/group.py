"""What a training is cut into: groups of documents, each in one phase of the training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from typing import Any, Literal

import numpy as np

from valence.errors import RecipeError
from valence.pack.order import Order
from valence.pack.ragged import Offsets
from valence.recipe import VerdictRecipe

Phase = Literal["plain", "feedback", "cooldown"]
PHASES: tuple[Phase, ...] = ("plain", "feedback", "cooldown")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackSettings:
    """What a training needs besides text, objective and control scheme.

    `text_tokens` is the budget, exact to the token; `block` the tokens of a row. Up to
    `feedback_from`, a share of the budget, the text is learned plainly. `start_ids` and
    `end_ids` stand before and after every document. `group_tokens` is how many text tokens
    are rendered together, and so how far rows are shuffled.
    """

    text_tokens: int
    block: int
    seed: int
    start_ids: tuple[int, ...]
    end_ids: tuple[int, ...] = ()
    feedback_from: float = 0.0
    verdict: VerdictRecipe | None = None
    group_tokens: int = 4_194_304

    def __post_init__(self) -> None:
        if not self.start_ids:
            raise RecipeError(
                "a document's first token is predicted from a start token, and there is none",
                where="pack",
                fix="Give the tokenizer's BOS, or its EOS.",
            )
        if self.block < 2 or self.text_tokens < 1 or self.group_tokens < 1:
            raise RecipeError(
                "a pack needs a block of at least 2 tokens, and at least one text token",
                where="train",
                fix="Raise train.block or train.tokens.",
            )
        if not 0.0 <= self.feedback_from <= 1.0:
            raise RecipeError(
                f"feedback_from is a share of the text tokens, not {self.feedback_from}",
                where="models",
                fix="Give a number from 0 to 1.",
            )

    @property
    def eos_id(self) -> int:
        """What a document's last text token predicts: EOS, by whatever name."""
        return self.end_ids[0] if self.end_ids else self.start_ids[0]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        verdict = None if self.verdict is None else self.verdict.model_dump(mode="json")
        ids = {"start_ids": list(self.start_ids), "end_ids": list(self.end_ids)}
        return {**plain, **ids, "verdict": verdict}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PackSettings:
        """The settings that `to_json` wrote."""
        verdict = None if data["verdict"] is None else VerdictRecipe(**data["verdict"])
        ids = {name: tuple(data[name]) for name in ("start_ids", "end_ids")}
        return cls(**{**data, **ids, "verdict": verdict})


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Documents that are rendered together, and what they become.

    They are the `span` documents from position `position` of epoch `epoch` on; `skip` text
    tokens of the first were trained on in the group before, and `text` are trained on here.
    `control` and `forks` count tokens in rows, `forks_left_out` forks whose unit began before
    their row or that had no room, `padding` empty places in the last row.
    """

    phase: Phase
    epoch: int
    position: int
    span: int
    skip: int
    text: int
    rows: int = 0
    control: int = 0
    forks: int = 0
    forks_left_out: int = 0
    padding: int = 0

    def to_list(self) -> list[int]:
        """Plain numbers, in the order of the fields."""
        _, *numbers = astuple(self)
        return [PHASES.index(self.phase), *numbers]

    @classmethod
    def from_list(cls, numbers: list[int]) -> Group:
        """The group that `to_list` wrote."""
        names = [field.name for field in fields(cls)]
        if len(numbers) != len(names) or not 0 <= numbers[0] < len(PHASES):
            raise ValueError(f"not a group: {numbers}")
        rest = dict(zip(names[1:], numbers[1:], strict=True))
        return cls(phase=PHASES[numbers[0]], **rest)


def phase_budgets(settings: PackSettings, cooldown: float) -> dict[Phase, int]:
    """Text tokens of each phase; they add up to the budget."""
    plain = round(settings.text_tokens * settings.feedback_from)
    cool = min(round(settings.text_tokens * cooldown), settings.text_tokens - plain)
    return {"plain": plain, "feedback": settings.text_tokens - plain - cool, "cooldown": cool}


def walk(
    order: Order,
    sizes: dict[Phase, Offsets],
    budgets: dict[Phase, int],
    group_tokens: int,
) -> Iterator[Group]:
    """The groups of a training, one after the other, without their counts.

    `sizes` [D] are the text tokens of each document in each phase. A group ends with the
    document that reaches `group_tokens`, or at its phase's end, there to the token. The rest
    of a document that a phase's end cuts follows in the next phase, if that has the same
    text of it; so what is trained on does not depend on where phases end.
    """
    at = (0, 0, 0)
    before: Offsets | None = None
    for phase in PHASES:
        left = budgets[phase]
        if left and before is not None and before is not sizes[phase] and at[2]:
            at = _next(order, at[0], at[1])
        while left:
            span, text, following = _reach(order, sizes[phase], at, min(group_tokens, left), left)
            yield Group(phase=phase, epoch=at[0], position=at[1], skip=at[2], span=span, text=text)
            at, left, before = following, left - text, sizes[phase]


def _next(order: Order, epoch: int, position: int) -> tuple[int, int, int]:
    return (epoch, position + 1, 0) if position + 1 < order.count else (epoch + 1, 0, 0)


def _reach(
    order: Order, sizes: Offsets, at: tuple[int, int, int], want: int, limit: int
) -> tuple[int, int, tuple[int, int, int]]:
    """How many documents from `at` on it takes to have `want` text tokens, at most `limit`;
    how many these are, and where it goes on.
    """
    epoch, position, skip = at
    span = found = 0
    while True:
        stop = min(position + (1 << 16), order.count)
        some = sizes[order.documents(epoch, position, stop)]
        some[0] -= skip
        reached = found + np.cumsum(some)
        index = int(np.searchsorted(reached, want))
        if index < len(some):
            text = min(int(reached[index]), limit)
            over = int(reached[index]) - text
            position += index
            if over == 0:
                return span + index + 1, text, _next(order, epoch, position)
            done = int(some[index]) - over + (skip if index == 0 else 0)
            return span + index + 1, text, (epoch, position, done)
        span, found, skip = span + len(some), int(reached[-1]), 0
        epoch, position = (epoch, stop) if stop < order.count else (epoch + 1, 0)
