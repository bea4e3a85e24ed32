"""A local language model as proposer: it goes on with a list of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from valence.control import ControlScheme, read_known_scheme
from valence.data import Failure
from valence.guide import Ask, generate
from valence.measure.redteam.proposer import failed
from valence.model import Checkpoint, load_checkpoint, text_ids
from valence.precision import Precision


class LocalProposer:
    """Any causal language model; a conditional one writes without a forced token.

    It is shown one prompt a line, or, if one of them has several lines, with a blank line
    between, and what it writes up to the next such break is the new prompt, of at most
    `max_tokens` tokens. Nothing else is said to it: a model that follows no instructions goes on
    with a list all the same.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        known: ControlScheme | None,
        *,
        max_tokens: int,
        temperature: float = 1.0,
        top_p: float = 0.9,
        precision: Precision = "fp32",
    ) -> None:
        self.checkpoint, self.known = checkpoint, known
        self.mode = "none" if checkpoint.scheme is None else "banned"
        self.max_tokens, self.precision = max_tokens, precision
        self.temperature, self.top_p = temperature, top_p

    @classmethod
    def load(cls, directory: Path, *, max_tokens: int) -> LocalProposer:
        """The model in a directory; raises `MissingFileError` and `ModelError`."""
        known = read_known_scheme(directory)
        return cls(load_checkpoint(directory), known, max_tokens=max_tokens)

    def propose(self, exemplars: Sequence[str], count: int, seed: int) -> list[str | Failure]:
        """`count` texts that follow the list; seeded."""
        ids, gap = self._list(exemplars)
        found = dict(
            generate(
                self.checkpoint,
                self.known,
                self.mode,
                [Ask(ids=ids, seed=(seed, index)) for index in range(count)],
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                top_p=self.top_p,
                batch=count,
                precision=self.precision,
            )
        )
        return [first_piece(found[index].text, gap) for index in range(count)]

    def _list(self, exemplars: Sequence[str]) -> tuple[tuple[int, ...], str]:
        """The list as tokens, without the first prompts if the model cannot hold them all."""
        limit = getattr(self.checkpoint.model.config, "max_position_embeddings", None)
        # Before it stand the start of a document and a control token.
        room = None if limit is None else limit - self.max_tokens - 2
        for first in range(len(exemplars) + 1):
            text, gap = prompt_list(exemplars[first:])
            ids = tuple(text_ids(self.checkpoint.tokenizer, text))
            if room is None or len(ids) <= room:
                break
        return ids, gap


def prompt_list(prompts: Sequence[str]) -> tuple[str, str]:
    """Prompts as one text that another can follow, and what stands between two of them."""
    kept = [prompt.strip("\n") for prompt in prompts]
    gap = "\n\n" if any("\n" in prompt for prompt in kept) else "\n"
    return "".join(prompt + gap for prompt in kept), gap


def first_piece(text: str, gap: str) -> str | Failure:
    """The first piece of a text that is not blank, without the line breaks around it."""
    for piece in text.split(gap):
        if piece.strip():
            return piece.strip("\n")
    return failed("empty", "the model wrote no prompt")
