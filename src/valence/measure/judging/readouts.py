"""Read-outs of the state after EOS that are fitted afterwards, on training text.

They say what somebody finds in the states who has the same labelled text that the verdict is
taught on. So a fifth of its documents is kept from the fit, and decides how long and how freely
the read-out may learn: of a few thousand states in hundreds of directions one that learns to the
end is sure of chance. Held-out text has no say in it, for it is what read-outs and verdict are
compared on, and their thresholds are found there by halves. What it costs that a model is surer
of text it was trained on is left in the numbers, those of its own verdict and of read-outs alike:
they are a lower bound of what its states hold.

Legend: N states, D hidden size, C bands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional

from valence.objective.readout import Kind, Readout

KINDS: tuple[Kind, ...] = ("linear", "mlp")
FREEDOMS = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
"""What the linear one is tried with: how much a state's loss counts beside its squared weights."""
ITERATIONS = 1000
FITTING_STEPS, FITTING_BATCH = 2000, 256
LEARNING_RATE = 2e-3
DECAYS = (0.1, 3.0)
"""Weight decays that the other one is tried with."""
CHECKED, PATIENCE = 10, 100
"""It stops when so many checks, one every so many steps, have brought nothing better."""
INNER = 0.2
"""Share of the documents that decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _States:
    """States [N, D] and their bands [N]."""

    states_ND: torch.Tensor
    truth_N: torch.Tensor

    def loss(self, readout: Readout) -> torch.Tensor:
        """Mean cross-entropy."""
        return functional.cross_entropy(readout(self.states_ND), self.truth_N)

    @torch.no_grad()
    def value(self, readout: Readout) -> float:
        """The same as a number."""
        return float(self.loss(readout))

    def take(self, which_N: torch.Tensor) -> _States:
        """Some of them."""
        return _States(states_ND=self.states_ND[which_N], truth_N=self.truth_N[which_N])


def fit_readout(
    kind: Kind,
    states_ND: torch.Tensor,
    labels: npt.NDArray[np.int64],
    documents: npt.NDArray[np.int64],
    bands: int,
    *,
    seed: int,
) -> Readout:
    """A read-out fitted afterwards, on the frozen states of training text and their bands [N].

    It standardises them itself. A fifth of the `documents` [N] is kept from the fit, and what does
    best on them is taken: of the linear one the regularisation, with which it is then fitted to all
    of them; of the other one, which begins by giving each band its share whatever the state, the
    weight decay and the step. Of fewer than two documents it has nothing to say: NaN.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        # Cloned: what was made in inference mode cannot be trained on.
        known = _States(states_ND=states_ND.clone(), truth_N=torch.from_numpy(labels))
        deciding_N = _deciding(documents, seed)
        if not deciding_N.any():
            readout = Readout(kind, states_ND.shape[1], bands)
            readout.mean = readout.deviation = torch.full(states_ND.shape[1:], float("nan"))
            return readout.eval()
        fitted, inner = known.take(~deciding_N), known.take(deciding_N)
        if kind == "linear":
            losses = [inner.value(_logistic(fitted, bands, each)) for each in FREEDOMS]
            return _logistic(known, bands, FREEDOMS[int(np.argmin(losses))]).eval()
        tried = [_descended(fitted, inner, bands, decay) for decay in DECAYS]
        _, best = min(tried, key=lambda each: each[0])
        return best.eval()


def _deciding(documents: npt.NDArray[np.int64], seed: int) -> torch.Tensor:
    """Whether a state's document is among those that decide [N]; none if there is one document."""
    names, numbers = np.unique(documents, return_inverse=True)
    count = 0 if len(names) < 2 else max(round(INNER * len(names)), 1)
    order = np.random.default_rng(seed).permutation(len(names))
    return torch.from_numpy(order[numbers] < count)


@torch.no_grad()
def _logistic(fitted: _States, bands: int, freedom: float) -> Readout:
    """Logistic regression as a linear read-out."""
    readout, layer = _beginning("linear", fitted, bands)
    known = np.unique(fitted.truth_N.numpy())
    if len(known) > 1:
        assert readout.mean is not None
        assert readout.deviation is not None
        standard_ND = (fitted.states_ND - readout.mean) / readout.deviation
        found = LogisticRegression(C=freedom, max_iter=ITERATIONS)
        found.fit(standard_ND.numpy(), fitted.truth_N.numpy())
        weight, bias = torch.from_numpy(found.coef_), torch.from_numpy(found.intercept_)
        if len(known) == 2:  # It has one logit then, that of the second.
            weight, bias = (torch.stack([-each[0] / 2, each[0] / 2]) for each in (weight, bias))
        layer.weight[known] = weight.to(layer.weight)
        # A band that is not there keeps its half a state, beside all that are.
        layer.bias[known] = bias.to(layer.bias) + math.log(len(fitted.truth_N) / len(known))
    return readout


def _descended(fitted: _States, inner: _States, bands: int, decay: float) -> tuple[float, Readout]:
    """The least loss of the inner states on the way down that of the fitted ones, and where."""
    readout, _ = _beginning("mlp", fitted, bands)
    optimizer = torch.optim.AdamW(readout.parameters(), lr=LEARNING_RATE, weight_decay=decay)
    # Slow at first: where there is little to be learnt, a few full steps are too many.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=FITTING_STEPS, cycle_momentum=False
    )
    best, kept, idle = math.inf, readout.state_dict(), 0
    for step in range(1, FITTING_STEPS + 1):
        some = torch.randint(0, len(fitted.truth_N), (FITTING_BATCH,))
        descent = fitted.take(some).loss(readout)
        optimizer.zero_grad()
        descent.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % CHECKED:
            continue
        loss = inner.value(readout)
        idle = idle + 1 if loss >= best else 0
        if loss < best:
            best = loss
            kept = {name: value.clone() for name, value in readout.state_dict().items()}
        if idle > PATIENCE:
            break
    readout.load_state_dict(kept)
    return best, readout


def _beginning(kind: Kind, fitted: _States, bands: int) -> tuple[Readout, nn.Linear]:
    """A read-out that gives each band its share, whatever it is shown; and its last layer."""
    readout = Readout(kind, fitted.states_ND.shape[1], bands)
    readout.standardise(fitted.states_ND)
    last = readout.layers if isinstance(readout.layers, nn.Linear) else readout.layers[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        # A band that is not there gets half a state: the logarithm of 0 is no start.
        last.bias.copy_((torch.bincount(fitted.truth_N, minlength=bands) + 0.5).log())
    return readout, last
