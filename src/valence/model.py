"""Models and tokenizers: create, train a vocabulary, save, load.

A checkpoint is a plain Hugging Face directory that works without Valence: the tokenizer
puts EOS and the good token first and keeps literal control strings in text as text, and
the generation defaults never emit a worse band's token. `valence.json` beside it keeps
the control scheme for those who do have Valence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from valence.control import ControlScheme, read_about, read_scheme
from valence.errors import MissingFileError, ModelError
from valence.recipe import ModelRecipe
from valence.store import write_json

EOS = "<|endoftext|>"

# A line break ends its token, with the blanks before it, so that a token never reaches
# from one line into the next and a reward per line falls between tokens.
PIECES = (
    r"[^\S\r\n]*(?:\r\n|\r|\n)"
    r"| ?[\p{L}_]+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}_]+"
    r"|[^\S\r\n]+(?!\S)|[^\S\r\n]+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model with its tokenizer and, if it was trained with one, its control scheme.

    `segmenter` is what its control tokens stood before in training.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    scheme: ControlScheme | None
    segmenter: str


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, scheme: ControlScheme, *, max_length: int
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with `vocab_size` tokens, EOS among them, and control tokens.

    Lossless: decoding gives back the text byte for byte. Text that spells a special
    token is split like any other text.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        bos_token=EOS,
        pad_token=EOS,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
        padding_side="left",
    )
    scheme.add_to(wrapped)
    return wrapped


def text_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Token ids of a text alone: nothing is put before it and no special token comes of it."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def set_prefix(tokenizer: PreTrainedTokenizerFast, scheme: ControlScheme | None) -> None:
    """Make the tokenizer put EOS, and for a conditional model the good token, before a text."""
    prefix = [EOS] if scheme is None else [EOS, scheme.tokens[scheme.best]]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join([*prefix, "$A"]),
        special_tokens=[(token, tokenizer.convert_tokens_to_ids(token)) for token in prefix],
    )


def create_model(recipe: ModelRecipe, vocabulary: int, eos_id: int, seed: int) -> PreTrainedModel:
    """A model with fresh, seeded weights; raises `ModelError` for an unknown class or shape."""
    fields = recipe.model_dump()
    try:
        config = AutoConfig.for_model(
            fields.pop("model_type"),
            vocab_size=vocabulary,
            bos_token_id=eos_id,
            eos_token_id=eos_id,
            pad_token_id=eos_id,
            **fields,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    except Exception as error:  # The library raises whatever its configs do.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelError(
            f"transformers cannot build this model ({' '.join(lines)[:200]})",
            where="model",
            fix="Check model.model_type and the sizes (heads, head_dim, hidden_size).",
        ) from None
    made: PreTrainedModel = model
    return made


def best_device() -> torch.device:
    """The accelerator of this machine, or its processor."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def parameter_counts(model: PreTrainedModel) -> tuple[int, int]:
    """All parameters, and those without the embedding and output matrices."""
    total = sum(weight.numel() for weight in model.parameters())
    embeddings = {id(w): w for e in _embeddings(model) for w in e.parameters()}
    return total, total - sum(weight.numel() for weight in embeddings.values())


def _embeddings(model: PreTrainedModel) -> list[torch.nn.Module]:
    pair = (model.get_input_embeddings(), model.get_output_embeddings())
    return [module for module in pair if module is not None]


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
        bos_token_id=tokenizer.eos_token_id,
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
    """Write a plain Hugging Face directory, and `valence.json` with the scheme beside it."""
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
