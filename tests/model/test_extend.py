"""Control tokens for models that exist: which rows are new, what they hold, what stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import byte_fallback, save_base, tiny_gpt2, tiny_llama, tiny_phi
from transformers import PreTrainedModel

from valence.control import ControlScheme
from valence.errors import ControlError
from valence.model import (
    extend_tokenizer,
    extend_vocabulary,
    load_base,
    load_base_tokenizer,
    load_checkpoint,
    save_checkpoint,
)
from valence.recipe import ModelRecipe

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
SIZE = len(byte_fallback())


def matrices(model: PreTrainedModel) -> list[np.ndarray[Any, Any]]:
    modules = (model.get_input_embeddings(), model.get_output_embeddings())
    return [module.weight.detach().numpy().copy() for module in modules]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("spare", [0, 1, 7])
def test_new_rows_are_the_mean_of_the_old_and_noise_between_them(tied: bool, spare: int) -> None:
    model, tokenizer = tiny_llama(SIZE + spare, tie_word_embeddings=tied), byte_fallback()
    before = matrices(model)
    ids = extend_vocabulary(model, tokenizer, SCHEME, seed=3)
    assert ids == (SIZE, SIZE + 1)
    assert tokenizer.convert_ids_to_tokens(list(ids)) == list(SCHEME.tokens)
    rows = max(SIZE + spare, SIZE + 2)
    assert model.config.vocab_size == rows, "padding is used first, and nothing is lost"
    for at, (old, new) in enumerate(zip(before, matrices(model), strict=True)):
        assert new.shape == (rows, 16)
        np.testing.assert_array_equal(new[:SIZE], old[:SIZE])
        np.testing.assert_array_equal(new[SIZE + 2 :], old[SIZE + 2 :])
        away = (new[list(ids)] - old[:SIZE].mean(axis=0)) / old[:SIZE].std(axis=0, ddof=1)
        noise = 1.0 if at == 0 or tied else 0.01
        assert 0.3 * noise < away.std() < 3 * noise
        assert abs(away).max() < 6 * noise
        assert not np.array_equal(new[ids[0]], new[ids[1]])
    weight, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert (weight is head) == tied == model.config.tie_word_embeddings
    assert model(input_ids=torch.tensor([[1, *ids]])).logits.shape == (1, 3, rows)


def test_new_rows_depend_on_the_seed_alone() -> None:
    found = []
    for seed in (1, 1, 2):
        model = tiny_llama(SIZE)
        torch.manual_seed(len(found))
        ids = extend_vocabulary(model, byte_fallback(), SCHEME, seed=seed)
        found.append(model.get_input_embeddings().weight[list(ids)])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_phi])
def test_other_architectures_are_extended_too(make: Any) -> None:
    model = make(SIZE)
    ids = extend_vocabulary(model, byte_fallback(), SCHEME, seed=0)
    head = model.get_output_embeddings()
    assert head.weight.shape[0] == model.config.vocab_size == SIZE + 2
    if head.bias is not None:
        mean = head.bias[:SIZE].mean()
        torch.testing.assert_close(head.bias[list(ids)], mean.expand(2), atol=0.05, rtol=0)


def test_the_models_own_special_tokens_stay_special() -> None:
    tokenizer = byte_fallback(extra_special_tokens=["<|user|>"])
    extend_tokenizer(tokenizer, SCHEME)
    extend_tokenizer(tokenizer, SCHEME)
    ids = tokenizer.convert_tokens_to_ids(["<|user|>", *SCHEME.tokens])
    assert set(ids) < set(tokenizer.all_special_ids)
    assert tokenizer.decode([SIZE - 1, *ids], skip_special_tokens=True) == tokenizer.decode(
        [SIZE - 1]
    )


@pytest.mark.parametrize("tokens", [("a", "b"), ("<unk>", "<s>"), ("<|bad|>", "the")])
def test_names_that_are_taken_are_refused(tokens: tuple[str, str]) -> None:
    scheme = ControlScheme(tokens=tokens, bounds=(0.0,))
    with pytest.raises(ControlError, match="already has"):
        extend_vocabulary(tiny_llama(SIZE), byte_fallback(), scheme, seed=0)


def test_a_tokenizer_that_was_extended_for_another_model_does_not_hide_what_is_new(
    tmp_path: Path,
) -> None:
    recipe = ModelRecipe(base=str(save_base(tmp_path / "base", tiny_llama(SIZE + 9))))
    tokenizer = load_base_tokenizer(recipe, SCHEME)
    made = []
    for _ in range(2):
        model = load_base(recipe)
        before = matrices(model)[0]
        ids = extend_vocabulary(model, tokenizer, SCHEME, seed=0)
        made.append(matrices(model)[0])
        mean = before[:SIZE].mean(axis=0)
        wide = 6 * before[:SIZE].std()
        np.testing.assert_allclose(made[-1][list(ids)], np.stack([mean, mean]), atol=wide)
        assert not np.array_equal(made[-1][list(ids)], before[list(ids)])
    np.testing.assert_array_equal(made[0], made[1])


def test_a_checkpoint_of_the_same_scheme_keeps_its_trained_rows(tmp_path: Path) -> None:
    model, tokenizer = tiny_llama(SIZE), byte_fallback()
    ids = extend_vocabulary(model, tokenizer, SCHEME, seed=0)
    with torch.no_grad():
        model.get_input_embeddings().weight[list(ids)] = 7.0
    save_checkpoint(tmp_path, model, tokenizer, SCHEME, SCHEME, {"segmenter": "line"})
    recipe = ModelRecipe(base=str(tmp_path))
    again, known = load_base(recipe), load_base_tokenizer(recipe, SCHEME)
    assert extend_vocabulary(again, known, SCHEME, seed=5) == ids
    assert (again.get_input_embeddings().weight[list(ids)] == 7.0).all()
    assert len(known) == len(tokenizer) == again.config.vocab_size
    assert load_checkpoint(tmp_path).scheme == SCHEME


@pytest.mark.parametrize("verdict", [None, {"share": 1.0}])
def test_tokens_that_a_model_of_ours_never_learned_begin_apart(
    tmp_path: Path, verdict: dict[str, float] | None
) -> None:
    """The plain model of a run has the tokens, and rows that training has made all alike."""
    model, tokenizer = tiny_llama(SIZE), byte_fallback()
    ids = list(extend_vocabulary(model, tokenizer, SCHEME, seed=0))
    with torch.no_grad():
        for matrix in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
            matrix[ids] = matrix[ids[0]].clone()
    about = {"segmenter": "line", "verdict": verdict}
    save_checkpoint(tmp_path, model, tokenizer, None, SCHEME, about)
    again = load_base(ModelRecipe(base=str(tmp_path)))
    extend_vocabulary(again, load_base_tokenizer(ModelRecipe(base=str(tmp_path))), SCHEME, seed=1)
    bad, good = again.get_input_embeddings().weight[ids]
    assert torch.equal(bad, good) == (verdict is not None)  # One that judges has learned them.
    old = model.get_input_embeddings().weight[: ids[0]]
    assert torch.equal(again.get_input_embeddings().weight[: ids[0]], old)
