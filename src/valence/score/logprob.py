"""How much likelier a language model finds text in one mode, or after one prompt, than another.

The reward is a log-likelihood ratio: log p(text | good) - log p(text | bad), as in the
discriminators of GeDi (Krause et al. 2021, arXiv 2009.06367) and DExperts (Liu et al. 2021,
arXiv 2105.03023), here from one model that was trained with control tokens, or told by a prompt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import PositiveInt

from valence.control import ControlScheme, read_scheme
from valence.data import Document, Failure, Result, Score, ScorerId, Segment
from valence.errors import ScorerError
from valence.score.classifier import window_tokens
from valence.score.network import Network
from valence.score.pretrained import Dtype
from valence.score.protocol import Item
from valence.store import digest

Owners = npt.NDArray[np.int64]
Nats = npt.NDArray[np.float64]

NOBODY = -1
"""The owner of a token that belongs to no segment that was asked about."""

LONGEST = 2048
"""Tokens of context, where the model itself would take more or states no limit."""

PLAIN = "none"
"""The mode of a checkpoint without any control token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One of the two ways to read a text.

    `prefix` are the ids before it; `control` the id before each segment but the first, if any.
    """

    prefix: tuple[int, ...]
    control: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Text tokens from `context` on are read, those from `start` to `end` are scored."""

    context: int
    start: int
    end: int


class LogProb:
    """log p(text | good) - log p(text | bad) under one language model, in nats.

    With `good_prompt` alone it is log p(text) after that prompt: how fluent a text is in the eyes
    of a model that did not write it.

    Either `good` and `bad` are modes of a checkpoint that Valence trained (`good`, `bad` with
    its default tokens; `none` for no token), or `good_prompt` and `bad_prompt` are texts put
    before the document ("" for none). The reward of a segment is the mean over its tokens
    (`per: token`) or their sum (`per: segment`).

    In a mode, the control token stands where it stood in training: at the beginning, and, at
    the scheme's level `segment`, before each segment. Control tokens are no text: they are not
    counted, and banned from the predictions, as when the model is sampled. A token that
    reaches over a segment's start belongs to the segment of its first visible character.

    A document of more than `max_tokens` tokens (if not given: the model's context, at most
    2,048) is read in windows. Each token is scored once, and in all but the first window after
    at least half a window of text; each begins with the mode's token or the prompt. A segment
    without a token of its own is a `Failure` of kind "no-tokens".

    `model`, `revision`, `device`, `dtype` and `batch` are those of `Classifier`. Raises
    `ScorerError`, `ControlError`, `ModelError`, `MissingFileError`.
    """

    def __init__(
        self,
        *,
        model: str,
        good: str | None = None,
        bad: str | None = None,
        good_prompt: str | None = None,
        bad_prompt: str | None = None,
        per: Literal["token", "segment"] = "token",
        max_tokens: PositiveInt | None = None,
        revision: str | None = None,
        device: str = "auto",
        dtype: Dtype = "auto",
        batch: PositiveInt = 16,
    ) -> None:
        by_mode = _by_mode(good, bad, good_prompt, bad_prompt)
        self._network = Network(model, "language", device=device, dtype=dtype, revision=revision)
        self.device, self.batch = self._network.device, batch
        self._banned: tuple[int, ...] = ()
        if by_mode:
            self._voices = tuple(self._of_mode(mode or "") for mode in (good, bad))
        else:
            prompts = (good_prompt, bad_prompt)
            self._voices = tuple(self._of_prompt(p) for p in prompts if p is not None)
        self._per = per
        size = window_tokens(self._network.limit, max_tokens, LONGEST)
        self._room = size - max(len(voice.prefix) for voice in self._voices)
        if self._room < 8:
            what = f"{size} tokens of context leave no room after the prompt"
            fix = "Give a shorter prompt or a larger `max_tokens`."
            raise ScorerError(what, where="logprob", fix=fix)
        options = {
            "files": self._network.digest,
            "precision": self._network.precision,
            "voices": [good, bad, good_prompt, bad_prompt],
            "per": per,
            "window": size,
        }
        self.id = ScorerId(name="logprob", version="1", digest=digest(options))
        first, second = (good, bad) if by_mode else (repr(good_prompt), repr(bad_prompt))
        unit = "mean nats per token" if per == "token" else "nats per segment"
        less = "" if len(self._voices) == 1 else f" - log p(text | {second})"
        self.meaning = f"log p(text | {first}){less} by {model}, {unit}"

    def _of_prompt(self, prompt: str) -> Voice:
        ids = [*self._network.prefix, *self._network.token_ids([prompt])[0]]
        return Voice(prefix=tuple(ids or [self._begin()]))

    def _of_mode(self, mode: str) -> Voice:
        scheme = _scheme(self._network.directory)
        control_ids = scheme.token_ids(self._network.tokenizer)
        self._banned = control_ids
        if mode == PLAIN:
            return Voice(prefix=(self._begin(),))
        control = control_ids[scheme.band_of_mode(mode)]
        repeated = scheme.level == "segment" and scheme.placement == "every"
        return Voice(prefix=(self._begin(), control), control=control if repeated else None)

    def _begin(self) -> int:
        """EOS, after which a document begins in training; BOS where there is no EOS."""
        tokenizer = self._network.tokenizer
        for begin in (tokenizer.eos_token_id, tokenizer.bos_token_id):
            if begin is not None:
                return int(begin)
        raise ScorerError(
            "the tokenizer has no token that a document begins with",
            where=str(self._network.directory),
            fix="Give both prompts, and none of them empty.",
        )

    @property
    def flops(self) -> float:
        """Floating-point operations so far."""
        return self._network.flops

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """One reward per segment, in order."""
        return self.score_many([(document, segments)])[0]

    def score_many(self, items: Sequence[Item]) -> list[list[Result]]:
        """For each document what `score` gives for it, but for rounding."""
        texts = [self._network.token_offsets(document.text) for document, _ in items]
        owners = [
            owners_of(document.text, offsets, segments)
            for (document, segments), (_, offsets) in zip(items, texts, strict=True)
        ]
        good, *bad = self._read([ids for ids, _ in texts], owners)
        gains = [plus - minus for plus, minus in zip(good, bad[0], strict=True)] if bad else good
        return [
            [self._result(gained) for gained in _by_owner(gain, owner, len(segments))]
            for gain, owner, (_, segments) in zip(gains, owners, items, strict=True)
        ]

    def _read(self, texts: Sequence[Sequence[int]], owners: Sequence[Owners]) -> list[list[Nats]]:
        """log p of every token of every text, in one voice and in the other, if there is one."""
        # The same windows in both voices, so that each token has the same text before it.
        controls = any(voice.control is not None for voice in self._voices)
        plans = [stretches(1 + begins(owner) * controls, self._room) for owner in owners]
        sequences, places = [], []
        for which, voice in enumerate(self._voices):
            for index, (ids, owner) in enumerate(zip(texts, owners, strict=True)):
                for stretch in plans[index]:
                    sequence, at = _render(voice, ids, owner, stretch)
                    sequences.append(sequence)
                    places.append((which, index, stretch, at))
        found = [[np.zeros(len(ids)) for ids in texts] for _ in self._voices]
        logs = self._network.log_probs(sequences, self._banned)
        for (which, index, stretch, at), log in zip(places, logs, strict=True):
            # The first token of a sequence is predicted by nothing and has no number.
            found[which][index][stretch.start : stretch.end] = log[np.asarray(at) - 1]
        return found

    def _result(self, gains: Nats) -> Result:
        if not len(gains):
            return Failure(stage="score", kind="no-tokens", message="no token begins in it")
        value = math.fsum(gains.tolist()) / (len(gains) if self._per == "token" else 1)
        if not math.isfinite(value):
            return Failure(stage="score", kind="not-finite", message=f"the model gave {value}")
        return Score(value=value)


def _scheme(directory: Path) -> ControlScheme:
    """The control scheme that a checkpoint was trained with; raises `ScorerError` if none."""
    scheme = read_scheme(directory)
    if scheme is None:
        raise ScorerError(
            "was not trained with control tokens",
            where=str(directory),
            fix="Name a conditional checkpoint of Valence, or give `good_prompt` and `bad_prompt`.",
        )
    return scheme


def owners_of(text: str, offsets: Owners, segments: Sequence[Segment]) -> Owners:
    """The segment of each token's first visible character [N], or of its first if none is.

    `offsets` [N, 2] are the tokens' places in characters, `segments` in ascending order. A
    token outside of all segments belongs to `NOBODY`.
    """
    starts = np.array([segment.start for segment in segments], dtype=np.int64)
    ends = np.array([segment.end for segment in segments], dtype=np.int64)
    firsts = np.array([_first_visible(text, int(a), int(b)) for a, b in offsets], dtype=np.int64)
    found: Owners = np.searchsorted(starts, firsts, side="right").astype(np.int64) - 1
    if len(segments):
        found[firsts >= ends[found]] = NOBODY
    return found


def _first_visible(text: str, start: int, end: int) -> int:
    blank = end - start - len(text[start:end].lstrip())
    return start + blank if blank < end - start else start


def _by_owner(gains: Nats, owner: Owners, count: int) -> list[Nats]:
    """What the tokens of each segment gained, in their order."""
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(count + 1))
    return [gains[order[start:end]] for start, end in pairwise(bounds.tolist())]


def begins(owner: Owners) -> Owners:
    """1 where a segment's first token is that has another segment before it, else 0 [N]."""
    found: Owners = np.zeros_like(owner)
    found[1:] = (owner[1:] != owner[:-1]) & (owner[1:] != NOBODY)
    return found


def stretches(costs: Owners, room: int) -> list[Stretch]:
    """Windows that score each token once, none taking more than `room` (at least 8).

    `costs` [N] is what a token takes, 1 or 2. All but the first window give at least half of
    the room to text that was scored before.
    """
    total = np.concatenate([[0], np.cumsum(costs)])
    found: list[Stretch] = []
    start = 0
    while start < len(costs):
        context = max(int(np.searchsorted(total, total[start] - room // 2, "right")) - 1, 0)
        end = int(np.searchsorted(total, total[context] + room, "right")) - 1
        found.append(Stretch(context=context, start=start, end=end))
        start = end
    return found


def _render(
    voice: Voice, ids: Sequence[int], owner: Owners, stretch: Stretch
) -> tuple[list[int], list[int]]:
    """What the model reads, and where in it the tokens stand that are scored."""
    sequence, places = list(voice.prefix), []
    here = begins(owner[stretch.context : stretch.end])
    for index, begin in enumerate(here.tolist(), start=stretch.context):
        if begin and voice.control is not None:
            sequence.append(voice.control)
        if index >= stretch.start:
            places.append(len(sequence))
        sequence.append(ids[index])
    return sequence, places


def _by_mode(*given: str | None) -> bool:
    """Whether two modes were given, and not a prompt or two; raises `ScorerError` otherwise."""
    good, bad, good_prompt, bad_prompt = given
    if good_prompt is not None and (good, bad, bad_prompt) == (None, None, None):
        return False
    for pair, other in (((good, bad), given[2:]), ((good_prompt, bad_prompt), given[:2])):
        if None not in pair and other == (None, None) and pair[0] != pair[1]:
            return pair == (good, bad)
    raise ScorerError(
        "needs two different modes, or two different prompts, or one prompt",
        where="logprob",
        fix="Give `good` and `bad` (modes of a checkpoint), or `good_prompt` and `bad_prompt`.",
    )
