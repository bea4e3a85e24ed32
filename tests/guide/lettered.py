"""A small model over letters and words, with control tokens that mean something to it."""

from __future__ import annotations

from functools import cache

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from valence.control import ControlScheme
from valence.model import Checkpoint, train_tokenizer

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
TEXT = "the cat sat on the mat\nand the dog ran off. no one saw it go.\nit was a big red hat\n"


@cache
def words() -> PreTrainedTokenizerFast:
    return train_tokenizer([TEXT] * 4, 290, SCHEME, max_length=128)


@cache
def lettered(
    *, conditional: bool = True, lines: float = 3.0, window: int | None = None
) -> Checkpoint:
    """Random weights in float64; line breaks are made likely, so that there are segments.

    With a `window` the second of two layers slides.
    """
    tokenizer = words()
    shape = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=48,
        max_position_embeddings=160,
        initializer_range=0.4,
        tie_word_embeddings=False,
        use_sliding_window=window is not None,
        sliding_window=window,
        max_window_layers=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Qwen3ForCausalLM(shape).double().eval()
    with torch.no_grad():
        head = model.get_output_embeddings()
        size = head.weight.shape[1]
        head.bias = torch.nn.Parameter(torch.zeros(head.weight.shape[0], dtype=torch.float64))
        for token, text in enumerate(tokenizer.batch_decode([[i] for i in range(len(tokenizer))])):
            head.bias[token] += lines if "\n" in text else 0.0
        head.bias[tokenizer.eos_token_id] -= 1.0
        assert size == 32
    return Checkpoint(
        model=model,
        tokenizer=tokenizer,
        scheme=SCHEME if conditional else None,
        segmenter="line",
        verdict=True,
    )
