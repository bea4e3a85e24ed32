"""What a model is asked to continue, and what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from valence.model import encode_texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One text to write: the tokens that it goes on from, and the seed of all its chances.

    `ids` are of text alone, or of a filled chat template: what starts a document and the mode's
    control token are put before them. `seed` are whole numbers from 0. `start` is what starts this
    one, if it is not what starts every document.
    """

    ids: tuple[int, ...]
    seed: tuple[int, ...]
    start: tuple[int, ...] | None = None

    def prompt(self, start: Sequence[int], prefix: Sequence[int]) -> tuple[int, ...]:
        """All that stands before the text: a `start` of documents, a mode's `prefix`, the ids."""
        return (*(start if self.start is None else self.start), *prefix, *self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What the model wrote after a prompt: the text, whether it ended it, its text tokens.

    `no_room`: its context was full before it had the tokens that were asked for. Control tokens
    that renew a mode take room, and how many a text needs nobody knows before.
    """

    text: str
    ended: bool
    tokens: int
    no_room: bool = False


def asks_for(
    tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], *, per_prompt: int, seed: int
) -> list[Ask]:
    """Ask `per_prompt` times for each prompt, in their order; "" is the start of a document.

    Whatever a prompt says, it is text: no special token comes of it. The seed of a sample
    is (`seed`, number of its prompt, number within the prompt), so more prompts or more
    samples leave those before as they were.
    """
    return [
        Ask(ids=tuple(encoded.ids.tolist()), seed=(seed, number, sample))
        for number, encoded in enumerate(encode_texts(tokenizer, prompts))
        for sample in range(per_prompt)
    ]
