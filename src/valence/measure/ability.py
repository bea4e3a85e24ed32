"""What a model can do: the loss on held-out text, in each mode, on text tokens alone.

The loss is that of the distribution the model is sampled from: control tokens are put
where the mode puts them and banned everywhere else, and never counted as text.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from valence.control import NO_BAND, Bands, ControlScheme
from valence.data import LOSS, Measurement
from valence.guide.loop import UNGUIDED
from valence.measure.statistics import ratio
from valence.model import Checkpoint, end_ids, start_ids
from valence.pack import Tokenised, Units, label_units, positions_and_mask
from valence.pack.reading import TextRows, rows_of_documents
from valence.precision import Precision, autocast

LABELLED = "labelled"
"""The mode in which every segment has its true token: what training looked like."""

BATCH = 16
"""Rows that go through the model together."""

Progress = Callable[[int, int], None]


def held_out_loss(
    checkpoint: Checkpoint,
    known: ControlScheme,
    tokenised: Tokenised,
    mode: str,
    *,
    model_name: str,
    seed: int,
    window: int,
    resamples: int,
    precision: Precision = "fp32",
    on_progress: Progress | None = None,
) -> list[Measurement]:
    """Loss per text token (nats) and bits per byte of text, intervals over documents.

    Every text token is predicted once, from at most `window` tokens before it in its own
    document.
    """
    control_ids = known.token_ids(checkpoint.tokenizer)
    scheme = checkpoint.scheme or known
    rows = rows_of_documents(
        tokenised,
        scheme,
        mode_bands(checkpoint.scheme, label_units(tokenised, scheme), mode),
        control_ids,
        start_ids=start_ids(checkpoint.tokenizer),
        end_ids=end_ids(checkpoint.tokenizer),
        block=window,
    )
    nats = np.zeros(len(tokenised.documents) - 1)
    for done in range(0, len(rows.ids), BATCH):
        part = slice(done, done + BATCH)
        losses = _token_losses(checkpoint, rows, part, control_ids, precision)
        np.add.at(nats, rows.owners[part], (losses * rows.texts[part]).sum(axis=1))
        if on_progress is not None:
            on_progress(min(done + BATCH, len(rows.ids)), len(rows.ids))
    tokens = np.diff(tokenised.documents).astype(np.float64)
    measured = {
        LOSS: ratio(nats.tolist(), tokens.tolist(), resamples=resamples, seed=seed),
        "bits_per_byte": ratio(
            (nats / math.log(2)).tolist(), tokenised.bytes.tolist(), resamples=resamples, seed=seed
        ),
    }
    return [
        e.measurement(model=model_name, mode=mode, metric=metric, failures=0, seed=seed)
        for metric, e in measured.items()
    ]


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
    part: slice,
    control_ids: tuple[int, ...],
    precision: Precision,
) -> npt.NDArray[np.float64]:
    """-log p of each position's target [B, T], the control tokens banned."""
    device = checkpoint.model.device
    ids_BT, targets_BT, documents_BT = (
        torch.from_numpy(array[part].astype(np.int64)).to(device)
        for array in (rows.ids, rows.targets, rows.documents)
    )
    banned = torch.tensor(control_ids, device=device)
    # Only text targets are counted; elsewhere any label will do that has a probability.
    texts_BT = torch.from_numpy(rows.texts[part]).to(device)
    targets_BT = torch.where(texts_BT, targets_BT, ids_BT.new_tensor(0))
    positions_BT, mask_B1TT = positions_and_mask(documents_BT, None)
    with torch.inference_mode():
        with autocast(precision, device):
            logits_BTV = checkpoint.model(
                input_ids=ids_BT, attention_mask=mask_B1TT, position_ids=positions_BT
            ).logits.float()
        logits_BTV[:, :, banned] = -math.inf
        losses = functional.cross_entropy(
            logits_BTV.flatten(0, 1), targets_BT.flatten(), reduction="none"
        ).view(targets_BT.shape)
        # A place that is not counted may have any loss, infinity too.
        return torch.where(texts_BT, losses, 0.0).double().cpu().numpy()
