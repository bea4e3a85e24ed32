"""Who judges a state after EOS: the model's own token, and read-outs of the state.

Legend: N states, D hidden size, C bands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from valence.control import ControlScheme
from valence.model import Checkpoint, head_weight
from valence.objective.readout import Kind, Readout

Floats = npt.NDArray[np.float64]
Judge = Callable[[torch.Tensor], Floats]
"""States [N, D] to the probability [N] that the best band was said."""
Judges = Mapping[str, Judge]

KINDS: tuple[Kind, ...] = ("linear", "mlp")
FITTING_STEPS, FITTING_BATCH = 2000, 256


def verdict_of(checkpoint: Checkpoint, scheme: ControlScheme) -> Judge:
    """The model's own verdict: its probability of the best band's token among the bands'."""
    control_ids = list(scheme.token_ids(checkpoint.tokenizer))
    weight, bias = head_weight(checkpoint.model)
    chosen = None if bias is None else bias[control_ids].float()
    weight_CD = weight[control_ids].float()

    @torch.inference_mode()
    def judge(states_ND: torch.Tensor) -> Floats:
        logits_NC = functional.linear(states_ND.to(weight_CD.device), weight_CD, chosen)
        found: Floats = logits_NC.softmax(dim=-1)[:, scheme.best].double().cpu().numpy()
        return found

    return judge


def judge_by(readout: Readout, best: int) -> Judge:
    """A read-out as a judge."""

    @torch.inference_mode()
    def judge(states_ND: torch.Tensor) -> Floats:
        found: Floats = readout(states_ND.cpu()).softmax(-1)[:, best].double().numpy()
        return found

    return judge


def fit_readout(
    kind: Kind, states_ND: torch.Tensor, labels: npt.NDArray[np.int64], bands: int, *, seed: int
) -> Readout:
    """A read-out fitted afterwards, on the frozen states of training text and their bands [N].

    It standardises them itself. Without any states it has nothing to say: NaN.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        # Cloned: what was made in inference mode cannot be trained on.
        states_ND, truth_N = states_ND.clone(), torch.from_numpy(labels)
        readout = Readout(kind, states_ND.shape[1], bands)
        if not len(states_ND):
            readout.mean = readout.deviation = torch.full(states_ND.shape[1:], float("nan"))
            return readout.eval()
        readout.standardise(states_ND)
        optimizer = torch.optim.AdamW(readout.parameters(), lr=2e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, FITTING_STEPS)
        for _ in range(FITTING_STEPS):
            some = torch.randint(0, len(states_ND), (FITTING_BATCH,))
            loss = functional.cross_entropy(readout(states_ND[some]), truth_N[some])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        return readout.eval()
