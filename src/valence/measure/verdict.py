"""How well a model judges what was said: its verdict after EOS, and read-outs of that state.

After every segment of held-out text a side branch of one EOS token is read: the probability
of the best band's token against the others', and the hidden state there. The text stands
without control tokens, which would give the verdict away.

Legend: N verdicts, D hidden size, C bands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from valence.control import NO_BAND, ControlScheme
from valence.measure.statistics import Estimate, clustered
from valence.model import Checkpoint, backbone, end_ids, head_weight, start_ids
from valence.objective.readout import Kind, Readout
from valence.pack import Tokenised, label_units, positions_and_mask
from valence.pack.reading import rows_of_documents
from valence.precision import Precision, autocast

Floats = npt.NDArray[np.float64]
BATCH = 16
FITTING_STEPS, FITTING_BATCH = 2000, 256
MOST_RESAMPLES = 200
"""A resample sorts all verdicts, and held-out text has tens of thousands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What a model said after each judged segment.

    `states` [N, D] after EOS; `good` [N] the probability of the best band among the bands;
    `bands` [N] the true ones; `documents` [N].
    """

    states: torch.Tensor
    good: Floats
    bands: npt.NDArray[np.int64]
    documents: npt.NDArray[np.int64]


def read_verdicts(
    checkpoint: Checkpoint,
    scheme: ControlScheme,
    text: Tokenised,
    *,
    window: int,
    precision: Precision = "fp32",
) -> Verdicts:
    """The verdicts of a model on text, after every segment with a band.

    A segment that begins in one row of `window` tokens and ends in another has none, and of
    text without any nothing is read: N may be 0.
    """
    states = [torch.zeros(0, checkpoint.model.config.hidden_size)]
    good: list[Floats] = [np.zeros(0)]
    bands, owners = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    control_ids = list(scheme.token_ids(checkpoint.tokenizer))
    for batch, batch_bands, batch_owners in _batches(checkpoint, scheme, text, window):
        batch_states, batch_good = _read(checkpoint, batch, control_ids, scheme.best, precision)
        states.append(batch_states)
        good.append(batch_good)
        bands.append(batch_bands)
        owners.append(batch_owners)
    return Verdicts(
        states=torch.cat(states),
        good=np.concatenate(good),
        bands=np.concatenate(bands),
        documents=np.concatenate(owners),
    )


def _batches(
    checkpoint: Checkpoint, scheme: ControlScheme, text: Tokenised, window: int
) -> Iterator[tuple[dict[str, torch.Tensor], npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Rows with a fork after every judged segment, and the forks' bands and documents."""
    tokenizer, device = checkpoint.tokenizer, checkpoint.model.device
    rows = rows_of_documents(
        text,
        scheme,
        np.full_like(label_units(text, scheme).bands, NO_BAND),
        scheme.token_ids(tokenizer),
        start_ids=start_ids(tokenizer),
        end_ids=end_ids(tokenizer),
        block=window,
        judged=True,
    )
    for first in range(0, len(rows.ids), BATCH):
        part = slice(first, first + BATCH)
        forks = rows.forks[part]
        if forks.any():
            owners = np.repeat(rows.owners[part], forks.sum(axis=1))
            yield (
                {
                    "ids": torch.from_numpy(rows.ids[part].astype(np.int64)).to(device),
                    "documents": torch.from_numpy(rows.documents[part]).to(device),
                    "forks": torch.from_numpy(forks).to(device),
                },
                rows.bands[part][forks].astype(np.int64),
                owners,
            )


@torch.inference_mode()
def _read(
    checkpoint: Checkpoint,
    batch: dict[str, torch.Tensor],
    control_ids: list[int],
    best: int,
    precision: Precision,
) -> tuple[torch.Tensor, Floats]:
    positions, mask = positions_and_mask(batch["documents"], batch["forks"])
    with autocast(precision, batch["ids"].device):
        hidden_BTD = backbone(checkpoint.model)(
            input_ids=batch["ids"], attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state
    states_ND = hidden_BTD[batch["forks"]].float()
    weight, bias = head_weight(checkpoint.model)
    chosen = None if bias is None else bias[control_ids].float()
    logits_NC = functional.linear(states_ND, weight[control_ids].float(), chosen)
    good = logits_NC.softmax(dim=-1)[:, best].double().cpu().numpy()
    return states_ND.cpu(), good


def fit_readout(kind: Kind, verdicts: Verdicts, bands: int, *, seed: int) -> Readout:
    """A read-out fitted afterwards, on the frozen states of training text.

    It standardises them itself. Without any states it has nothing to say: NaN.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        # Cloned: what was made in inference mode cannot be trained on.
        states, labels = verdicts.states.clone(), torch.from_numpy(verdicts.bands)
        readout = Readout(kind, states.shape[1], bands)
        if not len(states):
            readout.mean = readout.deviation = torch.full(states.shape[1:], float("nan"))
            return readout.eval()
        readout.standardise(states)
        optimizer = torch.optim.AdamW(readout.parameters(), lr=2e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, FITTING_STEPS)
        for _ in range(FITTING_STEPS):
            some = torch.randint(0, len(states), (FITTING_BATCH,))
            loss = functional.cross_entropy(readout(states[some]), labels[some])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        return readout.eval()


@torch.inference_mode()
def said_by(readout: Readout, verdicts: Verdicts, best: int) -> Floats:
    """The probability [N] of the best band by a read-out."""
    found: Floats = readout(verdicts.states).softmax(-1)[:, best].double().numpy()
    return found


def auroc(
    good: Floats,
    bands: npt.NDArray[np.int64],
    documents: npt.NDArray[np.int64],
    best: int,
    *,
    resamples: int,
    seed: int,
) -> Estimate:
    """Area under the ROC curve of P(best band) [N], for telling the best band from the others.

    The interval is bootstrapped over documents, in at most `MOST_RESAMPLES`. None where only
    one kind is there, or where nothing was said (NaN).
    """
    from scipy.stats import rankdata

    if np.isnan(good).any():
        return Estimate(value=None, low=None, high=None, count=0)
    truth = bands == best

    def statistic(index: npt.NDArray[np.int64]) -> float | None:
        true = truth[index]
        positives = int(true.sum())
        if positives in (0, len(true)):
            return None
        ranks = rankdata(good[index])
        wins = float(ranks[true].sum()) - positives * (positives + 1) / 2
        return wins / (positives * (len(true) - positives))

    return clustered(statistic, documents, resamples=min(resamples, MOST_RESAMPLES), seed=seed)
