"""P(IK), "I know": how likely the model is to answer rightly, read before it answers.

A read-out of the state at the end of the question, fitted on the share of the model's own
answers that are right. Source: Kadavath et al. 2022 (arXiv 2207.05221), section 5; there the
head is trained with the model, here the model stays as it is.

Legend: N questions, D hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from valence.corpus.readers import is_held_out
from valence.objective.readout import Kind, Readout

STEPS, BATCH, CHECKED, PATIENCE = 400, 4096, 10, 8
"""It stops when so many checks, one every so many steps, have brought nothing better."""
INNER = 0.2
"""Share of the groups by which it is decided when to stop."""


def fit_knowing(
    kind: Kind,
    states_ND: torch.Tensor,
    shares: npt.NDArray[np.float64],
    groups: Sequence[str],
    *,
    seed: int,
) -> Readout:
    """A read-out whose second class is "I know", by cross-entropy with the soft targets [N].

    What is kept is the step that does best on a fifth of the groups, which no step has seen.
    Without any states it has nothing to say: NaN.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        # Cloned: what was made in inference mode cannot be trained on.
        states_ND = states_ND.clone()
        readout = Readout(kind, states_ND.shape[1], 2)
        inner = np.array([is_held_out(group, share=INNER, seed=seed) for group in groups], bool)
        if not len(states_ND) or inner.all() or not inner.any():
            readout.mean = readout.deviation = torch.full(states_ND.shape[1:], float("nan"))
            return readout.eval()
        targets_N2 = torch.from_numpy(np.stack([1 - shares, shares], axis=1)).float()
        readout.standardise(states_ND[~inner])
        _descend(
            readout, states_ND[~inner], targets_N2[~inner], states_ND[inner], targets_N2[inner]
        )
        return readout.eval()


@torch.inference_mode()
def knows(readout: Readout, states_ND: torch.Tensor) -> npt.NDArray[np.float64]:
    """P(IK) [N]."""
    found: npt.NDArray[np.float64] = readout(states_ND).double().softmax(-1)[:, 1].numpy()
    return found


def _descend(
    readout: Readout,
    states_ND: torch.Tensor,
    targets_N2: torch.Tensor,
    inner_ND: torch.Tensor,
    inner_N2: torch.Tensor,
) -> None:
    optimizer = torch.optim.AdamW(readout.parameters(), lr=3e-3, weight_decay=1e-2)
    best, kept, idle = float("inf"), {}, 0
    for step in range(STEPS + 1):
        if step % CHECKED == 0:
            with torch.no_grad():
                loss = float(functional.cross_entropy(readout(inner_ND), inner_N2))
            idle = idle + 1 if loss >= best else 0
            if idle > PATIENCE:
                break
            if loss < best:
                best, kept = loss, {k: v.clone() for k, v in readout.state_dict().items()}
        some = torch.randperm(len(states_ND))[:BATCH]
        descent = functional.cross_entropy(readout(states_ND[some]), targets_N2[some])
        optimizer.zero_grad()
        descent.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    readout.load_state_dict(kept)
