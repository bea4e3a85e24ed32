"""How models, modes and metrics are called in sentences."""

from __future__ import annotations


def named(model: str, mode: str) -> str:
    """A model in a mode, in words."""
    alone, guided, guide = mode.partition("+")
    if alone == "none":
        return f"{model} with {guide}" if guided else model
    return f"{model} in {mode} mode"


def subject(metric: str) -> str:
    """A metric's name at the head of a sentence; of METRIC@PLACE the place comes last."""
    name, at, place = metric.partition("@")
    words = name.replace("_per_kchar", " per 1,000 characters").replace("_", " ").capitalize()
    words = words.replace("auroc", "AUROC").replace("Kl", "KL")
    return f"{words} on {place}" if at else words


def leaning(low: float | None, high: float | None) -> str:
    """Which side of 0 an interval of a difference lies on; nothing where it holds 0 or is not
    known."""
    if low is None or high is None:
        return ""
    return "higher" if low > 0 else "lower" if high < 0 else ""


def of_interval(low: float | None, high: float | None, what: str) -> str:
    """What an interval of a difference shows, and the interval; `what` says of which difference."""
    if low is None or high is None:
        return "not shown to differ: one has no 95% interval"
    way = leaning(low, high)
    told = f"the 95% interval of {what}, [{low:.3g}, {high:.3g}],"
    return f"{way}: {told} leaves out 0" if way else f"not shown to differ: {told} holds 0"
