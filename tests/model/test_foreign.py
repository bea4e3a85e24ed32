"""A model of others, from its directory to ours: extended, adapted, saved, plainly usable."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_models import byte_fallback, save_base, unigrams
from tokenizers import AddedToken

from valence.control import ControlScheme
from valence.guide.band import line_end_tokens
from valence.guide.loop import asks_for, generate
from valence.model import (
    Checkpoint,
    add_adapter,
    extend_vocabulary,
    load_base,
    load_base_tokenizer,
    load_checkpoint,
    merge_adapter,
    save_checkpoint,
    special_ids,
)
from valence.recipe import AdapterRecipe, ModelRecipe

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))

PLAIN = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
set_seed(0)
prompt = tokenizer("the <|bad|> cat\\n")["input_ids"]
start = tokenizer("", return_tensors="pt")
output = model.generate(**start, max_new_tokens=64, num_return_sequences=8)
bad, good = tokenizer.convert_tokens_to_ids(["<|bad|>", "<|good|>"])
print(json.dumps({
    "start": start["input_ids"][0].tolist(),
    "expected_start": [tokenizer.bos_token_id, good],
    "bos_is_eos": tokenizer.bos_token_id == tokenizer.eos_token_id,
    "bad_in_prompt": bad in prompt,
    "prompt_back": tokenizer.decode(prompt, skip_special_tokens=True),
    "bad_emitted": bad in output[:, 2:].flatten().tolist(),
    "texts": [tokenizer.decode(row, skip_special_tokens=True) for row in output],
    "ours_imported": any(name.split(".")[0] == "valence" for name in sys.modules),
}))
"""


@pytest.fixture(scope="module", params=[False, True], ids=["full", "adapter"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("foreign")
    recipe = ModelRecipe(base=str(save_base(directory / "base")))
    model, tokenizer = load_base(recipe), load_base_tokenizer(recipe, SCHEME)
    ids = extend_vocabulary(model, tokenizer, SCHEME, seed=0)
    if request.param:
        add_adapter(model, AdapterRecipe(rank=2), ids, seed=0)
    with torch.no_grad():  # Likely control tokens, so that a ban is seen to work.
        for weight in model.parameters():
            if weight.requires_grad and weight.shape == (2, 16):
                weight.mul_(20)
    if request.param:
        model = merge_adapter(model)
    facts = {"segmenter": "line"}
    save_checkpoint(directory / "out", model, tokenizer, SCHEME, SCHEME, facts)
    return directory / "out"


def test_it_is_good_by_default_in_plain_transformers(saved: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(saved)], capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    assert seen["start"] == seen["expected_start"]
    assert not seen["bos_is_eos"]
    assert not seen["bad_in_prompt"]
    assert seen["prompt_back"] == "the <|bad|> cat\n"
    assert not seen["bad_emitted"]
    assert any(seen["texts"])
    assert not any("<|" in text or "<s>" in text for text in seen["texts"])
    assert not seen["ours_imported"]


@pytest.mark.parametrize("mode", ["good", "bad", "banned"])
def test_nothing_but_text_is_written(saved: Path, mode: str) -> None:
    checkpoint = load_checkpoint(saved)
    asks = asks_for(checkpoint.tokenizer, [""], per_prompt=8, seed=1)
    written = dict(generate(checkpoint, SCHEME, mode, asks, max_tokens=40))
    assert len({each.text for each in written.values()}) > 1
    for each in written.values():
        assert not any(token in each.text for token in (*SCHEME.tokens, "<s>", "</s>"))
        assert each.ended or each.tokens == 40


def test_writing_starts_with_bos_and_stops_at_eos(saved: Path) -> None:
    checkpoint = load_checkpoint(saved)
    good = SCHEME.token_ids(checkpoint.tokenizer)[1]
    read: list[torch.Tensor] = []
    hook = checkpoint.model.get_input_embeddings().register_forward_hook(
        lambda _, inputs, output: read.append(inputs[0])
    )
    asks = asks_for(checkpoint.tokenizer, [""], per_prompt=16, seed=0)
    written = dict(generate(checkpoint, SCHEME, "good", asks, max_tokens=60))
    hook.remove()
    start, *after = read
    assert start.tolist() == [[checkpoint.tokenizer.bos_token_id, good]]
    assert any(each.ended for each in written.values()), "some text has ended"
    # What ended is read no more, and nothing special but the forced token is.
    seen = {token for ids in after for token in ids.flatten().tolist()}
    assert not (special_ids(checkpoint.tokenizer) - {good}) & seen
    assert after[-1].shape[0] < 16


def test_a_prompts_continuation_begins_as_it_stands(saved: Path) -> None:
    checkpoint = load_checkpoint(saved)
    blank = checkpoint.tokenizer.convert_tokens_to_ids("▁the")
    rows = checkpoint.model.get_output_embeddings()
    with torch.no_grad():
        bias = torch.zeros(rows.weight.shape[0])
        bias[blank] = 1e4
    hook = rows.register_forward_hook(lambda *args: args[2] + bias)
    asks = asks_for(checkpoint.tokenizer, ["the cat"], per_prompt=1, seed=0)
    ((_, each),) = generate(checkpoint, SCHEME, "good", asks, max_tokens=2)
    hook.remove()
    assert each.text == " the the"


def test_a_model_without_control_tokens_writes_in_mode_none(tmp_path: Path) -> None:
    recipe = ModelRecipe(base=str(save_base(tmp_path)))
    checkpoint = Checkpoint(
        model=load_base(recipe).eval(),
        tokenizer=load_base_tokenizer(recipe),
        scheme=None,
        segmenter="line",
    )
    asks = asks_for(checkpoint.tokenizer, [""], per_prompt=3, seed=0)
    written = dict(generate(checkpoint, None, "none", asks, max_tokens=10))
    assert len(written) == 3 and all(each.text for each in written.values())


@pytest.mark.parametrize("make", [byte_fallback, unigrams])
def test_line_ends_of_foreign_tokenizers(make: object) -> None:
    tokenizer = make()  # type: ignore[operator]
    added = ["\n\n", ".\n", "Ċ", "č"]
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in added])
    size = len(tokenizer) + 5
    ends = line_end_tokens(tokenizer, size)
    found = {tokenizer.convert_ids_to_tokens(int(index)) for index in ends.nonzero()}
    bytes_too = {"<0x0A>", "<0x0D>"} if make is byte_fallback else set()
    assert found == {"\n\n", ".\n"} | bytes_too
    assert ends.shape == (size,)
