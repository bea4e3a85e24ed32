"""Checkpoints: plain Hugging Face directories, good by default, with their scheme beside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from valence.control import ControlScheme, read_about, read_scheme
from valence.errors import MissingFileError, ModelError
from valence.model.create import best_device
from valence.model.tokenizer import set_prefix, start_ids
from valence.store import write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model with its tokenizer and, if it was trained with one, its control scheme.

    `segmenter` is what its control tokens stood before in training; `verdict` says that it was
    taught to judge what was said, after EOS.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    scheme: ControlScheme | None
    segmenter: str
    verdict: bool = False


def generation_defaults(
    tokenizer: PreTrainedTokenizerFast, scheme: ControlScheme | None, known: ControlScheme
) -> GenerationConfig:
    """Defaults for plain `generate()`: sample, never a bad token, the good one allowed.

    A model without a scheme never emits any token of the `known` scheme. The good token
    may be emitted by a conditional model: decoding skips it, and each one renews the
    mode (docs/release-default.md has the measurement).
    """
    ids = known.token_ids(tokenizer)
    banned = ids if scheme is None else [i for band, i in enumerate(ids) if band != scheme.best]
    return GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_p=0.9,
        top_k=0,
        max_new_tokens=256,
        bos_token_id=start_ids(tokenizer)[0],
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        suppress_tokens=list(banned),
    )


def save_checkpoint(
    directory: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    scheme: ControlScheme | None,
    known: ControlScheme,
    facts: dict[str, Any],
) -> None:
    """Write a plain Hugging Face directory, and `valence.json` with the scheme beside it.

    A model with an adapter is merged before (`merge_adapter`).
    """
    set_prefix(tokenizer, scheme)
    model.generation_config = generation_defaults(tokenizer, scheme, known)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    write_json(
        directory / "valence.json",
        {
            "scheme": None if scheme is None else scheme.to_json(),
            "known": known.to_json(),
            **facts,
        },
    )


def load_tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """The tokenizer in a local directory; raises `MissingFileError` or `ModelError`."""
    _must_hold(directory, "tokenizer.json")
    try:
        loaded = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except Exception as error:  # The library raises whatever its parsers do.
        raise _damaged(directory, error) from None
    if not isinstance(loaded, PreTrainedTokenizerFast):
        raise ModelError("needs a fast tokenizer", where=str(directory))
    return loaded


def check_checkpoint(directory: Path) -> None:
    """Raise `MissingFileError` or `ModelError` for what is no checkpoint, its weights unseen."""
    _must_hold(directory, "config.json")
    load_tokenizer(directory)


def load_checkpoint(directory: Path) -> Checkpoint:
    """A checkpoint in eval mode, float32, on the best device.

    Raises `MissingFileError` or `ModelError`.
    """
    _must_hold(directory, "config.json")
    tokenizer = load_tokenizer(directory)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            directory,
            local_files_only=True,
            dtype=torch.float32,
            attn_implementation="sdpa",
            use_safetensors=True,
        )
    except Exception as error:  # The library raises whatever its parsers do.
        raise _damaged(directory, error) from None
    return Checkpoint(
        model=model.eval().to(best_device()),
        tokenizer=tokenizer,
        scheme=read_scheme(directory),
        segmenter=read_about(directory).get("segmenter", "line"),
        verdict=read_about(directory).get("verdict") is not None,
    )


def _must_hold(directory: Path, name: str) -> None:
    if not (directory / name).is_file():
        raise MissingFileError(
            f"not a model directory (no {name})",
            where=str(directory),
            fix="Give a checkpoint directory, for instance runs/demo/models/conditional.",
        )


def _damaged(directory: Path, error: Exception) -> ModelError:
    first_line = str(error).strip().partition("\n")[0]
    return ModelError(
        f"cannot load the model ({type(error).__name__}: {first_line})",
        where=str(directory),
        fix="A file is damaged or from another program: train it again, or copy it anew.",
    )
