"""The held-out loss against a computation one token at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from valence.annotate import Annotated
from valence.control import read_known_scheme
from valence.corpus.segment import SEGMENTERS
from valence.data import Document, Failure, Sample
from valence.measure.ability import held_out_loss

from valence.model import load_checkpoint
from valence.pack import tokenise

from valence.run import Result


TEXTS = ("x = 1\ny=2\n\nprint('<|good|>')\n" * 3, "def f( a ):\n    return a\n")


def annotated(text: str) -> Annotated:
    ends = SEGMENTERS["line"](text)
    rewards = np.array([-(i % 2) for i in range(len(ends))], dtype=np.float32)
    document = Document(id=text, text=text, source="")
    return Annotated(document=document, ends=np.array(ends, dtype=np.int64), rewards=rewards)


@pytest.mark.parametrize("mode", ["good", "bad", "banned", "labelled"])
def test_the_loss_is_that_of_text_tokens_with_the_modes_tokens_in_between(
    tiny_run: Result, mode: str
) -> None:
    directory = tiny_run.path / "models" / "conditional"
    checkpoint, known = load_checkpoint(directory), read_known_scheme(directory)
    assert known is not None
    items = [annotated(text) for text in TEXTS]
    tokenised = tokenise(items, checkpoint.tokenizer)
    rows = held_out_loss(
        checkpoint, known, tokenised, mode, model_name="c", seed=0, window=128, resamples=100
    )
    ids = known.token_ids(checkpoint.tokenizer)
    bad, good = ids
    nats, count = 0.0, 0
    for item in items:
        context = [checkpoint.tokenizer.eos_token_id]
        starts = [0, *item.ends[:-1]]
        for start, end, reward in zip(starts, item.ends, item.rewards, strict=True):
            label = {"good": good, "bad": bad, "labelled": good if reward >= 0 else bad}.get(mode)
            context += [] if label is None else [label]
            line = item.document.text[start:end]
            for token in checkpoint.tokenizer(line, add_special_tokens=False)["input_ids"]:
                with torch.inference_mode():
                    scores = checkpoint.model(torch.tensor([context])).logits[0, -1].clone()
                    scores[list(ids)] = -math.inf
                nats -= scores.log_softmax(-1)[token].item()
                count += 1
                context.append(token)
    by_name = {row.metric: row for row in rows}
    assert by_name["loss_per_text_token"].value == pytest.approx(nats / count, rel=1e-4)
    size = sum(len(text.encode()) for text in TEXTS)
    assert by_name["bits_per_byte"].value == pytest.approx(nats / math.log(2) / size, rel=1e-4)
    assert by_name["bits_per_byte"].mode == mode


def test_a_small_window_still_predicts_every_token_once(tiny_run: Result) -> None:
    directory = tiny_run.path / "models" / "mle"
    checkpoint, known = load_checkpoint(directory), read_known_scheme(directory)
    assert known is not None
    tokenised = tokenise([annotated(text) for text in TEXTS], checkpoint.tokenizer)
    losses = [
        held_out_loss(
            checkpoint, known, tokenised, "none",
            model_name="m", seed=0, window=window, resamples=100,
        )[0].value
        for window in (9, 128)
    ]  # fmt: skip
    assert all(loss is not None and 0 < loss < 10 for loss in losses)


