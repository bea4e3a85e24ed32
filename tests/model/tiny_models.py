"""Tiny models that exist already, as others save them: foreign tokenizers, heads and sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

LETTERS = "▁abcdefghijklmnopqrstuvwxyzOT.,"
MERGES = [("t", "h"), ("th", "e"), ("▁", "the"), ("▁", "a"), ("▁", "c"), ("▁c", "at"), ("a", "t")]


def byte_fallback(**options: Any) -> PreTrainedTokenizerFast:
    """A tokenizer like Llama 2's: BOS is not EOS, a blank before all, other signs as bytes."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *LETTERS]
    pieces += [left + right for left, right in MERGES]
    merges = sorted(MERGES, key=lambda pair: len("".join(pair)) > 3)
    tokenizer = Tokenizer(
        models.BPE(
            {piece: index for index, piece in enumerate(pieces)},
            merges,
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} | options
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def unigrams() -> PreTrainedTokenizerFast:
    """A tokenizer that has its special tokens among its pieces, and finds them in text."""
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    pieces += [(letter, -5.0) for letter in f"{LETTERS}</>"]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def tiny_llama(rows: int, **config: Any) -> LlamaForCausalLM:
    """A Llama whose weights are large enough that its rows can be told apart."""
    shape = LlamaConfig(
        vocab_size=rows,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=96,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
        **config,
    )
    return seeded(LlamaForCausalLM, shape)


def tiny_gpt2(rows: int) -> GPT2LMHeadModel:
    shape = GPT2Config(
        vocab_size=rows, n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=0.2
    )
    return seeded(GPT2LMHeadModel, shape)


def tiny_phi(rows: int) -> PhiForCausalLM:
    """A model whose output head has a bias."""
    shape = PhiConfig(
        vocab_size=rows,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.2,
        resid_pdrop=0.1,
    )
    model = seeded(PhiForCausalLM, shape)
    torch.nn.init.normal_(model.lm_head.bias, generator=torch.Generator().manual_seed(1))
    return model


def seeded(kind: Any, shape: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(shape).eval()


def save_base(
    directory: Path,
    model: PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> Path:
    """A model directory as it lies on the hub; without arguments a Llama with byte fallback."""
    tokenizer = tokenizer or byte_fallback()
    (model or tiny_llama(len(tokenizer))).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
