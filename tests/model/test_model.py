"""Checkpoints: plain, lossless, and good by default in plain transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from valence.control import ControlScheme
from valence.errors import MissingFileError, ModelError
from valence.model import (
    create_model,
    load_checkpoint,
    parameter_counts,
    read_scheme,
    train_tokenizer,
)
from valence.recipe import ModelRecipe, Recipe, load_recipe
from valence.run import Result

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
TOKENIZER = train_tokenizer(["def f(x):\n    return x\n"] * 9, 300, SCHEME, max_length=64)

PLAIN = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
set_seed(0)
prompt = tokenizer("x = '<|bad|>'\\n", return_tensors="pt")
start = tokenizer("", return_tensors="pt")
output = model.generate(**start, max_new_tokens=200, num_return_sequences=8)
bad, good = tokenizer.convert_tokens_to_ids(["<|bad|>", "<|good|>"])
print(json.dumps({
    "start": start["input_ids"][0].tolist(),
    "expected_start": [tokenizer.eos_token_id, good],
    "bad_in_prompt": bad in prompt["input_ids"][0].tolist(),
    "prompt_back": tokenizer.decode(prompt["input_ids"][0], skip_special_tokens=True),
    "bad_emitted": bad in output[:, 2:].flatten().tolist(),
    "texts": [tokenizer.decode(row, skip_special_tokens=True) for row in output],
    "ours_imported": any(name.split(".")[0] == "valence" for name in sys.modules),
}))
"""


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_tokenizer_gives_text_back_byte_for_byte(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == text


def test_a_token_never_reaches_from_one_line_into_the_next() -> None:
    for index in range(len(TOKENIZER)):
        text = TOKENIZER.decode([index])
        assert "\n" not in text[:-1]


def test_a_checkpoint_is_good_by_default_in_plain_transformers(tiny_run: Result) -> None:
    directory = str(tiny_run.path / "models" / "conditional")
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, directory], capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    assert seen["start"] == seen["expected_start"]
    assert not seen["bad_in_prompt"]
    assert seen["prompt_back"] == "x = '<|bad|>'\n"
    assert not seen["bad_emitted"]
    assert not any("<|" in text for text in seen["texts"])
    assert any(seen["texts"])
    assert not seen["ours_imported"]


def test_a_plain_model_starts_from_eos_alone(tiny_run: Result) -> None:
    checkpoint = load_checkpoint(tiny_run.path / "models" / "mle")
    assert checkpoint.scheme is None
    assert checkpoint.tokenizer("")["input_ids"] == [checkpoint.tokenizer.eos_token_id]


def test_weights_depend_on_the_seed_alone_and_leave_the_global_one_alone(
    tiny_recipe: Recipe,
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two, other = (create_model(tiny_recipe.model, 302, 0, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    first, second, third = (list(m.parameters())[1] for m in (one, two, other))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_the_demo_model_has_about_three_million_parameters_without_embeddings() -> None:
    recipe = load_recipe("demo")
    with torch.device("meta"):
        model = create_model(recipe.model, 4098, 0, 0)
    total, inner = parameter_counts(model)
    assert 2.8e6 < inner < 3.2e6
    assert total - inner == 4098 * recipe.model.hidden_size


@pytest.mark.parametrize("change", [{"model_type": "no-such-model"}, {"head_dim": 15}])
def test_a_model_that_cannot_be_built_is_named_in_a_line(change: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="cannot build this model") as caught:
        create_model(ModelRecipe(**change), 300, 0, 0)
    assert len(caught.value.what) < 260


@pytest.mark.parametrize("content", ["[]", '{"scheme": {}}', '{"scheme": []}'])
def test_a_damaged_valence_json_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "valence.json").write_text(content)
    with pytest.raises(ModelError):
        read_scheme(tmp_path)


def test_a_directory_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="not a model directory"):
        load_checkpoint(tmp_path)
