"""A checkpoint in a mode as lm-evaluation-harness asks for it. Needs the extra `harness`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from lm_eval.api.model import LM

from valence.control import ControlScheme
from valence.errors import RecipeError
from valence.guide.ask import Ask
from valence.guide.loop import generate
from valence.measure.ability.likelihood import (
    Layout,
    Offsets,
    Pass,
    Progress,
    Read,
    banning,
    passes,
    read_passes,
)
from valence.model import Checkpoint
from valence.precision import Precision
from valence.recipe.ability import HarnessRecipe


class ModeModel(LM):
    """Log-likelihoods and texts of a checkpoint in a mode.

    Before a text stand the start of a document and the mode's control token, and within it
    the token where training had it. Control tokens are banned from every distribution and never
    counted; nothing in a task's text can become one. Raises `ControlError` for a mode that the
    model does not know.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        known: ControlScheme | None,
        mode: str,
        recipe: HarnessRecipe,
        *,
        seed: int,
        window: int,
        precision: Precision,
        on_progress: Progress | None,
    ) -> None:
        super().__init__()
        self.checkpoint, self.known, self.mode, self.recipe = checkpoint, known, mode, recipe
        self.seed, self.window, self.precision = seed, window, precision
        self.on_progress = on_progress
        self.layout = Layout(checkpoint, known, mode, control=recipe.control)

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """log p of each continuation after its context, in nats, and whether it is greedy.

        Both are tokenised as one text; a token that reaches over the border belongs to the
        continuation. Of a context that is too long the end is read. Raises `RecipeError` for a
        continuation without any token: it has no likelihood, and least of all that of 1.
        """
        pairs = [request.args for request in requests]
        laid = self.layout.lay([context + text for context, text in pairs])
        counted = [
            each.places[each.ends > len(context)]
            for each, (context, _) in zip(laid, pairs, strict=True)
        ]
        empty = next(
            (context for (context, _), own in zip(pairs, counted, strict=True) if not len(own)),
            None,
        )
        if empty is not None:
            raise RecipeError(
                f"a task asks how likely an empty answer is, after {empty[-60:]!r}",
                where="measure.harness.tasks",
                fix="Leave the task out, or mend its answers.",
            )
        reads = self._read([each.ids for each in laid], counted)
        return [
            (
                sum(float(part.nats.sum()) for part in parts),
                all(bool(part.greedy.all()) for part in parts),
            )
            for parts in reads
        ]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """log p of each text from the start of a document on, in nats."""
        laid = self.layout.lay([request.args[0] for request in requests])
        reads = self._read([each.ids for each in laid], [each.places for each in laid])
        return [sum(float(part.nats.sum()) for part in parts) for parts in reads]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """What the mode writes after each context, up to the first stop; greedy if not asked
        to sample.

        Of a context that leaves no room for the text its end is read.
        """
        groups: dict[tuple[int, float, float], list[int]] = defaultdict(list)
        for number, request in enumerate(requests):
            groups[self._settings(request.args[1])].append(number)
        laid = self.layout.lay([request.args[0] for request in requests])
        texts: dict[int, str] = {}
        for (most, temperature, top_p), numbers in groups.items():
            room = self.window - most - len(self.layout.prefix)
            asks = [
                Ask(ids=_last(laid[n].ids[len(self.layout.prefix) :], room), seed=(self.seed, n))
                for n in numbers
            ]
            for place, written in generate(
                self.checkpoint,
                self.known,
                self.mode,
                asks,
                max_tokens=most,
                temperature=temperature,
                top_p=top_p,
                batch=self.recipe.batch,
                precision=self.precision,
                on_progress=self.on_progress,
            ):
                texts[numbers[place]] = written.text
        return [
            _until(texts[number], request.args[1].get("until"))
            for number, request in enumerate(requests)
        ]

    def _settings(self, options: dict[str, Any]) -> tuple[int, float, float]:
        """Tokens at the most, temperature and top-p that a task asks for."""
        named = ("max_gen_toks", "max_new_tokens", "max_tokens")
        given = [options[key] for key in named if options.get(key) is not None]
        most = int(given[0]) if given else self.recipe.max_tokens
        sampled = bool(options.get("do_sample", options.get("temperature", 0)))
        temperature = float(options.get("temperature", 1.0)) if sampled else 0.0
        return max(min(most, self.window // 2), 1), temperature, float(options.get("top_p", 1.0))

    def _read(self, ids: Sequence[Offsets], counted: Sequence[Offsets]) -> list[list[Read]]:
        todo: list[Pass] = []
        sizes = []
        for each, places in zip(ids, counted, strict=True):
            parts = passes(each, places, window=self.window, carried=self.layout.carried)
            todo += parts
            sizes.append(len(parts))
        reads = read_passes(
            self.checkpoint,
            todo,
            banning(self.layout.control_ids, self.layout.tokenizer.eos_token_id),
            precision=self.precision,
            on_progress=self.on_progress,
        )
        ends = np.cumsum([0, *sizes])
        return [reads[low:high] for low, high in pairwise(ends.tolist())]


def _last(ids: Offsets, room: int) -> tuple[int, ...]:
    return tuple(ids[max(len(ids) - room, 0) :].tolist())


def _until(text: str, until: str | Sequence[str] | None) -> str:
    """Text before the first of the stops."""
    stops = [until] if isinstance(until, str) else list(until or ())
    found = [text.find(stop) for stop in stops if stop]
    return text[: min((place for place in found if place >= 0), default=len(text))]
