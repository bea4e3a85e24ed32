"""What a model can do: the loss on held-out text, in each mode, on text tokens alone.

The loss is that of the distribution the model is sampled from: control tokens are put
where the mode puts them and banned everywhere else, and never counted as text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from valence.control import NO_BAND, Bands, ControlScheme
from valence.data import Measurement
from valence.guide.loop import UNGUIDED
from valence.measure.statistics import ratio
from valence.model import Checkpoint
from valence.pack import Tokenised, Units, interleave, label_units, place
from valence.precision import Precision, autocast

LABELLED = "labelled"
"""The mode in which every segment has its true token: what training looked like."""

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

    Every text token is predicted once, from at most `window` - 1 tokens before it in its
    own document.
    """
    control_ids = known.token_ids(checkpoint.tokenizer)
    units = label_units(tokenised, known)
    bands = mode_bands(checkpoint.scheme, units, mode)
    eos_id = checkpoint.tokenizer.eos_token_id
    stream, is_text = interleave(tokenised, units, bands, eos_id, control_ids)
    begins = np.flatnonzero(stream == eos_id)
    nats = np.zeros(len(begins))
    windows = list(_windows(begins, len(stream), window))
    device = checkpoint.model.device
    for done in range(0, len(windows), 16):
        group = windows[done : done + 16]
        batch = np.full((len(group), window), stream[0], dtype=np.int64)
        counted = np.zeros((len(group), window), dtype=np.bool_)
        for row, (_, start, end) in enumerate(group):
            batch[row, : end - start] = stream[start:end]
            counted[row, 1 : end - start] = is_text[start + 1 : end]
        ids_BT = torch.from_numpy(batch).to(device)
        losses = _token_losses(checkpoint, ids_BT, control_ids, precision)
        for row, (document, _, _) in enumerate(group):
            nats[document] += losses[row][counted[row]].sum()
        if on_progress is not None:
            on_progress(min(done + 16, len(windows)), len(windows))
    tokens = np.diff(tokenised.documents).astype(np.float64)
    measured = {
        "loss_per_text_token": ratio(
            nats.tolist(), tokens.tolist(), resamples=resamples, seed=seed
        ),
        "bits_per_byte": ratio(
            (nats / math.log(2)).tolist(), tokenised.bytes.tolist(), resamples=resamples, seed=seed
        ),
    }
    return [
        e.measurement(model=model_name, mode=mode, metric=metric, failures=0, seed=seed)
        for metric, e in measured.items()
    ]


def mode_bands(scheme: ControlScheme | None, units: Units, mode: str) -> Bands:
    """The band [U] that a mode puts before each labelled unit of a given text."""
    if scheme is None or mode in UNGUIDED:
        return np.full_like(units.bands, NO_BAND)
    if mode == LABELLED:
        return place(units, units.bands, scheme)
    return place(units, np.full_like(units.bands, scheme.band_of_mode(mode)), scheme)


def _windows(
    begins: npt.NDArray[np.int64], length: int, window: int
) -> Iterator[tuple[int, int, int]]:
    """(document, start, end) of windows that overlap by one token, so none goes unpredicted."""
    for document, (start, end) in enumerate(
        zip(begins.tolist(), [*begins[1:].tolist(), length], strict=True)
    ):
        for left in range(start, max(end - 1, start + 1), window - 1):
            yield document, left, min(left + window, end)


def _token_losses(
    checkpoint: Checkpoint, ids_BT: torch.Tensor, control_ids: tuple[int, ...], precision: Precision
) -> npt.NDArray[np.float32]:
    """-log p of each token [B, T] given those before it; 0 for the first."""
    targets = ids_BT[:, 1:]
    banned = torch.tensor(control_ids, device=ids_BT.device)
    # A control token that stands in the context is not predicted; any label will do there.
    targets = torch.where(torch.isin(targets, banned), 0, targets)
    with torch.inference_mode():
        with autocast(precision, ids_BT.device):
            logits_BTV = checkpoint.model(input_ids=ids_BT).logits.float()
        logits_BTV[:, :, banned] = -math.inf
        losses = functional.cross_entropy(
            logits_BTV[:, :-1].flatten(0, 1), targets.flatten(), reduction="none"
        ).view(targets.shape)
        return functional.pad(losses, (1, 0)).cpu().numpy()
