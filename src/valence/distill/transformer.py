"""A small transformer as a student: a regression head on the teacher's reward. Needs torch.

What it leaves is a plain Hugging Face directory, to be scored by
`{classifier: {model: DIR, activation: none, bad: false}}`. It starts from a model in a
directory, or from random weights and a tokenizer made from the training texts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from valence.display import Progress, unseen
from valence.distill.examples import Examples
from valence.errors import ModelError

Floats = npt.NDArray[np.float64]
Predict = Callable[[list[bytes]], Floats]

VOCABULARY, LAYERS, HIDDEN = 8192, 2, 128
LENGTH = 128
"""Tokens of a segment that are seen in training; scoring reads longer ones in windows."""

POOL = 32
"""Batches among which texts are sorted by length."""

EPOCHS, BATCH, RATE, WARMUP = 3, 32, 3e-4, 0.1
BASE_RATE = 5e-5
"""The rate where a model is given to start from."""


def fit_transformer(
    train: Examples,
    out: Path,
    *,
    base: str | None,
    seed: int,
    on_progress: Progress = unseen,
) -> Predict:
    """Train, save into the directory `out`, and return what predicts rewards of texts.

    The loss is the squared error on the standardised reward; the head is rescaled afterwards,
    so that the model itself gives the teacher's reward. Raises `ModelError` if `base` cannot
    be loaded.
    """
    import torch

    texts = [text.decode("utf-8", "replace") for text in train.texts]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer, model = _start(texts, base)
        weights = train.weights / train.weights.mean()
        mean = float(np.average(train.rewards, weights=weights))
        spread = float(np.sqrt(np.average((train.rewards - mean) ** 2, weights=weights))) or 1.0
        aims = (train.rewards - mean) / spread
        rate = RATE if base is None else BASE_RATE
        _train(
            model,
            tokenizer,
            texts,
            aims,
            weights,
            rate=rate,
            seed=seed,
            on_progress=on_progress,
        )
    _rescale(model, mean, spread)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return lambda found: _predict(model, tokenizer, found)


def _start(texts: list[str], base: str | None) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if base is None:
        return _small(texts)
    if not os.path.isdir(base):
        raise ModelError(
            "is not a directory", where=base, fix="Give the directory of a Hugging Face model."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"cannot be loaded ({error})", where=base, fix="Give an encoder and its tokenizer."
        ) from None
    return tokenizer, model


def _small(texts: list[str]) -> tuple[Any, Any]:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")}
    inner = Tokenizer(models.BPE())
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.ByteLevel()
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(special.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    inner.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        **special,
        model_max_length=LENGTH,
        model_input_names=["input_ids", "attention_mask"],
    )
    config = BertConfig(
        vocab_size=inner.get_vocab_size(),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=4 * HIDDEN,
        max_position_embeddings=LENGTH,
        num_labels=1,
    )
    return tokenizer, BertForSequenceClassification(config)


def _batches(texts: list[str], rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """Every text once, in batches of similar length, so that little of them is padding."""
    lengths = np.array([len(text) for text in texts])
    order = rng.permutation(len(texts))
    batches = []
    for at in range(0, len(order), POOL * BATCH):
        pool = order[at : at + POOL * BATCH]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[begin : begin + BATCH] for begin in range(0, len(pool), BATCH)]
    for number in rng.permutation(len(batches)):
        yield batches[number]


def _train(
    model: Any,
    tokenizer: Any,
    texts: list[str],
    aims: Floats,
    weights: Floats,
    *,
    rate: float,
    seed: int,
    on_progress: Progress,
) -> None:
    import torch

    rng = np.random.default_rng([seed, 3])
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    total = EPOCHS * (-(-len(texts) // BATCH))
    warm = max(int(WARMUP * total), 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, max(total - step, 1) / total)
    )
    model.train()
    for epoch in range(EPOCHS):
        for number, chosen in enumerate(_batches(texts, rng)):
            on_progress(epoch * total // EPOCHS + number, total)
            given = _encoded(tokenizer, [texts[i] for i in chosen])
            found = model(**given).logits[:, 0].float()
            error = (found - torch.from_numpy(aims[chosen]).float()) ** 2
            loss = (error * torch.from_numpy(weights[chosen]).float()).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


def _encoded(tokenizer: Any, texts: list[str]) -> Any:
    return tokenizer(texts, truncation=True, max_length=LENGTH, padding=True, return_tensors="pt")


def _rescale(model: Any, mean: float, spread: float) -> None:
    """Fold the reward's mean and spread into the last layer."""
    import torch

    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == 1]
    if not layers or layers[-1].bias is None:
        raise ModelError(
            "has no head that can be rescaled", fix="Start from a BERT-like encoder, or none."
        )
    with torch.no_grad():
        layers[-1].weight.mul_(spread)
        layers[-1].bias.mul_(spread).add_(mean)


def _predict(model: Any, tokenizer: Any, texts: list[bytes]) -> Floats:
    import torch

    found = np.zeros(len(texts))
    order = np.argsort([len(text) for text in texts], kind="stable")
    with torch.inference_mode():
        for at in range(0, len(order), 64):
            chosen = order[at : at + 64]
            given = _encoded(tokenizer, [texts[i].decode("utf-8", "replace") for i in chosen])
            found[chosen] = model(**given).logits[:, 0].double().numpy()
    return found
