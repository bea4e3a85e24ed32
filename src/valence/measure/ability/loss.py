"""The loss on held-out text, in each mode, on text tokens alone.

The loss is that of the distribution the model is sampled from: control tokens are put
where the mode puts them and banned everywhere else, and never counted as text. Bits per byte
compare models with other tokenizers: the bytes are those of the text itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from valence.control import NO_BAND, Bands, ControlScheme
from valence.corpus.pairs import row_of
from valence.data import LABELLED, LOSS, Findings, Items
from valence.guide.band import ban
from valence.guide.loop import UNGUIDED
from valence.measure.ability.gap import findings
from valence.model import Checkpoint, end_ids, start_ids
from valence.pack import Tokenised, Units, label_units
from valence.pack.reading import TextRows, rows_of_documents
from valence.precision import Precision, autocast

BATCH = 16
"""Rows that go through the model together, at the most."""
LOGITS = 2**26
"""Scores that are held in memory at once, at the most; a row is never cut."""

PLAIN = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,), level="document")
"""Stands for a scheme where there is none: it places nothing."""

Progress = Callable[[int, int], None]
Nats = npt.NDArray[np.float64]


def text_loss(
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    tokenised: Tokenised,
    mode: str,
    *,
    model_name: str,
    seed: int,
    window: int,
    resamples: int,
    data: str | None = None,
    failures: int = 0,
    precision: Precision = "fp32",
    on_progress: Progress | None = None,
) -> Findings:
    """Loss per text token (nats) and bits per byte of text, intervals over documents.

    Every text token is predicted once, from at most `window` tokens before it in its own
    document. `known` names the control tokens in the vocabulary, if there are any. Metrics of
    the text `data` are called METRIC@`data`. The documents' own numbers are the evidence.
    """
    items = loss_items(
        checkpoint,
        known,
        tokenised,
        mode,
        window=window,
        data=data,
        failures=failures,
        precision=precision,
        on_progress=on_progress,
    )
    return findings(items, model_name=model_name, mode=mode, seed=seed, resamples=resamples)


def loss_items(
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    tokenised: Tokenised,
    mode: str,
    *,
    window: int,
    data: str | None = None,
    failures: int = 0,
    precision: Precision = "fp32",
    on_progress: Progress | None = None,
) -> tuple[Items, Items]:
    """Nats by text token and bits by byte, of each document that the tokenizer can spell.

    Of a document with unknown tokens the bytes would count and what they say would not: it is a
    failure.
    """
    nats = document_nats(
        checkpoint,
        known,
        tokenised,
        mode,
        window=window,
        precision=precision,
        on_progress=on_progress,
    )
    spelt = _spelt(tokenised, checkpoint.tokenizer.unk_token_id)
    every = tokenised.names or tuple(str(number) for number in range(len(nats)))
    names = tuple(name for name, fine in zip(every, spelt, strict=True) if fine)
    failures += len(every) - len(names)
    # The two documents of a pair begin alike, so they are drawn together.
    rows = tuple(row_of(name) for name in names)
    clusters = rows if len(set(rows)) < len(rows) else None
    suffix = "" if data is None else f"@{data}"
    nats = nats[spelt]
    tokens = np.diff(tokenised.documents).astype(np.float64)[spelt]
    of_bytes = tokenised.bytes.astype(np.float64)[spelt]
    return (
        Items(
            metric=LOSS + suffix,
            names=names,
            tops=tuple(nats.tolist()),
            bottoms=tuple(tokens.tolist()),
            clusters=clusters,
            failures=failures,
        ),
        Items(
            metric=f"bits_per_byte{suffix}",
            names=names,
            tops=tuple((nats / math.log(2)).tolist()),
            bottoms=tuple(of_bytes.tolist()),
            clusters=clusters,
            failures=failures,
        ),
    )


def _spelt(tokenised: Tokenised, unknown: int | None) -> npt.NDArray[np.bool_]:
    """Whether each document [D] is without unknown tokens."""
    before = np.concatenate([[0], np.cumsum(tokenised.ids == unknown)])
    found: npt.NDArray[np.bool_] = np.diff(before[tokenised.documents]) == 0
    return found


def document_nats(
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    tokenised: Tokenised,
    mode: str,
    *,
    window: int,
    precision: Precision = "fp32",
    on_progress: Progress | None = None,
) -> Nats:
    """-log p of each document's text tokens together [D], in nats."""
    control_ids = known.token_ids(checkpoint.tokenizer) if known is not None else ()
    scheme = checkpoint.scheme or known or PLAIN
    rows = rows_of_documents(
        tokenised,
        scheme,
        mode_bands(checkpoint.scheme, label_units(tokenised, scheme), mode),
        control_ids,
        start_ids=start_ids(checkpoint.tokenizer),
        end_ids=end_ids(checkpoint.tokenizer),
        block=window,
    )
    places = np.arange(1, rows.texts.shape[1] + 1)
    widths = (rows.texts * places).max(axis=1)
    order = np.argsort(-widths, kind="stable")
    size = checkpoint.model.get_output_embeddings().weight.shape[0]
    nats = np.zeros(len(tokenised.documents) - 1)
    done = 0
    while done < len(order):
        # Rows of one length go together, and what stands after their text is not read.
        width = max(int(widths[order[done]]), 1)
        part = order[done : done + max(min(BATCH, LOGITS // (width * size)), 1)]
        losses = _token_losses(checkpoint, rows, part, width, control_ids, precision)
        np.add.at(nats, rows.owners[part], losses.sum(axis=1))
        done += len(part)
        if on_progress is not None:
            on_progress(done, len(order))
    return nats


def mode_bands(scheme: ControlScheme | None, units: Units, mode: str) -> Bands:
    """The band [U] that a mode asks for, for each labelled unit of a given text."""
    if scheme is None or mode in UNGUIDED:
        return np.full_like(units.bands, NO_BAND)
    if mode == LABELLED:
        return units.bands
    return np.full_like(units.bands, scheme.band_of_mode(mode))


def _token_losses(
    checkpoint: Checkpoint,
    rows: TextRows,
    part: npt.NDArray[np.int64],
    width: int,
    control_ids: tuple[int, ...],
    precision: Precision,
) -> Nats:
    """-log p of each position's target [B, T], the control tokens banned; 0 if it is no text."""
    device = checkpoint.model.device
    ids_BT, targets_BT = (
        torch.from_numpy(array[part, :width].astype(np.int64)).to(device)
        for array in (rows.ids, rows.targets)
    )
    banned = torch.tensor(control_ids, dtype=torch.long, device=device)
    # Only text targets are counted; elsewhere any label will do that has a probability.
    texts_BT = torch.from_numpy(rows.texts[part, :width]).to(device)
    targets_BT = torch.where(texts_BT, targets_BT, ids_BT.new_tensor(0))
    with torch.inference_mode():
        with autocast(precision, device):
            # A row holds one document and what fills it up stands behind: so the model's own
            # masks will do, and windows, biases and states without attention are as they are.
            logits_BTV = checkpoint.model(input_ids=ids_BT, use_cache=False).logits.float()
        log_NV = ban(logits_BTV.flatten(0, 1), banned, checkpoint.tokenizer.eos_token_id)
        losses = -log_NV.gather(1, targets_BT.flatten()[:, None]).view(targets_BT.shape)
        # A place that is not counted may have any loss, infinity too.
        return torch.where(texts_BT, losses, 0.0).double().cpu().numpy()
