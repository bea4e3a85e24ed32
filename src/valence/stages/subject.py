"""A model that is measured, wherever it was made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transformers import AutoConfig, PreTrainedTokenizerFast

from valence.control import ControlScheme, read_about, read_known_scheme, read_scheme
from valence.guide.loop import modes_of
from valence.model import Checkpoint, load_checkpoint, load_tokenizer
from valence.objective.readout import READOUT, Readout, load_readout
from valence.pack import Tokenised
from valence.store import digest_files

VALUES = "value_head.safetensors"
"""Files beside a checkpoint that hold what was trained with it and is no part of it."""


LONGEST_WINDOW = 1024
"""Tokens of context that a loss is measured with, if nothing else is said."""

UNBOUNDED = 10**9
"""A context that a model without position embeddings would have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledText:
    """Text with rewards, in the tokens of a model: held-out, and some that it may learn from.

    `key` is a digest of whatever made it.
    """

    held_out: Tokenised
    training: Tokenised
    scheme: ControlScheme
    key: str


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One checkpoint: its name and seed in the results, and what its weights depend on.

    `label` names it in directories; `key` is a digest of whatever made it; `window` is how
    many tokens of context its losses are measured with.
    """

    name: str
    seed: int
    label: str
    path: Path
    key: str
    window: int

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The model, loaded when it is first needed."""
        return load_checkpoint(self.path)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Its tokenizer, without the model."""
        return load_tokenizer(self.path)

    @cached_property
    def scheme(self) -> ControlScheme | None:
        """The scheme that it was trained with, if it was."""
        return read_scheme(self.path)

    @cached_property
    def known(self) -> ControlScheme | None:
        """The scheme whose tokens are in its vocabulary, learned or not."""
        return read_known_scheme(self.path)

    @cached_property
    def verdict(self) -> bool:
        """Whether it was taught to judge what was said."""
        return read_about(self.path).get("verdict") is not None

    @cached_property
    def readout(self) -> Readout | None:
        """The read-out that was trained with it, if one was."""
        path = self.path / READOUT
        return load_readout(path) if path.is_file() else None

    def modes(self, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
        """The modes that it can be measured in, those wanted of them."""
        return tuple(mode for mode in modes_of(self.scheme) if wanted is None or mode in wanted)


def subject_of(name: str, seed: int, path: Path, *, label: str, window: int | None) -> Subject:
    """A checkpoint in a directory, wherever it was made."""
    return Subject(
        name=name,
        seed=seed,
        label=label,
        path=path,
        key=checkpoint_digest(path),
        window=window or context_of(path),
    )


def checkpoint_digest(path: Path) -> str:
    """A digest of all that a model's answers depend on."""
    names = [
        *("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
        *("valence.json", READOUT),
    ]
    if not (path / "valence.json").is_file():
        names.append("generation_config.json")  # Where texts of others end; ours end with EOS.
    files = [path / name for name in names if (path / name).is_file()]
    return digest_files([*files, *sorted(path.glob("*.safetensors"))])


def context_of(path: Path, most: int = LONGEST_WINDOW) -> int:
    """How many tokens of context a model has, or `most` if it has more."""
    config = AutoConfig.from_pretrained(path, local_files_only=True).get_text_config()
    return min(getattr(config, "max_position_embeddings", None) or UNBOUNDED, most)
