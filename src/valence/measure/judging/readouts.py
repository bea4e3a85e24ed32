"""Read-outs of the state after EOS that are fitted afterwards, on training text.

Legend: N states, D hidden size, C bands.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from valence.objective.readout import Kind, Readout

KINDS: tuple[Kind, ...] = ("linear", "mlp")
FITTING_STEPS, FITTING_BATCH = 2000, 256


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
