"""Tiny models with tokenizers of their own, saved as Hugging Face directories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, WordPieceTrainer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

WORDS = [
    "the cat sat on the mat and a dog ran to it",
    "you are kind , and they are bad people who lie all day",
    "one two three four five six seven eight nine ten",
] * 3

CHAT = "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '</s>' }}{% endfor %}"


def word_pieces() -> PreTrainedTokenizerFast:
    """A lowercasing WordPiece tokenizer like BERT's."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(WORDS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def byte_pairs(chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that puts <s> before a text; roles are special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>", "<|user|>", "<|assistant|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(WORDS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        chat_template=chat_template,
        extra_special_tokens=["<|user|>", "<|assistant|>"],
    )


def unigrams(chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """A Unigram tokenizer, which has its control tokens among its pieces, as XLM-R's does."""
    letters = [(letter, -5.0) for letter in "▁abcdefghijklmnopqrstuvwxyz</>|"]
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *letters]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template=chat_template,
    )


def save_bert(directory: Path, labels: Sequence[str], positions: int = 32, **config: Any) -> Path:
    """A BERT classifier whose random weights are large enough to tell texts apart."""
    shape = BertConfig(
        vocab_size=150,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=positions,
        initializer_range=0.3,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        **config,
    )
    return _save(directory, BertForSequenceClassification, shape, word_pieces())


def llama(positions: int = 64, **config: Any) -> LlamaConfig:
    """The shape of a tiny decoder."""
    return LlamaConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=positions,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=1,
        **config,
    )


def save_reward_model(directory: Path, *, template: str | None = CHAT, **config: Any) -> Path:
    """A decoder with one output and, if wanted, a chat template."""
    shape = llama(num_labels=1, **config)
    return _save(directory, LlamaForSequenceClassification, shape, byte_pairs(template))


def save_decoder(directory: Path, **config: Any) -> Path:
    """A language model."""
    return _save(directory, LlamaForCausalLM, llama(**config), byte_pairs())


def _save(directory: Path, kind: Any, shape: Any, tokenizer: PreTrainedTokenizerFast) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind(shape).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
