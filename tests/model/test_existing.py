"""Models that exist: what can be gone on from, and what is refused in plain words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import byte_fallback, save_base, seeded, tiny_gpt2, tiny_llama
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertLMHeadModel,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaForSequenceClassification,
    LlamaTokenizer,
    T5Config,
    T5ForConditionalGeneration,
)

from valence.control import ControlScheme
from valence.errors import ControlError, MissingFileError, ModelError
from valence.model import (
    check_base,
    check_scheme,
    extend_vocabulary,
    load_base,
    load_base_tokenizer,
    save_checkpoint,
    start_ids,
    text_ids,
)
from valence.recipe import ModelRecipe

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
SIZE = len(byte_fallback())


def base(directory: Path) -> ModelRecipe:
    return ModelRecipe(base=str(directory))


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_a_model_of_others_is_loaded_to_be_trained(make: Any, tmp_path: Path) -> None:
    made = make(SIZE)
    save_base(tmp_path, made.to(torch.bfloat16))
    model = load_base(base(tmp_path))
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert all(weight.requires_grad for weight in model.parameters())
    assert model.config._attn_implementation == "sdpa"
    for name, weight in made.named_parameters():
        assert torch.equal(model.get_parameter(name), weight.float())


def test_its_tokenizer_keeps_special_strings_in_text_as_text(tmp_path: Path) -> None:
    tokenizer = load_base_tokenizer(base(save_base(tmp_path)), SCHEME)
    assert tokenizer.split_special_tokens
    assert tokenizer.pad_token == tokenizer.eos_token == "</s>"
    assert start_ids(tokenizer) == (1,)
    assert tokenizer.decode(text_ids(tokenizer, "the </s> <|bad|>")) == "the </s> <|bad|>"
    assert SCHEME.token_ids(tokenizer) == (SIZE, SIZE + 1)


def test_a_class_of_its_own_does_not_bring_its_prefix_back(tmp_path: Path) -> None:
    general = byte_fallback()
    state = json.loads(general.backend_tokenizer.to_str())["model"]
    llama = LlamaTokenizer(
        vocab=state["vocab"], merges=[tuple(pair) for pair in state["merges"]], add_bos_token=True
    )
    save_base(tmp_path / "base", tokenizer=llama)
    path = tmp_path / "base" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"add_bos_token": True}))
    recipe = base(tmp_path / "base")
    model, tokenizer = load_base(recipe), load_base_tokenizer(recipe, SCHEME)
    extend_vocabulary(model, tokenizer, SCHEME, seed=0)
    save_checkpoint(tmp_path / "out", model, tokenizer, SCHEME, SCHEME, {})
    again = load_base_tokenizer(base(tmp_path / "out"), SCHEME)
    good = SCHEME.token_ids(again)[1]
    assert again("the")["input_ids"][:2] == [1, good]


def refused(directory: Path, match: str) -> ModelError:
    with pytest.raises(ModelError, match=match) as caught:
        load_base(base(directory))
    with pytest.raises(ModelError, match=match):
        check_base(base(directory))
    assert str(directory) in str(caught.value)
    assert caught.value.fix
    return caught.value


def test_no_directory_and_no_model_in_it(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such model directory"):
        load_base(base(tmp_path / "not" / "here"))
    with pytest.raises(MissingFileError, match=r"no config\.json"):
        load_base(base(tmp_path))


def test_pickles_alone(tmp_path: Path) -> None:
    save_base(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    refused(tmp_path, "only as pickles")


def test_an_adapter(tmp_path: Path) -> None:
    save_base(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    refused(tmp_path, "is an adapter")


def bert() -> Any:
    return seeded(
        BertForMaskedLM,
        BertConfig(
            vocab_size=SIZE,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        ),
    )


def t5() -> Any:
    return seeded(
        T5ForConditionalGeneration,
        T5Config(vocab_size=SIZE, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2),
    )


def classifier() -> Any:
    return seeded(LlamaForSequenceClassification, tiny_llama(SIZE).config)


@pytest.mark.parametrize("make", [bert, t5, classifier])
def test_other_kinds_of_models(make: Any, tmp_path: Path) -> None:
    save_base(tmp_path, make())
    assert type(make()).__name__ in refused(tmp_path, "no causal language model").what


def test_an_encoder_with_a_language_head(tmp_path: Path) -> None:
    save_base(tmp_path, seeded(BertLMHeadModel, bert().config))
    with pytest.raises(ModelError, match="see later ones"):
        load_base(base(tmp_path))


def test_a_tokenizer_without_eos(tmp_path: Path) -> None:
    save_base(tmp_path, tokenizer=byte_fallback(eos_token=None))
    refused(tmp_path, "no EOS")


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    save_base(tmp_path, tiny_llama(SIZE - 1))
    refused(tmp_path, "belongs to another model|tokens up to")


def test_a_model_that_transformers_does_not_know(tmp_path: Path) -> None:
    save_base(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "no-such-model"}')
    refused(tmp_path, "does not know this model")


def test_a_head_that_the_loss_cannot_follow(tmp_path: Path) -> None:
    shape = Gemma2Config(
        vocab_size=SIZE,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
    )
    save_base(tmp_path, seeded(Gemma2ForCausalLM, shape))
    with pytest.raises(ModelError, match="scales or caps"):
        load_base(base(tmp_path))


@pytest.mark.parametrize("learned", [True, False])
def test_a_checkpoint_of_another_scheme(learned: bool, tmp_path: Path) -> None:
    model, tokenizer = tiny_llama(SIZE), byte_fallback()
    extend_vocabulary(model, tokenizer, SCHEME, seed=0)
    save_checkpoint(tmp_path, model, tokenizer, SCHEME if learned else None, SCHEME, {})
    check_scheme(tmp_path, SCHEME)
    check_scheme(tmp_path, ControlScheme(tokens=SCHEME.tokens, bounds=SCHEME.bounds, dropout=0.5))
    tokens = ControlScheme(tokens=("<|no|>", "<|yes|>"), bounds=(0.0,))
    with pytest.raises(ControlError, match="has the tokens"):
        check_scheme(tmp_path, tokens)
    with pytest.raises(ControlError, match="has the tokens"):
        load_base_tokenizer(base(tmp_path), tokens)
    bounds = ControlScheme(tokens=SCHEME.tokens, bounds=(-1.0,))
    if learned:
        with pytest.raises(ControlError, match="has the bounds"):
            check_scheme(tmp_path, bounds)
    else:
        check_scheme(tmp_path, bounds)


def test_a_model_of_others_has_no_scheme_to_clash_with(tmp_path: Path) -> None:
    check_scheme(save_base(tmp_path), SCHEME)
