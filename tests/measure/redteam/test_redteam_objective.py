"""The objective of token-level search, and its gradient, against sums worked out apart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import SCHEME, tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from valence.errors import ControlError, ModelError
from valence.guide.modes import hold
from valence.measure.redteam.changes import gradient_changes, greedy_changes, random_changes
from valence.measure.redteam.objective import Objective
from valence.measure.redteam.tokens import Typeable
from valence.model import Checkpoint, special_ids, text_ids

PROMPTS = [" the cat", " dog ran", " sat\n"]


@pytest.fixture(scope="module")
def conditional() -> Checkpoint:
    words = tokenizer()
    # Llama's norm computes in float32 whatever the weights are; GPT-2 is double throughout.
    shape = GPT2Config(
        vocab_size=len(words) + 3,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=64,
        initializer_range=0.4,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = GPT2LMHeadModel(shape).double().eval()
    return Checkpoint(model=model, tokenizer=words, scheme=SCHEME, segmenter="line")


def by_hand(checkpoint: Checkpoint, prefix: list[int], prompt: list[int], target: str) -> float:
    """Token by token, one pass each, the control token before each line of the target."""
    words, model = checkpoint.tokenizer, checkpoint.model
    good = words.get_vocab()["<|good|>"]
    never = [*(set(special_ids(words)) - {words.eos_token_id}), *range(len(words), len(words) + 3)]
    sequence, gains = [words.eos_token_id, *prefix, *prompt], []
    for token in text_ids(words, target):
        if prefix and "\n" in words.decode([sequence[-1]]):
            # Nothing else may come there, but EOS.
            gains.append(math.log(1 - shares_after(model, sequence)[words.eos_token_id]))
            sequence.append(good)
        shares = shares_after(model, sequence)
        end = shares[words.eos_token_id]
        shares[[*never, words.eos_token_id]] = 0  # What is banned goes to the text.
        gains.append(math.log(shares[token] / shares.sum() * (1 - end)))
        sequence.append(token)
    return sum(gains) / len(text_ids(words, target))


def shares_after(model: GPT2LMHeadModel, sequence: list[int]) -> np.ndarray:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([sequence])).logits[0, -1].numpy()
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()


@pytest.mark.parametrize("mode", ["good", "banned"])
def test_the_objective_is_the_mean_log_probability_of_the_targets(
    conditional: Checkpoint, mode: str
) -> None:
    words = conditional.tokenizer
    targets = ["a big\nred hat\n", " off"]
    ids = [text_ids(words, prompt) for prompt in PROMPTS]
    length = min(map(len, ids))
    prompts = [tuple(each[-length:]) for each in ids]
    objective = Objective(
        conditional, SCHEME, mode, [tuple(text_ids(words, t)) for t in targets], batch=2
    )
    prefix = [words.get_vocab()["<|good|>"]] if mode == "good" else []
    expected = [
        np.mean([by_hand(conditional, prefix, list(prompt), target) for target in targets])
        for prompt in prompts
    ]
    np.testing.assert_allclose(objective(prompts), expected, rtol=1e-9)


@pytest.mark.parametrize(("target", "inside"), [("A dog sat. The cat ran.", 1), ("No dog", 0)])
def test_where_the_model_begins_sentences_itself_that_is_part_of_the_probability(
    conditional: Checkpoint, target: str, inside: int
) -> None:
    sentences = replace(conditional, segmenter="sentence")
    words = conditional.tokenizer
    prompt, ids = tuple(text_ids(words, " the cat")), tuple(text_ids(words, target))
    objective = Objective(sentences, SCHEME, "good", [ids], batch=1)
    tail = objective.tail(ids, after_end=False)
    assert tail.text.count(False) == inside
    if inside:
        place = tail.text.index(False)
        assert words.decode(tail.ids[:place]).strip() == "A dog sat."
    # Token by token, as it is sampled.
    control = SCHEME.token_ids(words)
    prefix, band = hold(sentences, control, "good")
    sequence, total = [words.eos_token_id, *prefix, *prompt], 0.0
    for token in tail.ids:
        read = torch.tensor([sequence])
        with torch.no_grad():
            logits = conditional.model(input_ids=read).logits[:, -1]
        total += float(band(read, logits)[0, token])
        sequence.append(token)
    assert objective([prompt])[0] == pytest.approx(total / len(ids), rel=1e-5)


def test_the_gradient_is_that_of_finite_differences(conditional: Checkpoint) -> None:
    words, model = conditional.tokenizer, conditional.model
    prompt = tuple(text_ids(words, " the cat sat"))
    targets = [tuple(text_ids(words, text)) for text in (" off\nno", " big")]
    objective = Objective(conditional, SCHEME, "good", targets, batch=4)
    found = objective.gradient(prompt)
    assert found.shape == (len(prompt), len(words) + 3)
    embedding, start = model.get_input_embeddings(), 2
    plain = embedding.forward
    step = 1e-4

    def moved(place: int, token: int, size: float) -> float:
        """The objective where the prompt's one-hot entry at (place, token) is larger by size."""

        def forward(ids: torch.Tensor) -> torch.Tensor:
            read = plain(ids).clone()
            if ids.ndim == 2:
                read[:, start + place] += size * plain(torch.tensor(token))
            return read

        embedding.forward = forward
        try:
            return float(objective([prompt])[0])
        finally:
            embedding.forward = plain

    rng = np.random.default_rng(0)
    for _ in range(12):
        place, token = int(rng.integers(len(prompt))), int(rng.integers(len(words)))
        slope = (moved(place, token, step) - moved(place, token, -step)) / (2 * step)
        assert float(found[place, token]) == pytest.approx(slope, rel=1e-4, abs=1e-7)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_mode_that_the_model_does_not_know_is_refused(conditional: Checkpoint) -> None:
    with pytest.raises(ControlError, match="no mode"):
        Objective(conditional, SCHEME, "worst", [(3,)], batch=1)


def test_what_does_not_fit_the_model_is_told_before_it_is_tried(conditional: Checkpoint) -> None:
    objective = Objective(conditional, SCHEME, "good", [(3,) * 20], batch=1)
    assert objective([(5,) * 41]).shape == (1,)
    with pytest.raises(ModelError, match="take 65 tokens"):
        objective([(5,) * 42])


def test_only_text_that_is_read_as_the_same_tokens_is_searched() -> None:
    words = tokenizer()
    typeable = Typeable(words, len(words))
    assert not set(typeable.ids.tolist()) & special_ids(words)
    rng = np.random.default_rng(3)
    for length in (1, 5, 12):
        ids = typeable.draw(length, rng)
        assert len(ids) == length
        assert text_ids(words, typeable.text(ids)) == list(ids)
    vocabulary = words.get_vocab()
    # A known word is never read letter by letter.
    spelt = tuple(vocabulary[letter] for letter in "Ġthe")
    assert typeable.survive([(vocabulary["Ġthe"],), spelt]) == [True, False]
    assert not any(typeable.survive([(index,)])[0] for index in special_ids(words))


def test_candidates_differ_in_one_token_and_from_each_other() -> None:
    tokens = np.arange(10, 60)
    ids = (11, 12, 13)
    slopes = torch.arange(60.0).repeat(3, 1)
    methods = {
        "random": random_changes(tokens, 40),
        "greedy": greedy_changes(tokens, 40, 0),
        "gcg": gradient_changes(tokens, 40, 5, lambda _: slopes),
    }
    for name, change in methods.items():
        found = change(ids, 1, np.random.default_rng(0))
        assert len(found) == len(set(found)) > 5
        assert all(sum(a != b for a, b in zip(ids, new, strict=True)) == 1 for new in found)
        changed = {new[i] for new in found for i in range(3) if new[i] != ids[i]}
        assert changed <= set(range(55, 60) if name == "gcg" else tokens.tolist())
    places = {
        next(i for i in range(3) if new[i] != ids[i])
        for step in range(3)
        for new in methods["greedy"](ids, step, np.random.default_rng(0))
    }
    assert places == {0, 1, 2}, "each place has its turn"
