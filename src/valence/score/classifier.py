"""A sequence classifier as a reward: the probability of one of its labels, signed.

Each segment is classified by itself. A longer one than the model takes is read in windows
that overlap, so that no text is left out. `detoxify` names the checkpoints of the Detoxify
project (Hanu and Unitary, 2020: github.com/unitaryai/detoxify).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import PositiveInt

from valence.data import Document, Failure, Result, Score, ScorerId, Segment
from valence.errors import ScorerError
from valence.score.network import Network
from valence.score.pretrained import Dtype
from valence.score.protocol import Item
from valence.store import digest

Activation = Literal["auto", "sigmoid", "softmax", "none"]
Numbers = npt.NDArray[np.float64]

LONGEST = 4096
"""Tokens of a window, where the model itself would take more or states no limit."""


class Classifier:
    """Minus the probability of a bad label, or the probability of a good one.

    `model` is a directory or `owner/name` of the Hugging Face hub (`revision` a commit of it).
    `label` is a name or an index; it may be left out where the model has one output. `bad`
    says whether the label is something to avoid. `activation` makes probabilities of the
    model's numbers: `auto` follows the model's configuration (sigmoid for several labels that
    may hold together and for a single output, softmax for labels that exclude each other,
    none for a regression).

    A segment of more than `max_tokens` tokens (if not given: what the model takes, at most
    4,096; the model's own special tokens among them) is read in windows that share `overlap`
    tokens (if not given: a quarter), and has the reward of the `worst` one, because one bad
    passage makes a text bad; or their `mean`. Blank text is scored where the tokenizer makes
    tokens of it; where there are none, the segment is a `Failure` of kind "no-tokens".

    `device` is `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; `dtype` what it computes in; `batch`
    how many documents it wants at once. Rewards depend on what else is in a batch by rounding
    only. Raises `ScorerError`, `ModelError`, `MissingFileError`.
    """

    def __init__(
        self,
        *,
        model: str,
        label: int | str | None = None,
        bad: bool = True,
        activation: Activation = "auto",
        max_tokens: PositiveInt | None = None,
        overlap: int | None = None,
        windows: Literal["worst", "mean"] = "worst",
        revision: str | None = None,
        device: str = "auto",
        dtype: Dtype = "auto",
        batch: PositiveInt = 64,
        name: str = "classifier",
    ) -> None:
        self._network = Network(model, "classifier", device=device, dtype=dtype, revision=revision)
        self.device, self.batch = self._network.device, batch
        labels = _labels(self._network.config)
        self._index = _index(labels, label)
        self._activation = _activation(self._network.config, activation)
        self._sign = -1.0 if bad else 1.0
        self._worst = windows == "worst"
        around = len(self._network.prefix) + len(self._network.suffix)
        self._size = window_tokens(self._network.limit, max_tokens, LONGEST) - around
        self._overlap = self._size // 4 if overlap is None else overlap
        if not 0 <= self._overlap < self._size:
            raise ScorerError(
                f"windows of {self._size} tokens of text cannot overlap by {self._overlap}",
                where=name,
                fix="Give a smaller `overlap` or a larger `max_tokens`.",
            )
        options = {
            "files": self._network.digest,
            "precision": self._network.precision,
            "label": self._index,
            "sign": self._sign,
            "activation": self._activation,
            "windows": [self._size, self._overlap, windows],
        }
        self.id = ScorerId(name=name, version="1", digest=digest(options))
        self.meaning = _meaning(labels[self._index], model, bad, self._activation, windows)

    @property
    def flops(self) -> float:
        """Floating-point operations so far."""
        return self._network.flops

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """One reward per segment, in order."""
        return self.score_many([(document, segments)])[0]

    def score_many(self, items: Sequence[Item]) -> list[list[Result]]:
        """For each document what `score` gives for it, but for rounding."""
        texts = [
            document.text[segment.start : segment.end]
            for document, segments in items
            for segment in segments
        ]
        results = iter(self._judge(self._network.token_ids(texts)))
        return [[next(results) for _ in segments] for _, segments in items]

    def _judge(self, ids: Sequence[Sequence[int]]) -> list[Result]:
        prefix, suffix = self._network.prefix, self._network.suffix
        sequences, owners = [], []
        for owner, tokens in enumerate(ids):
            for start, end in spans(len(tokens), self._size, self._overlap):
                sequences.append([*prefix, *tokens[start:end], *suffix])
                owners.append(owner)
        outputs = self._network.outputs(sequences).astype(np.float64)
        rewards = self._sign * _activated(outputs, self._activation)[:, self._index]
        found: list[list[float]] = [[] for _ in ids]
        for owner, reward in zip(owners, rewards.tolist(), strict=True):
            found[owner].append(reward)
        return [self._result(of_windows) for of_windows in found]

    def _result(self, rewards: Sequence[float]) -> Result:
        if not rewards:
            return Failure(
                stage="score", kind="no-tokens", message="the tokenizer makes nothing of it"
            )
        value = min(rewards) if self._worst else sum(rewards) / len(rewards)
        if not np.isfinite(rewards).all():
            return Failure(stage="score", kind="not-finite", message=f"the model gave {value}")
        return Score(value=value)


def spans(length: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """Windows (start, end) of `size` that cover `length` tokens; the last ends with the text.

    One of all tokens if they fit, none if there are none.
    """
    if length <= size:
        return [(0, length)] if length else []
    starts = [*range(0, length - size, size - overlap), length - size]
    return [(start, start + size) for start in starts]


def window_tokens(limit: int | None, asked: int | None, longest: int) -> int:
    """Tokens per pass: what was asked for, or the model's limit up to `longest`."""
    if asked is None:
        return longest if limit is None else min(limit, longest)
    if limit is not None and asked > limit:
        raise ScorerError(
            f"the model takes {limit} tokens at most, not {asked}",
            where="max_tokens",
            fix="Leave it out, or give a smaller number.",
        )
    return asked


def _labels(config: Any) -> list[str]:
    names: dict[int, str] = config.id2label
    return [names[index] for index in sorted(names)]


def _index(labels: Sequence[str], label: int | str | None) -> int:
    if label is None and len(labels) == 1:
        return 0
    if isinstance(label, int) and 0 <= label < len(labels):
        return label
    if isinstance(label, str) and labels.count(label) == 1:
        return labels.index(label)
    wrong = "which label counts?" if label is None else f"there is no label {label!r}"
    raise ScorerError(
        f"{wrong} The model has: {', '.join(labels)}",
        where="label",
        fix="Give one of them as `label`, by name or by index, and say with `bad: false` if it"
        " is the one to prefer.",
    )


def _activation(config: Any, asked: Activation) -> Activation:
    single = int(config.num_labels) == 1
    if asked == "softmax" and single:
        raise ScorerError(
            "softmax over a single output is always 1",
            where="activation",
            fix="Use sigmoid or none.",
        )
    if asked != "auto":
        return asked
    by_problem: dict[str, Activation] = {
        "multi_label_classification": "sigmoid",
        "single_label_classification": "sigmoid" if single else "softmax",
        "regression": "none",
    }
    stated = by_problem.get(str(config.problem_type))
    return stated or ("sigmoid" if single else "softmax")


def _activated(outputs: Numbers, activation: Activation) -> Numbers:
    """Probabilities, or the numbers themselves [N, labels]."""
    if activation == "sigmoid":
        # In this form a large negative number does not overflow.
        return 0.5 * (1.0 + np.tanh(0.5 * outputs))
    if activation == "softmax":
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float64)
    return outputs


def _meaning(label: str, model: str, bad: bool, activation: Activation, windows: str) -> str:
    what = "output" if activation == "none" else "probability"
    scale = "" if activation == "none" else (", -1 to 0" if bad else ", 0 to 1")
    return (
        f"{'minus ' if bad else ''}the {what} of `{label}` by {model}, each segment by itself"
        f"{scale}; the {windows} window of a long one"
    )


DETOXIFY: dict[str, tuple[str, str | None]] = {
    "original": ("unitary/toxic-bert", None),
    "unbiased": ("unitary/unbiased-toxic-roberta", "91650552a4f31b7120c36680cfa47ddd47676b48"),
    "multilingual": (
        "unitary/multilingual-toxic-xlm-roberta",
        "a3d4e66839269e45c5e8491dfa55a53fdaedcdbc",
    ),
}
"""Detoxify's checkpoints on the hub. The main branch of the last two has only pickles; these
are the revisions with the same weights as safetensors, made by the hub's own converter."""

OLDER_NAMES = {
    "toxicity": "toxic",
    "severe_toxicity": "severe_toxic",
    "identity_attack": "identity_hate",
}
"""What Detoxify's labels are called in `original` and `multilingual` on the hub."""


def detoxify(
    *,
    checkpoint: Literal["original", "unbiased", "multilingual"] = "original",
    label: str = "toxicity",
    path: str | None = None,
    windows: Literal["worst", "mean"] = "worst",
    device: str = "auto",
    dtype: Dtype = "auto",
    batch: PositiveInt = 64,
) -> Classifier:
    """Minus the probability of a Detoxify label; labels by Detoxify's own names.

    `path` is a directory with the checkpoint, if it is not to come from the hub. On the hub
    `multilingual` is the first version of 2020, which has the one label `toxicity`.
    """
    repository, revision = DETOXIFY[checkpoint]
    return Classifier(
        model=repository if path is None else path,
        revision=revision if path is None else None,
        label=label if checkpoint == "unbiased" else OLDER_NAMES.get(label, label),
        bad=True,
        activation="sigmoid",
        windows=windows,
        device=device,
        dtype=dtype,
        batch=batch,
        name=f"detoxify-{checkpoint}",
    )
