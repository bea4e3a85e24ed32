"""Adapters and the head they are trained through: same model before, same outputs merged."""

from __future__ import annotations

import warnings
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import byte_fallback, seeded, tiny_gpt2, tiny_llama, tiny_phi
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    PreTrainedModel,
)

from valence.control import ControlScheme
from valence.errors import MissingExtraError, ModelError
from valence.model import (
    add_adapter,
    backbone,
    check_plain_head,
    extend_tokenizer,
    extend_vocabulary,
    head_weight,
    merge_adapter,
    save_checkpoint,
)
from valence.recipe import AdapterRecipe

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
SIZE = len(byte_fallback())
IDS = (SIZE, SIZE + 1)
TEXT = torch.tensor([[1, IDS[1], 270, 280, 290, IDS[0], 271, 2]])
SMALL = {
    "vocab_size": SIZE,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def tied() -> PreTrainedModel:
    return tiny_llama(SIZE, tie_word_embeddings=True)


def untied() -> PreTrainedModel:
    return tiny_llama(SIZE, tie_word_embeddings=False)


def gpt2() -> PreTrainedModel:
    return tiny_gpt2(SIZE)


def extended(make: Any) -> PreTrainedModel:
    model: PreTrainedModel = make()
    assert extend_vocabulary(model, byte_fallback(), SCHEME, seed=0) == IDS
    return model


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=TEXT).logits
    return found


def loss(model: PreTrainedModel) -> torch.Tensor:
    """As the chunked loss computes it: from the last hidden state and the head's weight."""
    positions = torch.arange(TEXT.shape[1])[None]
    hidden = backbone(model)(
        input_ids=TEXT, attention_mask=torch.ones_like(TEXT), position_ids=positions
    ).last_hidden_state
    weight, bias = head_weight(model)
    scores = functional.linear(hidden[0, :-1], weight, bias)
    return functional.cross_entropy(scores, TEXT[0, 1:])


def step(model: PreTrainedModel) -> None:
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.3)
    loss(model).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


@pytest.mark.parametrize("make", [tied, untied, gpt2])
def test_only_the_adapter_and_the_new_rows_train(make: Any) -> None:
    model = extended(make)
    before = logits(model)
    frozen = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    adapted = add_adapter(model, AdapterRecipe(rank=2), IDS, seed=0)
    assert adapted is model
    torch.testing.assert_close(logits(model), before)
    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert all("lora_" in name or "trainable_tokens_delta" in name for name in names)
    rows = [name for name in names if "trainable_tokens_delta" in name]
    assert len(rows) == (2 if make is untied else 1), "a tied head has no rows of its own"
    step(model)
    moved = [name for name in rows if model.get_parameter(name).grad.abs().sum() > 0]
    assert moved == rows
    assert not torch.allclose(logits(model), before, atol=1e-3)
    merged = merge_adapter(model)
    for embedding in (merged.get_input_embeddings(), merged.get_output_embeddings()):
        name = next(n for n, w in merged.named_parameters() if w is embedding.weight)
        torch.testing.assert_close(embedding.weight[:SIZE], frozen[name][:SIZE])
        assert not torch.allclose(embedding.weight[SIZE:], frozen[name][SIZE:])


@pytest.mark.parametrize("make", [tied, untied, gpt2])
def test_a_merged_adapter_is_a_plain_model_with_the_same_outputs(make: Any, tmp_path: Path) -> None:
    model = extended(make)
    kinds = {name: type(module) for name, module in model.named_modules()}
    shares = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    add_adapter(model, AdapterRecipe(rank=2, alpha=8.0), IDS, seed=0)
    for _ in range(3):
        step(model)
    expected = logits(model)
    merged = merge_adapter(model)
    torch.testing.assert_close(logits(merged), expected, atol=1e-5, rtol=1e-5)
    assert {name: type(module) for name, module in merged.named_modules()} == kinds
    assert all(weight.requires_grad for weight in merged.parameters())
    weights = merged.get_input_embeddings().weight, merged.get_output_embeddings().weight
    assert (weights[0] is weights[1]) == shares == merged.config.tie_word_embeddings
    tokenizer = byte_fallback()
    extend_tokenizer(tokenizer, SCHEME)
    save_checkpoint(tmp_path, merged, tokenizer, SCHEME, SCHEME, {})
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(logits(plain), expected, atol=1e-5, rtol=1e-5)
    assert not list(tmp_path.glob("adapter*"))


@pytest.mark.parametrize("make", [tied, untied, gpt2])
@pytest.mark.parametrize("adapter", [False, True])
def test_the_heads_weight_gives_the_models_own_loss_and_gradients(make: Any, adapter: bool) -> None:
    model = extended(make)
    if adapter:
        add_adapter(model, AdapterRecipe(rank=2), IDS, seed=0)
        step(model)
        model.zero_grad()
    check_plain_head(model)
    ours = loss(model)
    ours.backward()  # type: ignore[no-untyped-call]
    trained = {n: w for n, w in model.named_parameters() if w.requires_grad}
    gradients = {name: weight.grad.clone() for name, weight in trained.items()}
    model.zero_grad()
    scores = model(input_ids=TEXT).logits[0, :-1]
    theirs = functional.cross_entropy(scores, TEXT[0, 1:])
    theirs.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(ours, theirs)
    assert gradients
    for name, weight in trained.items():
        torch.testing.assert_close(gradients[name], weight.grad, atol=1e-6, rtol=1e-4)


def test_a_bias_of_the_head_counts_and_is_refused_with_an_adapter() -> None:
    model = extended(lambda: tiny_phi(SIZE))
    check_plain_head(model)
    _, bias = head_weight(model)
    assert bias is model.lm_head.bias
    with pytest.raises(ModelError, match="bias"):
        add_adapter(model, AdapterRecipe(), (3,), seed=0)
    add_adapter(model, AdapterRecipe(), (), seed=0)
    expected = logits(model)
    torch.testing.assert_close(logits(merge_adapter(model)), expected)


def test_the_adapter_depends_on_the_seed_alone_and_leaves_the_global_one_alone() -> None:
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(9)
        expected = torch.rand(1)
        torch.manual_seed(9)
        model = add_adapter(extended(tied), AdapterRecipe(), IDS, seed=seed)
        assert torch.equal(torch.rand(1), expected)
        found.append(next(w for name, w in model.named_parameters() if "lora_A" in name))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_targets_are_those_of_the_recipe() -> None:
    recipe = AdapterRecipe(targets=("q_proj", "down_proj"))
    model = add_adapter(extended(tied), recipe, IDS, seed=0)
    names = {
        n.split(".lora_")[0].rpartition(".")[2] for n, _ in model.named_modules() if "lora_A" in n
    }
    assert names == {"q_proj", "down_proj"}


@pytest.mark.parametrize(
    ("targets", "near"),
    [(("q_proy",), "q_proj"), (("q_proj", "lm_head"), "q_proj"), (("xyz",), "down_proj")],
)
def test_targets_that_are_not_there_are_named_with_near_ones(
    targets: tuple[str, ...], near: str
) -> None:
    model = extended(untied)
    with pytest.raises(ModelError, match="no linear layer") as caught:
        add_adapter(model, AdapterRecipe(targets=targets), IDS, seed=0)
    assert near in str(caught.value.fix)
    assert all(weight.requires_grad for weight in model.parameters())


def test_peft_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    found = util.find_spec
    monkeypatch.setattr(
        "valence.model.adapter.find_spec", lambda name: None if name == "peft" else found(name)
    )
    with pytest.raises(MissingExtraError, match=r"valence\[peft\]"):
        add_adapter(extended(tied), AdapterRecipe(), IDS, seed=0)


def test_pefts_warnings_do_not_leak(capfd: pytest.CaptureFixture[str]) -> None:
    model = extended(gpt2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        merge_adapter(add_adapter(model, AdapterRecipe(), IDS, seed=0))
        merge_adapter(add_adapter(model, AdapterRecipe(), IDS, seed=0))
    assert not caught
    assert "".join(capfd.readouterr()) == ""


def test_plain_heads_pass_and_the_model_is_left_as_it_was() -> None:
    for make in (tied, untied, gpt2):
        model = make().train()
        check_plain_head(model)
        assert model.training
        assert not model.get_output_embeddings()._forward_hooks


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (Gemma2ForCausalLM, Gemma2Config(**SMALL, head_dim=8)),
        (CohereForCausalLM, CohereConfig(**SMALL, logit_scale=0.25)),
        (GraniteForCausalLM, GraniteConfig(**SMALL, logits_scaling=8.0)),
    ],
)
def test_heads_that_cap_or_scale_are_refused_however_small_the_weights(
    kind: Any, shape: Any
) -> None:
    with pytest.raises(ModelError, match="scales or caps"):
        check_plain_head(seeded(kind, shape))


def test_a_gemma_without_caps_passes() -> None:
    check_plain_head(
        seeded(Gemma2ForCausalLM, Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=None))
    )
