"""The loss on text is that of the model itself, however its layers look at what was said."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from tiny_checkpoints import TEXT, tiny_checkpoint
from transformers import AutoConfig, AutoModelForCausalLM

from valence.data import Document
from valence.measure.ability import tokenise_text
from valence.measure.ability.loss import document_nats
from valence.model import Checkpoint

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 64,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
    "mistral": {**SMALL, "sliding_window": 8},
    "gemma3_text": {**SMALL, "sliding_window": 8, "query_pre_attn_scalar": 16},
    "mpt": {"d_model": 32, "n_heads": 2, "n_layers": 2},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "alibi": True},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_is_that_of_a_plain_forward(family: str) -> None:
    tokenizer = tiny_checkpoint().tokenizer
    options = {
        "vocab_size": len(tokenizer),
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**FAMILIES[family], **options})
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight *= 4
    checkpoint = Checkpoint(model=model, tokenizer=tokenizer, scheme=None, segmenter="document")
    # Of several lengths, so that some are filled up, and longer than any window.
    texts = [TEXT, "A dog ran.\n", TEXT[:40]]
    tokenised = tokenise_text([Document(id=t, text=t, source="") for t in texts], checkpoint)
    found = document_nats(checkpoint, None, tokenised, "none", window=128)
    bounds = pairwise(tokenised.documents.tolist())
    assert max(len(text) for text in texts) > 8
    for nats, (low, high) in zip(found, bounds, strict=True):
        ids = [tokenizer.eos_token_id, *tokenised.ids[low:high].tolist()]
        with torch.no_grad():
            logs = model(torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)
        own = logs[range(len(ids) - 1), ids[1:]].sum().item()
        assert nats == pytest.approx(-own, rel=1e-4)
