"""Bands and control tokens. Nothing else in Valence names, adds, inserts or bans them.

A control scheme says which token stands for which range of rewards. It is saved beside
every checkpoint that was trained with it, so that sampling and serving read it and never
guess. Ids are always derived from the tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from valence.errors import BoundError, ControlError, ModelError
from valence.store import read_json

Rewards = npt.NDArray[np.float32]
Bands = npt.NDArray[np.int8]

NO_BAND = -1
"""The band of a segment that gets no control token."""


RESERVED = ("none", "banned", "labelled")
"""Mode names that mean something without being a band."""


class Vocabulary(Protocol):
    """The little of a tokenizer that control tokens need."""

    def get_vocab(self) -> dict[str, int]: ...

    def add_special_tokens(self, special_tokens_dict: Any, **options: Any) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlScheme:
    """Control tokens, worst band first, and the rewards at which the next band begins.

    A segment belongs to the highest band whose bound its reward reaches (reward ≥ bound).
    `placement`: a token before every unit, only where the band changes, or before each text
    token of a unit with probability `share`. The last `cooldown` of training, a share of its
    text tokens, has no control tokens.
    Sources: Korbak et al. 2023 (arXiv 2302.08582), conditional training, for two bands;
    random places: Maini et al. 2025 (arXiv 2504.16980); cool-down: Gao et al. 2025
    (arXiv 2501.01956).
    """

    tokens: tuple[str, ...]
    bounds: tuple[float, ...]
    level: Literal["segment", "document"] = "segment"
    placement: Literal["every", "change", "random"] = "every"
    dropout: float = 0.0
    mask_loss: bool = False
    share: float = 0.05
    cooldown: float = 0.0

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.bounds) + 1 or len(self.tokens) < 2:
            raise ControlError(
                f"{len(self.tokens)} tokens and {len(self.bounds)} bounds do not make bands",
                fix="Give one bound between each two tokens.",
            )
        if any(low >= high for low, high in zip(self.bounds, self.bounds[1:], strict=False)):
            raise ControlError(
                f"bounds must ascend, and these do not: {list(self.bounds)}",
                fix="Order control.bounds from the worst band to the best.",
            )

        self._check_placement()
        modes = self.modes
        taken = sorted({m for m in modes if modes.count(m) > 1 or m in RESERVED or "/" in m})
        if taken:
            raise ControlError(
                f"control tokens make the mode names {list(modes)}, of which {taken} cannot be"
                " told apart, are taken, or hold a slash",
                where="control.tokens",
                fix=f"Choose other names; taken are: {', '.join(RESERVED)}.",
            )

    def _check_placement(self) -> None:
        known = {"level": ("segment", "document"), "placement": ("every", "change", "random")}
        for key, values in known.items():
            if getattr(self, key) not in values:
                raise ControlError(
                    f"there is no {key} `{getattr(self, key)}`",
                    where=f"control.{key}",
                    fix=f"Known: {', '.join(values)}.",
                )
        for key, allowed in {
            "dropout": 0 <= self.dropout <= 1,
            "share": 0 < self.share <= 1 or (self.share == 0 and self.placement != "random"),
            "cooldown": 0 <= self.cooldown < 1,
        }.items():
            if not allowed:
                raise ControlError(
                    f"{getattr(self, key)} is not a share that {key} can be",
                    where=f"control.{key}",
                    fix="Give a number from 0 to 1: share not 0, cooldown not 1.",
                )

    @property
    def modes(self) -> tuple[str, ...]:
        """Plain names of the bands: `<|good|>` is `good`."""
        return tuple(token.strip("<|>") or token for token in self.tokens)

    @property
    def best(self) -> int:
        """The band that is preferred: the default mode of every checkpoint."""
        return len(self.tokens) - 1

    def band_of_mode(self, mode: str) -> int:
        """The band a mode name asks for; raises `ControlError` for an unknown name."""
        if mode not in self.modes:
            raise ControlError(
                f"there is no mode `{mode}`",
                fix=f"The model knows: {', '.join(self.modes)}, and `banned`.",
            )
        return self.modes.index(mode)

    def bands(self, rewards: Rewards) -> Bands:
        """Band per reward [S]; NaN (no reward) becomes `NO_BAND`."""
        found = np.searchsorted(np.asarray(self.bounds, np.float32), rewards, side="right").astype(
            np.int8
        )
        return np.where(np.isnan(rewards), np.int8(NO_BAND), found)

    def token_ids(self, tokenizer: Vocabulary) -> tuple[int, ...]:
        """Ids of the control tokens, worst band first; raises `ControlError` if one is missing."""
        vocabulary = tokenizer.get_vocab()
        missing = [token for token in self.tokens if token not in vocabulary]
        if missing:
            raise ControlError(
                f"the tokenizer does not have the control tokens {missing}",
                fix="Use the tokenizer that was saved with the model.",
            )
        return tuple(vocabulary[token] for token in self.tokens)

    def add_to(self, tokenizer: Vocabulary) -> None:
        """Add the control tokens to a tokenizer as special tokens.

        Raises `ControlError` where one is an ordinary token already: it would then
        stand in text without being control.
        """
        known = set(tokenizer.get_vocab())
        clash = [token for token in self.tokens if token in known]
        if clash:
            raise ControlError(
                f"the vocabulary already has {clash} as ordinary tokens",
                fix="Name other control.tokens.",
            )
        tokenizer.add_special_tokens({"extra_special_tokens": list(self.tokens)})

    def to_json(self) -> dict[str, Any]:
        """Plain data for `valence.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ControlScheme:
        """The scheme that `to_json` wrote, also in an older version with fewer keys."""
        return cls(**{**data, "tokens": tuple(data["tokens"]), "bounds": tuple(data["bounds"])})


def drop(bands: Bands, share: float, rng: np.random.Generator) -> Bands:
    """Bands, each replaced by `NO_BAND` with probability `share`.

    A model that saw some text without its token can also be used without one.
    """
    return np.where(rng.random(len(bands)) >= share, bands, np.int8(NO_BAND))


def resolve_bounds(bounds: Sequence[float | tuple[str, float]], rewards: Rewards) -> list[float]:
    """Bounds as rewards: a number stays, ("quantile", q) is read off `rewards` [S].

    The quantile is an observed reward ("higher"), so that at least one segment reaches it.
    """
    finite = rewards[~np.isnan(rewards)]
    return [
        float(np.quantile(finite, bound[1], method="higher")) if isinstance(bound, tuple) else bound
        for bound in bounds
    ]


def band_shares(scheme: ControlScheme, bands: Bands) -> dict[str, float]:
    """Share of labelled segments in each band; raises `BoundError` if a band is empty."""
    labelled = bands[bands != NO_BAND]
    counts = np.bincount(labelled, minlength=len(scheme.tokens))
    shares = {
        mode: float(count) / max(len(labelled), 1)
        for mode, count in zip(scheme.modes, counts, strict=True)
    }
    if (counts == 0).any():
        listed = ", ".join(f"{mode} {share:.1%}" for mode, share in shares.items())
        raise BoundError(
            f"the bounds {list(scheme.bounds)} leave a band without segments ({listed})",
            where="control.bounds",
            fix="Choose a bound between the rewards, or give a quantile: [{quantile: 0.5}].",
        )
    return shares


def read_about(directory: Path) -> dict[str, Any]:
    """What `valence.json` says of a checkpoint; nothing if it was made elsewhere."""
    beside = directory / "valence.json"
    about = read_json(beside) if beside.is_file() else {}
    if not isinstance(about, dict):
        raise ModelError("is not a map", where=str(beside), fix="Copy the checkpoint anew.")
    return about


def read_scheme(directory: Path) -> ControlScheme | None:
    """The control scheme of a checkpoint, or None if it was trained without one."""
    return _scheme_in(read_about(directory), "scheme")


def read_known_scheme(directory: Path) -> ControlScheme | None:
    """The scheme whose tokens are in the vocabulary, whether the model learned them or not."""
    return _scheme_in(read_about(directory), "known")


def _scheme_in(about: dict[str, Any], key: str) -> ControlScheme | None:
    data = about.get(key)
    try:
        return None if data is None else ControlScheme.from_json(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"`{key}` in valence.json is not a control scheme ({error!r})",
            fix="Copy the checkpoint anew, or train it again.",
        ) from None
