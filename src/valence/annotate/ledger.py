"""What a piece of work cost and what became of it, to be added up over all pieces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

L = TypeVar("L", "TextLedger", "RewardLedger")

CORE_FLOPS = 1e11
"""Floating-point operations of one busy processor core in a second, by which the cost of a
scorer that does not count its own is put beside that of training."""


@dataclass(slots=True, kw_only=True)
class TextLedger:
    """Documents read and cut. `chars` and `bytes` (UTF-8) are those of the text kept."""

    shards: list[tuple[str, str]] = field(default_factory=list)
    """Name and SHA-256 of each shard."""
    documents: int = 0
    held_out: int = 0
    unread: int = 0
    segments: int = 0
    chars: int = 0
    bytes: int = 0
    core_seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class RewardLedger:
    """Segments scored. A document counts once for each kind of failure that it has.

    `flops` is what the scorer counted, None if it does not count.
    """

    shards: list[tuple[str, str]] = field(default_factory=list)
    calls: int = 0
    documents: int = 0
    failed_documents: int = 0
    segments: int = 0
    scored_segments: int = 0
    chars: int = 0
    bytes: int = 0
    core_seconds: float = 0.0
    seconds: float = 0.0
    flops: float | None = None
    failures: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)


def total(kind: type[L], ledgers: Iterable[L]) -> L:
    """The sum of ledgers; of the examples the first of each kind."""
    whole = kind()
    for ledger in ledgers:
        for name in (f.name for f in fields(kind)):
            ours, theirs = getattr(whole, name), getattr(ledger, name)
            if isinstance(ours, list):
                ours.extend(theirs)
            elif isinstance(ours, dict):
                for key, value in theirs.items():
                    ours[key] = (
                        value + ours.get(key, 0) if name == "failures" else ours.get(key, value)
                    )
            elif theirs is not None:
                setattr(whole, name, theirs + (ours or 0))
    return whole


def count_failure(ledger: TextLedger | RewardLedger, kind: str, message: str) -> None:
    """One more document that failed in this way."""
    ledger.failures[kind] = ledger.failures.get(kind, 0) + 1
    ledger.examples.setdefault(kind, message)


def plain(ledger: TextLedger | RewardLedger) -> dict[str, Any]:
    """The ledger as plain data, for JSON."""
    return asdict(ledger)


def cost(ledger: RewardLedger, *, parameters: float | None, tokens: float | None) -> dict[str, Any]:
    """What the rewards cost in FLOPs, and as a share of a pretraining run.

    A run costs 6 · parameters · tokens (Kaplan et al. 2020, arXiv 2001.08361). Beside the
    cost of this annotation stands that of one as long as the token budget, at 4 bytes a token.
    """
    counted = ledger.flops is not None
    flops = ledger.flops if ledger.flops is not None else ledger.core_seconds * CORE_FLOPS
    found: dict[str, Any] = {
        "flops": flops,
        "flops_are": "counted by the scorer"
        if counted
        else f"processor seconds at {CORE_FLOPS:.0e} a second",
        "pretraining": None,
    }
    if parameters is not None and tokens is not None:
        run = 6 * parameters * tokens
        longer = 4 * tokens / ledger.bytes if ledger.bytes else None
        found["pretraining"] = {
            "parameters": parameters,
            "tokens": tokens,
            "flops": run,
            "share": flops / run,
            "share_for_all_tokens": None if longer is None else flops * longer / run,
        }
    return found
