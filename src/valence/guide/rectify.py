"""The smallest change of the next token's probabilities that keeps a value from falling.

Shapes: N rows, K candidates, V vocabulary, D hidden size.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

import torch

from valence.control import ControlScheme
from valence.errors import ControlError
from valence.guide.modes import UNGUIDED
from valence.guide.protocol import Guide, Site, Step
from valence.guide.reader import Reader
from valence.guide.rows import Row
from valence.guide.verdict import judge_for, taught
from valence.model import Checkpoint, start_ids
from valence.objective.readout import Readout

HALVINGS = 40


def tilted(
    probability_NK: torch.Tensor, value_NK: torch.Tensor, least_N: torch.Tensor
) -> torch.Tensor:
    """The distribution closest to `probability_NK` whose mean value is at least `least_N` [N, K].

    Closest by KL(new, old): p · exp(λ · value) with the smallest λ ≥ 0 that reaches it, found by
    bisection. Where no candidate is that good, the best one alone is left.

    Source: Csiszár 1975, I-divergence geometry (Annals of Probability 3).
    """
    log_NK = probability_NK.log()
    worth_NK = value_NK.masked_fill(probability_NK == 0, -math.inf)
    best_N = worth_NK.amax(-1)
    span_N = (best_N - least_N).clamp(min=1e-12)

    def at(slope_N: torch.Tensor) -> torch.Tensor:
        tilt_NK = slope_N[:, None] * (value_NK - best_N[:, None])
        found: torch.Tensor = (log_NK + tilt_NK).softmax(-1)
        return found

    def reaches(slope_N: torch.Tensor) -> torch.Tensor:
        return (at(slope_N) * value_NK).sum(-1) >= least_N

    low_N = torch.zeros_like(least_N)
    # Beyond this the best has all the probability that a float can tell.
    high_N = 100.0 / span_N
    for _ in range(HALVINGS):
        middle_N = (low_N + high_N) / 2
        enough_N = reaches(middle_N)
        high_N = torch.where(enough_N, middle_N, high_N)
        low_N = torch.where(enough_N, low_N, middle_N)
    found_NK = at(torch.where(reaches(torch.zeros_like(least_N)), 0.0, high_N))
    only_NK = torch.nn.functional.one_hot(worth_NK.argmax(-1), value_NK.shape[1]).to(found_NK)
    return torch.where((best_N < least_N)[:, None], only_NK, found_NK)


class Rectify(Guide):
    """Keep the expected verdict after the next token from falling by more than `decay` of it.

    The value of a text is the probability of the best band after EOS. Of the `candidates`
    likeliest tokens each is tried; their probabilities are tilted as little as needed so that
    the mean value is at least (1 - decay) times that of the text so far (a discrete-time
    control barrier). Other text tokens are left out. Each step reads 2 (K + 1) more tokens.

    Source: Ames et al. 2019, Control Barrier Functions (arXiv 1903.11199), here over tokens.
    """

    def __init__(
        self, candidates: int = 10, decay: float = 0.05, *, readout: Readout | None = None
    ) -> None:
        if candidates < 2 or not 0 <= decay <= 1:
            raise ControlError(
                f"{candidates} candidates and a decay of {decay} cannot be used",
                where="rectify",
                fix="Give 2 candidates or more, and a share from 0 to 1.",
            )
        self.candidates, self.decay, self.readout = candidates, decay, readout
        self._reader: Reader | None = None

    def fits(self, checkpoint: Checkpoint, known: ControlScheme | None, mode: str) -> bool:
        """Whether it was taught to judge what was said."""
        return taught(checkpoint, known)

    @property
    def looked(self) -> int:
        """Tokens that were read again, where the text stands without control tokens."""
        return 0 if self._reader is None else self._reader.steps

    def begin(self, site: Site) -> None:
        """Raises `ControlError` for a model that was never taught a verdict."""
        self._judge = judge_for(site.checkpoint, site.known, self.readout, "rectify")
        self._eos_id = site.band.eos_id
        # Beside the mode's token a verdict would be that of the token.
        self._reader = None if site.mode in UNGUIDED else Reader(site.checkpoint)
        self._rows: set[Row] = set()
        starts = start_ids(site.checkpoint.tokenizer)
        self._beside = frozenset([*site.control_ids, *starts, site.band.eos_id])
        device = site.checkpoint.model.device
        self._never = site.band.never.to(device)

    def scores(self, step: Step, scores_NV: torch.Tensor) -> torch.Tensor:
        """Log-probabilities [N, V] whose text is tilted; what is no text is as it was."""
        log_NV = scores_NV.float().log_softmax(-1)
        text_NV = log_NV.index_fill(-1, self._never, -math.inf)
        count = min(self.candidates, text_NV.shape[1])
        top = text_NV.topk(count, dim=-1)
        eos_NK1 = torch.full_like(top.indices[:, :, None], self._eos_id)
        tries_NK2 = torch.cat([top.indices[:, :, None], eos_NK1], dim=-1)
        values_NK = self._values(self._after(step, tries_NK2), scores_NV)
        now_N1 = self._values(self._after(step, eos_NK1[:, :1]), scores_NV)
        new_NK = tilted(top.values.softmax(-1), values_NK, (1 - self.decay) * now_N1[:, 0])
        mass_N1 = text_NV.logsumexp(-1, keepdim=True)
        guided_NV = torch.full_like(log_NV, -math.inf)
        guided_NV.scatter_(1, top.indices, new_NK.log() + mass_N1)
        guided_NV[:, self._never] = log_NV[:, self._never]
        return guided_NV

    def _after(self, step: Step, tries_NKL: torch.Tensor) -> torch.Tensor:
        """The states after each try [N, K, D], of the text without control tokens."""
        if self._reader is None:
            return step.fork(tries_NKL)
        gone = [row for row in self._rows if row.done]
        self._reader.forget(gone)
        self._rows = (self._rows | set(step.rows)) - set(gone)
        texts: dict[Hashable, list[int]] = {
            row: [token for token in ids if token not in self._beside]
            for row, ids in zip(step.rows, step.ids_NT.tolist(), strict=True)
        }
        return self._reader.after(texts, tries_NKL)

    def _values(self, states_NKD: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        rows, tries, size = states_NKD.shape
        said = self._judge(states_NKD.reshape(rows * tries, size))
        return torch.from_numpy(said).to(like.device).float().view(rows, tries)
