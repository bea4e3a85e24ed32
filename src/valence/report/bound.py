"""A bound between two bands as a user writes it, and shares as a reader sees them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from typing import Final

from valence.errors import BoundError
from valence.report.table import format_value

_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_HOW: Final = "Give a reward, such as -0.1, or a share, such as best-5% or worst-5%."


def percent(share: float | None) -> str:
    """A share in percent, to three digits at the most; an em dash for None.

    Neither a few nor all but a few are ever rounded to none or all.
    """
    if share is None:
        return "—"
    if 0 < share < 0.0001:
        return "<0.01%"
    if 0.9999 < share < 1:
        return ">99.99%"
    number = round(100 * share, 6)
    digits = 2 if min(number, 100 - number) < 1 else 1
    text = f"{number:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.')}%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Where the upper band begins: at a reward, or where a share of segments is `best`.

    Exactly one of the two is given. A segment is in the upper band if its reward is at least
    the bound.
    """

    reward: float | None = None
    best: float | None = None

    def __post_init__(self) -> None:
        if (self.reward is None) == (self.best is None):
            raise BoundError("a bound is a reward or a share, one of them", fix=_HOW)
        if self.reward is not None and not isfinite(self.reward):
            raise BoundError(f"{self.reward} is no reward", where="--bound", fix=_HOW)
        if self.best is not None and not 0 < self.best < 1:
            raise BoundError(
                f"a share lies between 0% and 100%, and {self.best:.4g} does not",
                where="--bound",
                fix=_HOW,
            )

    def __str__(self) -> str:
        if self.best is not None and self.best > 0.5:
            return f"all but the worst {percent(1 - self.best)}"
        if self.best is not None:
            return f"the best {percent(self.best)}"
        return f"a reward of {format_value(self.reward)}"


def parse_bound(text: str) -> Bound:
    """The bound that a user wrote: `-0.1`, `best-5%`, `best 5%`, `0.05-best`, `worst-5%`.

    `worst-5%` begins the upper band above the worst 5%. Raises `BoundError`.
    """
    plain = " ".join(text.replace("\N{MINUS SIGN}", "-").split())
    if re.fullmatch(_NUMBER, plain):
        return Bound(reward=float(plain))
    side = r"(?P<side>best|worst)"
    share = r"(?P<share>\d*\.?\d+) ?(?P<sign>%?)"
    found = re.fullmatch(rf"{side}[ -]{share}", plain) or re.fullmatch(rf"{share}[ -]{side}", plain)
    if found is None:
        raise BoundError(f"`{text}` is not a bound", where="--bound", fix=_HOW)
    asked = float(found["share"]) / (100 if found["sign"] else 1)
    return Bound(best=asked if found["side"] == "best" else 1 - asked)
