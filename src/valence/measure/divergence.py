"""How far a model is from a reference model: the Kullback-Leibler divergence on its samples.

KL(reference || model) is the mean over samples of the reference of log p_reference(x) -
log p_model(x). What it costs to have preferences, seen from a strong reference: Korbak et al.
2023 (arXiv 2302.08582, section 4.1), there on 4,096 samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from valence.control import ControlScheme
from valence.data import Findings, Items, Sample
from valence.guide.band import BandProcessor
from valence.measure.ability.gap import findings
from valence.measure.ability.likelihood import (
    Hold,
    Laid,
    Layout,
    Offsets,
    Pass,
    Progress,
    passes,
    read_passes,
)
from valence.model import Checkpoint
from valence.precision import Precision

KL = "kl"
"""Metric: nats per sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLikelihoods:
    """log p of samples [S] by one model in one mode, in nats; None where it has none.

    `tokens` [S] are the model's own tokens that were counted, the end of the text among them
    where the sample has one; `bytes` [S] those of the text. Plain data: `asdict`, `from_json`.
    """

    nats: tuple[float | None, ...]
    tokens: tuple[int, ...]
    bytes: tuple[int, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LogLikelihoods:
        """What `asdict` made, after a journey through JSON."""
        return cls(**{field.name: tuple(data[field.name]) for field in fields(cls)})


def log_likelihoods(
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    mode: str,
    samples: Sequence[Sample],
    *,
    window: int,
    precision: Precision = "fp32",
    on_progress: Progress | None = None,
) -> LogLikelihoods:
    """log p of each sample's text after its prompt, and of its end where it ended.

    Under the distribution that the mode samples from at temperature 1: other special tokens
    have no probability, and where a mode forces its token, to go on instead of ending counts
    too. `window` is how many tokens a pass may read: fewer than a sample has, and its later
    tokens are asked for with less before them than they were written with. `known` names the
    control tokens in the vocabulary, if there are any. The text is tokenised anew, as this model
    would read it: one of several spellings, so that the number is slightly below log p of the
    text. A text that the tokenizer cannot spell, or that the mode cannot produce, has None. Raises
    `ControlError` for a mode the model does not know.
    """
    layout = Layout(checkpoint, known, mode, control="writing")
    eos_id, unknown = checkpoint.tokenizer.eos_token_id, checkpoint.tokenizer.unk_token_id
    laid = layout.lay([sample.prompt + sample.text for sample in samples])
    todo: list[Pass] = []
    owners: list[int] = []
    tokens = []
    for number, (sample, text) in enumerate(zip(samples, laid, strict=True)):
        ids, counted, of_text = _after(sample, text, layout, eos_id)
        tokens.append(of_text)
        parts = passes(ids, counted, window=window, carried=layout.carried)
        todo += parts
        owners += [number] * len(parts)
    sums = np.zeros(len(samples))
    hold = _ending_alike(layout.hold)
    reads = read_passes(checkpoint, todo, hold, precision=precision, on_progress=on_progress)
    np.add.at(sums, owners, [read.nats.sum() for read in reads])
    spelt = [unknown is None or unknown not in text.ids for text in laid]
    return LogLikelihoods(
        nats=tuple(
            float(total) if fine and np.isfinite(total) else None
            for total, fine in zip(sums, spelt, strict=True)
        ),
        tokens=tuple(tokens),
        bytes=tuple(len(sample.text.encode()) for sample in samples),
    )


def divergence(
    reference: LogLikelihoods,
    model: LogLikelihoods,
    *,
    data: str,
    model_name: str,
    mode: str,
    seed: int,
    resamples: int,
) -> Findings:
    """KL(reference || model) with intervals over the reference's samples, in nats.

    Rows `kl@data` (per sample), `kl_per_token@data` (per token of the reference) and
    `kl_per_byte@data`; the samples are the evidence. It is an estimate: on few samples
    it may be below 0. Unbiased if the samples were drawn at temperature 1 without top-p. Where
    the tokenizers differ both models are asked for the same text, each in its own tokens, and a
    sample that was cut off may count another last token. Samples without a log-likelihood
    under one of the two are failures. Raises `ValueError` for different samples.
    """
    if reference.bytes != model.bytes:
        raise ValueError("the reference and the model were not asked for the same samples")
    both = [
        (number, mine - theirs)
        for number, (mine, theirs) in enumerate(zip(reference.nats, model.nats, strict=True))
        if mine is not None and theirs is not None
    ]
    tops = tuple(step for _, step in both)
    bottoms = {
        KL: tuple(1.0 for _ in both),
        f"{KL}_per_token": tuple(float(reference.tokens[n]) for n, _ in both),
        f"{KL}_per_byte": tuple(float(reference.bytes[n]) for n, _ in both),
    }
    items = tuple(
        Items(
            metric=f"{metric}@{data}",
            names=tuple(str(n) for n, _ in both),
            tops=tops,
            bottoms=below,
            failures=len(reference.nats) - len(both),
        )
        for metric, below in bottoms.items()
    )
    return findings(items, model_name=model_name, mode=mode, seed=seed, resamples=resamples)


def _ending_alike(band: BandProcessor) -> Hold:
    """The mode's log-probabilities [K, V] with those of all ends at EOS: a text tells no more."""

    def apply(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        log_KV = band(ids, scores)
        end_K = log_KV[:, band.ends].logsumexp(dim=-1)
        log_KV[:, band.ends] = -math.inf
        log_KV[:, band.eos_id] = end_K
        return log_KV

    return apply


def _after(sample: Sample, text: Laid, layout: Layout, eos_id: int) -> tuple[Offsets, Offsets, int]:
    """The ids of a sample, what is counted of them, and how many of those are no control."""
    ids = text.ids
    own = text.places[text.ends > len(sample.prompt)]
    # What is forced between is part of what the mode does: to go on is not to end.
    begin = int(own[0]) if len(own) else len(ids)
    counted = np.arange(begin, len(ids))
    count = len(own)
    if sample.ended:
        ids = np.append(ids, eos_id)
        counted = np.append(counted, len(ids) - 1)
        count += 1
    return ids, counted, count
