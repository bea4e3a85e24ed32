"""Models that exist: any causal language model in a directory or on the hub, to go on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from valence.control import ControlScheme, read_known_scheme, read_scheme
from valence.errors import ControlError, MissingFileError, ModelError
from valence.model.extend import extend_tokenizer
from valence.model.head import check_plain_head
from valence.recipe import ModelRecipe
from valence.score.pretrained import load_model, load_tokenizer, model_files, resolve


def check_base(recipe: ModelRecipe) -> Path:
    """The directory of the model that `recipe.base` names, when all but its weights is well.

    Only what the user wrote is ever asked of the hub. Raises `MissingFileError`, `ModelError`,
    and `MissingExtraError` for a tokenizer that needs one.
    """
    if recipe.base is None:
        raise ModelError("no model is named", where="model.base", fix="Name one, or create one.")
    directory = resolve(recipe.base, recipe.revision)
    _check_directory(directory)
    model_files(directory)
    rows = _causal_config(directory).get_text_config().vocab_size
    tokenizer = load_tokenizer(directory)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "the tokenizer has no EOS token, so a text could never end",
            where=str(directory),
            fix='Name it in tokenizer_config.json: "eos_token": "...".',
        )
    most = max(tokenizer.get_vocab().values())
    if most >= rows:
        raise ModelError(
            f"the tokenizer has tokens up to {most}, and the model knows {rows} of them",
            where=str(directory),
            fix="The tokenizer belongs to another model: copy the right one into the directory.",
        )
    return directory


def load_base(recipe: ModelRecipe) -> PreTrainedModel:
    """The model that `recipe.base` names, to be trained: float32, on the processor.

    Weights are read from safetensors, and no code that comes with a model is run. Raises
    what `check_base` does, and `ModelError` where the loss could not be computed.
    """
    directory = check_base(recipe)
    model: PreTrainedModel = load_model(directory, "language", "fp32", "cpu")[0]
    _check_looks_back(directory, model)
    check_plain_head(model)
    return model.requires_grad_(True)


def base_shape(recipe: ModelRecipe) -> PreTrainedModel:
    """The model that `recipe.base` names without its weights: for sizes, and to look at early.

    Call it under `torch.device("meta")`. Raises what `check_base` does, and `ModelError` for a
    config that makes no model.
    """
    directory = check_base(recipe)
    config = _causal_config(directory)
    try:
        shape: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # The library raises whatever its models do.
        raise _unknown(directory, error) from None
    return shape


def check_same_tokenizer(shared: ModelRecipe, own: ModelRecipe) -> None:
    """Raise `ModelError` where a model goes on from another base than the run's, whose tokens
    are not the same: all models of a run see the same tokens.
    """
    if own.base is None or (own.base, own.revision) == (shared.base, shared.revision):
        return
    ours = None if shared.base is None else load_tokenizer(check_base(shared)).get_vocab()
    if ours != load_tokenizer(check_base(own)).get_vocab():
        raise ModelError(
            "has other tokens than the models of this run",
            where=own.base,
            fix="Name a base with this tokenizer as the recipe's own `model.base`, or make a run"
            " of its own for this model.",
        )


def load_base_tokenizer(
    recipe: ModelRecipe, scheme: ControlScheme | None = None
) -> PreTrainedTokenizerFast:
    """The tokenizer of the model that `recipe.base` names, and a scheme's control tokens in it.

    It keeps special strings in text as text. Raises what `check_base` and `check_scheme` do.
    """
    directory = check_base(recipe)
    tokenizer = _plain(load_tokenizer(directory))
    if scheme is not None:
        check_scheme(directory, scheme)
        extend_tokenizer(tokenizer, scheme)
    return tokenizer


def check_scheme(directory: Path, scheme: ControlScheme) -> None:
    """Raise `ControlError` where a model to go on from has another control scheme.

    One with the same tokens is used as it is, and its tokens with it. The bounds count as
    well if the model learned what the tokens stand for. A model that was made elsewhere has
    no scheme.
    """
    known, learned = read_known_scheme(directory), read_scheme(directory)
    if known is None:
        return
    if known.tokens != scheme.tokens:
        what = f"the tokens {list(known.tokens)}, and the recipe {list(scheme.tokens)}"
    elif learned is not None and learned.bounds != scheme.bounds:
        what = f"the bounds {list(learned.bounds)}, and the recipe {list(scheme.bounds)}"
    else:
        return
    raise ControlError(
        f"the model to go on from has {what}",
        where=str(directory),
        fix="Give control.tokens and control.bounds as the model has them, or another model.",
    )


def _check_directory(directory: Path) -> None:
    if (directory / "adapter_config.json").is_file():
        raise ModelError(
            "is an adapter, not a model",
            where=str(directory),
            fix="Merge it into its own base model (PEFT: merge_and_unload), save that with"
            " save_pretrained(), and give its directory.",
        )
    if not (directory / "config.json").is_file():
        raise MissingFileError(
            "not a model directory (no config.json)",
            where=str(directory),
            fix="Give the directory of a causal language model.",
        )


def _causal_config(directory: Path) -> Any:
    try:
        config = AutoConfig.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # The library raises whatever its configs do.
        raise _unknown(directory, error) from None
    kinds = config.architectures or []
    language = not kinds or any(kind.endswith(("ForCausalLM", "LMHeadModel")) for kind in kinds)
    if (
        getattr(config, "is_encoder_decoder", False)
        or not language
        or (type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING)
    ):
        raise _not_causal(directory, f"it is a {', '.join(kinds) or config.model_type}")
    return config


def _unknown(directory: Path, error: Exception) -> ModelError:
    first_line = str(error).strip().partition("\n")[0][:200]
    return ModelError(
        f"transformers does not know this model ({type(error).__name__}: {first_line})",
        where=str(directory),
        fix="Update transformers, or give another model; code in a model is never run.",
    )


def _check_looks_back(directory: Path, model: PreTrainedModel) -> None:
    """Encoders can carry a language head too, and no config tells them apart for sure."""
    with torch.no_grad():
        one, two = (
            model.base_model(input_ids=torch.tensor([[0, last]])).last_hidden_state[:, 0]
            for last in (1, 2)
        )
    if not torch.allclose(one, two, rtol=1e-4, atol=1e-5):
        raise _not_causal(directory, "its tokens see later ones")


def _not_causal(directory: Path, why: str) -> ModelError:
    return ModelError(
        f"is no causal language model ({why})",
        where=str(directory),
        fix="Give a decoder that predicts the next token, like Qwen, Llama or GPT-2.",
    )


def _plain(tokenizer: Any) -> PreTrainedTokenizerFast:
    """The same tokenizer in transformers' general class.

    A model's own class may put its own prefix back when it is loaded again, so that the
    good token would be lost.
    """
    named = {
        name: getattr(tokenizer, name)
        for name in ("bos_token", "eos_token", "unk_token")
        if getattr(tokenizer, name) is not None
    }
    extras = [token for token in tokenizer.extra_special_tokens if token not in named.values()]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        **named,
        pad_token=tokenizer.pad_token or tokenizer.eos_token,
        extra_special_tokens=extras,
        chat_template=tokenizer.chat_template,
        model_max_length=tokenizer.model_max_length,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
        padding_side="left",
    )
