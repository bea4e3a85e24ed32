"""Text that is judged, and what a model says of it one prefix at a time."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import PhiConfig, PhiForCausalLM

from valence.annotate import Annotated
from valence.corpus.segment import SEGMENTERS
from valence.data import Document
from valence.model import Checkpoint

NAN = float("nan")
TEXTS = ("x = 1\ny=2\n\nprint('<|good|>')\n" * 2, "def f( a ):\n    return a\n", "z=3\n")
REWARDS = (0.0, -0.5, NAN)


def annotated(text: str) -> Annotated:
    ends = SEGMENTERS["line"](text)
    rewards = np.array([REWARDS[i % 3] for i in range(len(ends))], dtype=np.float32)
    document = Document(id=text, text=text, source="")
    return Annotated(document=document, ends=np.array(ends, dtype=np.int64), rewards=rewards)


def alone(checkpoint: Checkpoint, prefix: list[int], control_ids: Any) -> tuple[Any, float]:
    """The state after [prefix, EOS], and the best band's probability among the bands."""
    ids = torch.tensor([[*prefix, checkpoint.tokenizer.eos_token_id]])
    with torch.inference_mode():
        output = checkpoint.model(ids, output_hidden_states=True)
    probabilities = output.logits[0, -1].double().softmax(-1)[list(control_ids)]
    return output.hidden_states[-1][0, -1], float(probabilities[-1] / probabilities.sum())


def with_a_bias(checkpoint: Checkpoint) -> Checkpoint:
    """Another model, whose head has a bias, and whose documents begin and end with two tokens."""
    tokenizer = deepcopy(checkpoint.tokenizer)
    tokenizer.bos_token = tokenizer.convert_ids_to_tokens(5)
    shape = PhiConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64, initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PhiForCausalLM(shape).eval()
    torch.nn.init.normal_(model.lm_head.bias, generator=torch.Generator().manual_seed(1))
    return replace(checkpoint, model=model, tokenizer=tokenizer)
