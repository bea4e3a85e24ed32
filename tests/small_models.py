"""Small models of several families with random weights, and a tokenizer of a few words."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    BloomConfig,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoConfig,
    GptOssConfig,
    Lfm2Config,
    Llama4TextConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)
from transformers.models.auto import AutoModelForCausalLM

from valence.model import Checkpoint

WORDS = 40
EOS = 0

SIZES: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": EOS,
    "eos_token_id": EOS,
    "pad_token_id": EOS,
    "initializer_range": 0.3,
}
ROTARY: dict[str, Any] = {
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
LAYERS = ["sliding_attention", "full_attention"]
EAGER = ("bloom", "gpt_oss", "gpt_neo")
EXPERTS: dict[str, Any] = {"num_local_experts": 3, "num_experts_per_tok": 2}
CONFIGS: dict[str, PreTrainedConfig] = {
    "qwen3": Qwen3Config(**SIZES, **ROTARY),
    "llama": LlamaConfig(**SIZES, **ROTARY),
    "gpt2": GPT2Config(**SIZES, n_positions=64),
    "mistral": MistralConfig(**SIZES, **ROTARY, sliding_window=6),
    "gemma3": Gemma3TextConfig(**SIZES, **ROTARY, sliding_window=6, layer_types=LAYERS),
    "qwen3, sliding": Qwen3Config(
        **SIZES, **ROTARY, use_sliding_window=True, sliding_window=6, max_window_layers=1
    ),
    "gpt_oss": GptOssConfig(**SIZES, **ROTARY, **EXPERTS, sliding_window=6, layer_types=LAYERS),
    "bloom": BloomConfig(**SIZES),
    "gpt_neo": GPTNeoConfig(
        **SIZES,
        attention_types=[[["local", "global"], 1]],
        window_size=6,
        max_position_embeddings=64,
    ),
    "lfm2": Lfm2Config(**SIZES, **ROTARY, layer_types=["conv", "full_attention"]),
    "llama4": Llama4TextConfig(
        **SIZES, **ROTARY, attention_chunk_size=6, num_local_experts=1, intermediate_size_mlp=48
    ),
}


def tokenizer() -> PreTrainedTokenizerFast:
    """Words w1 to w39, and an EOS that also starts a document."""
    words = {"<eos>": EOS} | {f"w{index}": index for index in range(1, WORDS)}
    backend = Tokenizer(WordLevel(words, unk_token="w1"))
    backend.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


def checkpoint(family: str, dtype: torch.dtype = torch.float64) -> Checkpoint:
    """A model with random weights, in float64 so that rounding does not count."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(
            CONFIGS[family],
            attn_implementation="eager" if family in EAGER else "sdpa",
            # The grouped matrix product knows no float64.
            **({"experts_implementation": "eager"} if family == "gpt_oss" else {}),
        )
    return Checkpoint(
        model=model.to(dtype).eval(), tokenizer=tokenizer(), scheme=None, segmenter="line"
    )
