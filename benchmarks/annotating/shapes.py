"""Models of a realistic shape with random weights: speed does not depend on what they know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Spec = dict[str, Any]

NEURAL: dict[str, Callable[[Path], Spec]] = {
    "classifier": lambda folder: {
        "classifier": {"model": str(folder / "encoder"), "label": 1, "device": "cpu"}
    },
    "reward-model": lambda folder: {
        "reward-model": {"model": str(folder / "reward"), "device": "cpu"}
    },
    "logprob": lambda folder: {
        "logprob": {
            "model": str(folder / "decoder"),
            "good_prompt": "A kind answer: ",
            "bad_prompt": "A rude answer: ",
            "device": "cpu",
        }
    },
}
"""What each neural scorer is asked to do with a model of `make_models`."""


def make_models(folder: Path) -> Path:
    """Write an encoder with two labels, one with one, and a decoder, all of 6 layers of 384."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    from valence.corpus.readers import read_corpus
    from valence.data import Document
    from valence.recipe import CorpusRecipe

    texts = (
        item.text
        for item in read_corpus(CorpusRecipe(max_chars=400_000), 0)
        if isinstance(item, Document)
    )
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<pad>", "<s>", "</s>"]
    raw.train_from_iterator(
        [text for text, _ in zip(texts, range(200), strict=False)],
        trainers.BpeTrainer(
            vocab_size=8000,
            special_tokens=special,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        model_max_length=512,
    )
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "intermediate_size": 1536,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
    }
    made = {
        "encoder": BertForSequenceClassification(BertConfig(**shape, num_labels=2)),
        "reward": BertForSequenceClassification(BertConfig(**shape, num_labels=1)),
        "decoder": LlamaForCausalLM(LlamaConfig(**shape, bos_token_id=1, eos_token_id=2)),
    }
    for name, model in made.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder
