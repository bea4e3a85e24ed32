"""The decoding loop: against transformers' `generate`, and whatever the batch is."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from small_models import EOS, WORDS, checkpoint, tokenizer
from transformers import GenerationConfig, LogitsProcessor, MambaConfig, MambaForCausalLM

from valence.errors import ModelError
from valence.guide import Ask, Processed, Written, asks_for, generate
from valence.guide.modes import hold
from valence.model import Checkpoint

FAMILIES = [
    *("qwen3", "llama", "gpt2", "mistral", "gemma3", "qwen3, sliding", "gpt_oss"),
    *("bloom", "gpt_neo", "llama4"),
]
PROMPTS = ["", "w3 w4 w5", "w7", "w3 w4 w5", "w9 w8 w7 w6 w5 w4 w3 w2 w1", "w2 w30"]

ready = cache(checkpoint)


def write(used: Checkpoint, asks: list[Ask], **options: object) -> dict[int, Written]:
    found = list(generate(used, None, "none", asks, **({"max_tokens": 12} | options)))  # type: ignore[arg-type]
    assert sorted(number for number, _ in found) == list(range(len(asks)))
    return dict(found)


def plain(used: Checkpoint, prompt: str, new: int, **options: object) -> list[int]:
    """What transformers' own greedy decoding gives for one prompt alone."""
    ids = torch.tensor([[EOS, *used.tokenizer(prompt)["input_ids"]]])
    config = GenerationConfig(
        do_sample=False, max_new_tokens=new, eos_token_id=EOS, pad_token_id=EOS, **options
    )
    out = used.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    return out[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_greedy_decoding_is_that_of_transformers(family: str, dtype: torch.dtype) -> None:
    used = ready(family, dtype)
    asks = asks_for(used.tokenizer, PROMPTS, per_prompt=1, seed=0)
    found = write(used, asks, temperature=0.0, batch=4, max_tokens=20)
    for number, prompt in enumerate(PROMPTS):
        expected = plain(used, prompt, 20)
        ended = EOS in expected
        words = [f"w{token}" for token in expected if token != EOS]
        assert found[number].text.split() == words
        assert (found[number].ended, found[number].tokens) == (ended, len(words))


def with_ends(told: list[int], special: tuple[str, ...]) -> Checkpoint:
    """A model that names ends in its generation config, of a tokenizer with special words."""
    used = checkpoint("qwen3")
    used.model.generation_config.eos_token_id = told
    used.tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return used


def greedy_words() -> list[int]:
    """Words of the greedy texts, the likeliest to come again first."""
    found = write(ready("qwen3"), asks_for(tokenizer(), PROMPTS, per_prompt=1, seed=0),
                  temperature=0.0, max_tokens=20)  # fmt: skip
    words = [int(word[1:]) for text in found.values() for word in text.text.split()[1:]]
    return [word for word, _ in Counter(words).most_common()]


def test_a_text_ends_where_that_of_transformers_does_with_several_ends() -> None:
    ends = greedy_words()[:2]
    used = with_ends([EOS, *ends], tuple(f"w{end}" for end in ends))
    asks = asks_for(tokenizer(), PROMPTS, per_prompt=1, seed=0)
    found, stopped = write(used, asks, temperature=0.0, max_tokens=20), 0
    for number, prompt in enumerate(PROMPTS):
        ids = torch.tensor([[EOS, *tokenizer()(prompt)["input_ids"]]])
        config = GenerationConfig(
            do_sample=False, max_new_tokens=20, eos_token_id=[EOS, *ends], pad_token_id=EOS
        )
        out = used.model.generate(
            ids, attention_mask=torch.ones_like(ids), generation_config=config
        )[0, ids.shape[1] :].tolist()
        words = [token for token in out if token not in (EOS, *ends)]
        assert found[number].text.split() == [f"w{token}" for token in words]
        assert found[number].ended == (out[-1] in (EOS, *ends))
        stopped += out[-1] in ends
    assert stopped


def test_an_end_is_special_and_no_control_token() -> None:
    one, other, third = greedy_words()[:3]
    used = with_ends([EOS, one, other], (f"w{one}", f"w{third}"))
    assert hold(used, (), "none")[1].ends.tolist() == [EOS, one]  # The other is a word of text.
    assert hold(used, (), "none", ends=[third, other])[1].ends.tolist() == sorted([EOS, one, third])
    # A model with control tokens is one of ours: EOS, and what is asked for.
    assert hold(used, (one,), "none")[1].ends.tolist() == [EOS]
    assert hold(used, (one,), "none", ends=[one, third])[1].ends.tolist() == [EOS, third]
    # A special token that ends nothing is banned, as ever.
    assert hold(used, (), "none")[1].banned.tolist() == [third]


@pytest.mark.parametrize("start", [None, (), (3, 4)])
def test_an_ask_may_have_a_start_of_its_own(start: tuple[int, ...] | None) -> None:
    used = ready("qwen3")
    ask = Ask(ids=(5, 6), seed=(0,), start=start)
    (text,) = write(used, [ask], temperature=0.0).values()
    ids = torch.tensor([[*((EOS,) if start is None else start), 5, 6]])
    config = GenerationConfig(
        do_sample=False, max_new_tokens=12, eos_token_id=EOS, pad_token_id=EOS
    )
    out = used.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    expected = [f"w{token}" for token in out[0, ids.shape[1] :].tolist() if token != EOS]
    assert text.text.split() == expected


@pytest.mark.parametrize("family", ["qwen3", "gemma3"])
def test_a_model_that_asks_for_a_static_cache_is_written_from_alike(family: str) -> None:
    used = checkpoint(family)
    assert used.model.generation_config is not None
    used.model.generation_config.cache_implementation = "static"
    asks = asks_for(used.tokenizer, PROMPTS, per_prompt=1, seed=0)
    found = write(used, asks, temperature=0.0, batch=4, max_tokens=20)
    for number, prompt in enumerate(PROMPTS):
        expected = plain(used, prompt, 20, cache_implementation="static")
        assert found[number].text.split() == [f"w{token}" for token in expected if token != EOS]


@settings(deadline=None, max_examples=15)
@given(
    family=st.sampled_from(["qwen3", "gpt2", "mistral", "bloom"]),
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=9),
    batch=st.sampled_from([1, 2, 3, 7, 100]),
    top_p=st.sampled_from([0.5, 0.9, 1.0]),
    max_tokens=st.sampled_from([1, 5, 30]),
)
def test_a_text_depends_on_its_ask_alone(
    family: str, lengths: list[int], batch: int, top_p: float, max_tokens: int
) -> None:
    used = ready(family)
    asks = [
        Ask(ids=tuple(1 + (3 * n + k) % (WORDS - 1) for k in range(n)), seed=(n, k))
        for k, n in enumerate(lengths)
    ]
    options = {"max_tokens": max_tokens, "top_p": top_p}
    together = write(used, asks, batch=batch, **options)
    for number, ask in enumerate(asks):
        assert together[number] == write(used, [ask], **options)[0]


@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_the_batch_does_not_matter_in_float32_either(family: str) -> None:
    used = ready(family, torch.float32)
    asks = asks_for(used.tokenizer, PROMPTS, per_prompt=5, seed=1)
    one, *others = (
        write(used, asks, batch=batch, top_p=0.9, max_tokens=30) for batch in (1, 3, 7, 30)
    )
    assert all(other == one for other in others)
    assert len({each.text for each in one.values()}) > 20
    assert len({each.tokens for each in one.values()}) > 5


@pytest.mark.parametrize("stride", [2, 8])
def test_looking_every_few_steps_only_changes_nothing(
    stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = ready("gpt2")
    asks = asks_for(used.tokenizer, PROMPTS, per_prompt=3, seed=5)
    # The context ends within a stride.
    options = {"max_tokens": 54, "batch": 5, "top_p": 0.9}
    expected = write(used, asks, **options)
    from valence.guide import rows

    plain_init = rows.Rows.__init__

    def strided(self: rows.Rows, *args: object, **given: object) -> None:
        plain_init(self, *args, **given)  # type: ignore[arg-type]
        self.stride = stride

    monkeypatch.setattr(rows.Rows, "__init__", strided)
    assert write(used, asks, **options) == expected


def test_the_frequencies_are_the_models_probabilities() -> None:
    used = ready("qwen3")
    ids = [5, 6]
    with torch.no_grad():
        scores = used.model(input_ids=torch.tensor([[EOS, *ids]])).logits[0, -1]
        first = (scores / 0.7).softmax(-1)
        # Texts of one token and its successor, by the chain rule.
        both = torch.zeros(WORDS, WORDS, dtype=torch.float64)
        for token in range(1, WORDS):
            after = used.model(input_ids=torch.tensor([[EOS, *ids, token]])).logits[0, -1]
            both[token] = first[token] * (after / 0.7).softmax(-1)
    both[EOS] = 0
    both[EOS, 0] = first[EOS]
    draws = 3000
    asks = [Ask(ids=tuple(ids), seed=(9, sample)) for sample in range(draws)]
    found = write(used, asks, temperature=0.7, max_tokens=2, batch=1000)
    counts = torch.zeros(WORDS, WORDS)
    for each in found.values():
        words = [int(word[1:]) for word in each.text.split()]
        counts[tuple([*words, EOS, EOS][:2])] += 1
    expected = both.flatten().numpy() * draws
    seen = counts.flatten().numpy()
    common = expected >= 5
    observed = [*seen[common], seen[~common].sum()]
    wanted = [*expected[common], expected[~common].sum()]
    assert math.isclose(sum(wanted), draws, rel_tol=1e-9)
    assert chisquare(observed, wanted).pvalue > 1e-3


def test_texts_come_as_they_are_finished_and_progress_is_told() -> None:
    used = ready("qwen3")
    asks = asks_for(used.tokenizer, PROMPTS, per_prompt=4, seed=3)
    told: list[tuple[int, int]] = []
    found = list(
        generate(
            used,
            None,
            "none",
            asks,
            max_tokens=40,
            batch=8,
            on_progress=lambda *at: told.append(at),
        )
    )
    assert [number for number, _ in found] != list(range(24))
    assert told[-1] == (24, 24)
    assert told == sorted(told)
    assert list(generate(used, None, "none", [], max_tokens=4)) == []


def test_neither_the_model_nor_the_callers_state_is_touched() -> None:
    used = ready("gpt2")
    used.model.train()
    try:
        state = torch.random.get_rng_state()
        texts = generate(
            used,
            None,
            "none",
            asks_for(used.tokenizer, PROMPTS, per_prompt=1, seed=0),
            max_tokens=9,
        )
        next(texts)
        assert used.model.training
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        rest = dict(texts)
        assert used.model.training
        assert (torch.random.get_rng_state() == state).all()
        assert all(weight.grad is None for weight in used.model.parameters())
    finally:
        used.model.eval()
    # Without dropout.
    expected = write(used, asks_for(used.tokenizer, PROMPTS, per_prompt=1, seed=0), max_tokens=9)
    assert all(expected[number] == each for number, each in rest.items())


def test_processors_see_each_rows_own_tokens() -> None:
    class Backwards(LogitsProcessor):
        """Forces the word before the last one's, and EOS after w1."""

        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            forced = torch.full_like(scores, -math.inf)
            return forced.scatter(1, input_ids[:, -1:] - 1, 0.0)

    used = ready("qwen3")
    asks = asks_for(used.tokenizer, ["w3 w9", "w2", "w1 w1 w5"], per_prompt=1, seed=0)
    found = write(used, asks, guides=[Processed(Backwards())], batch=2)
    assert [found[n].text.split() for n in range(3)] == [
        [f"w{word}" for word in range(start - 1, 0, -1)] for start in (9, 2, 5)
    ]
    assert all(each.ended for each in found.values())


def test_a_prompt_over_the_context_is_named_before_anything_is_written() -> None:
    used = ready("qwen3")
    asks = asks_for(used.tokenizer, ["w1", "w2 " * 60, "w3"], per_prompt=1, seed=0)
    with pytest.raises(ModelError, match=r"w2 w2 .*61 prompt .* 12 new .* context of 64"):
        next(generate(used, None, "none", asks, max_tokens=12))


def test_a_model_without_a_key_value_cache_is_refused() -> None:
    config = MambaConfig(vocab_size=WORDS, hidden_size=16, num_hidden_layers=1, state_size=4)
    used = Checkpoint(
        model=MambaForCausalLM(config).eval(),
        tokenizer=tokenizer(),
        scheme=None,
        segmenter="line",
    )
    with pytest.raises(ModelError, match="no key-value cache"):
        next(generate(used, None, "none", [Ask(ids=(1,), seed=(0,))], max_tokens=3))


def test_a_model_whose_scores_are_not_numbers_is_refused() -> None:
    used = checkpoint("qwen3")
    with torch.no_grad():
        used.model.get_output_embeddings().weight.fill_(math.nan)
    with pytest.raises(ModelError, match="not numbers"):
        next(generate(used, None, "none", [Ask(ids=(1,), seed=(0,))], max_tokens=3))


def test_more_samples_or_prompts_leave_those_before_as_they_were() -> None:
    few = asks_for(tokenizer(), ["w1", "w2"], per_prompt=2, seed=4)
    more = asks_for(tokenizer(), ["w1", "w2", "w3"], per_prompt=3, seed=4)
    assert set(few) <= set(more)
    assert len(set(more)) == 9
    assert asks_for(tokenizer(), ["<eos>"], per_prompt=1, seed=0)[0].ids != (EOS,)
