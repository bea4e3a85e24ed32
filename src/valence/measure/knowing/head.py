"""P(IK), "I know": how likely the model is to answer rightly, read before it answers.

A read-out of the state at the end of the question, fitted on the share of the model's own
answers that are right. Source: Kadavath et al. 2022 (arXiv 2207.05221), section 5; there the
head is trained with the model, here the model stays as it is.

A few hundred questions in hundreds of directions hold more chance than knowledge. So it begins
as the constant that is best without any state, and every weight is pulled back to where it
began, as much as does best on people that it was not fitted on: ridge regression for the linear
one, for the other the same around its random features. To stay the constant is one of the
choices.

Legend: N questions, D hidden size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from valence.objective.readout import Kind, Readout

STEPS = 60
"""Of L-BFGS, at the most."""
DECAYS = (math.inf, 10.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""What are tried: half of it times the squared way of the weights is added to the mean loss."""
INNER = 0.2
"""Share of the groups that decides between them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _States:
    """States [N, D] and soft targets [N, 2], the second of them "I know"."""

    states_ND: torch.Tensor
    targets_N2: torch.Tensor

    def loss(self, readout: Readout) -> torch.Tensor:
        """Mean cross-entropy."""
        return functional.cross_entropy(readout(self.states_ND), self.targets_N2)

    def take(self, which_N: torch.Tensor) -> _States:
        """Some of them."""
        return _States(states_ND=self.states_ND[which_N], targets_N2=self.targets_N2[which_N])


def fit_knowing(
    kind: Kind,
    states_ND: torch.Tensor,
    shares: npt.NDArray[np.float64],
    groups: Sequence[str],
    *,
    seed: int,
) -> Readout:
    """A read-out whose second class is "I know", by cross-entropy with the soft targets [N].

    A fifth of the groups decides how much it may learn from the others; with that it is fitted
    on all. States that are not finite are left out. Of fewer than two groups it has nothing to
    say: NaN.
    """
    with torch.random.fork_rng():
        # Cloned: what was made in inference mode cannot be trained on.
        known = _States(
            states_ND=states_ND.clone(),
            targets_N2=torch.from_numpy(np.stack([1 - shares, shares], axis=1)).float(),
        )
        finite_N = states_ND.isfinite().all(1)
        deciding_N = _deciding(groups, seed)[finite_N]
        known = known.take(finite_N)
        if not deciding_N.any() or deciding_N.all():
            readout = Readout(kind, states_ND.shape[1], 2)
            readout.mean = readout.deviation = torch.full(states_ND.shape[1:], float("nan"))
            return readout.eval()
        fitted, inner = known.take(~deciding_N), known.take(deciding_N)
        losses = []
        for decay in DECAYS:
            with torch.no_grad():
                loss = float(inner.loss(_descended(kind, fitted, decay, seed)))
            losses.append(loss if math.isfinite(loss) else math.inf)
        return _descended(kind, known, DECAYS[int(np.argmin(losses))], seed).eval()


@torch.inference_mode()
def knows(readout: Readout, states_ND: torch.Tensor) -> npt.NDArray[np.float64]:
    """P(IK) [N]; NaN for a state that is not finite."""
    found: npt.NDArray[np.float64] = readout(states_ND).double().softmax(-1)[:, 1].numpy()
    return found


def _deciding(groups: Sequence[str], seed: int) -> torch.Tensor:
    """Whether a state's group is among those that decide [N]; none if there is one group.

    Drawn, and not by a hash of names: by those people are held out, taught and measured, and
    one split must not follow from another.
    """
    names, numbers = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    count = 0 if len(names) < 2 else max(round(INNER * len(names)), 1)
    order = np.random.default_rng(seed).permutation(len(names))
    return torch.from_numpy(order[numbers] < count)


def _beginning(kind: Kind, fitted: _States, seed: int) -> Readout:
    """A read-out that says the mean target, whatever it is shown."""
    torch.manual_seed(seed)
    readout = Readout(kind, fitted.states_ND.shape[1], 2)
    readout.standardise(fitted.states_ND)
    last = readout.layers if isinstance(readout.layers, nn.Linear) else readout.layers[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        # What never happened gets half a question: the logarithm of 0 is no start.
        last.bias.copy_((fitted.targets_N2.sum(0) + 0.5).log())
    return readout


def _descended(kind: Kind, fitted: _States, decay: float, seed: int) -> Readout:
    """The read-out of least loss and way from its beginning; the bias of the end goes freely."""
    readout = _beginning(kind, fitted, seed)
    if math.isinf(decay):
        return readout
    weights = list(readout.parameters())
    first = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.LBFGS(weights, max_iter=STEPS, line_search_fn="strong_wolfe")

    def descent() -> torch.Tensor:
        optimizer.zero_grad()
        ways = [(w - f).square().sum() for w, f in zip(weights[:-1], first[:-1], strict=True)]
        loss = fitted.loss(readout) + decay / 2 * torch.stack(ways).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(descent)  # type: ignore[no-untyped-call]
    if not all(bool(weight.isfinite().all()) for weight in weights):
        return _beginning(kind, fitted, seed)
    return readout
