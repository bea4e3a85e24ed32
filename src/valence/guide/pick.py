"""The next token: temperature and nucleus, and a race of tokens on each row's own chances.

Shapes: N rows, S steps, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

Stream = np.random.Generator | torch.Generator
"""A sample's own chances, on a processor or on an accelerator."""


def stream(seed: Sequence[int], device: torch.device) -> Stream:
    """The chances of a sample: all that is random about it follows from its seed."""
    seeds = np.random.SeedSequence(list(seed))
    if device.type == "cpu":  # Three times as fast as torch's own generator there.
        return np.random.Generator(np.random.PCG64(seeds))
    return torch.Generator(device).manual_seed(int(seeds.generate_state(1, np.uint64)[0] >> 1))


def arrivals(streams: Sequence[Stream], steps: int, size: int) -> torch.Tensor:
    """Exponential variables of rate 1 [N, S, V], the next ones of each stream."""
    there = [
        torch.empty((steps, size), device=each.device).exponential_(generator=each)
        for each in streams
        if isinstance(each, torch.Generator)
    ]
    if there:
        return torch.stack(there)
    # In float64: of float32 ones, one in two million is 0, and 0 wins every race.
    here = [
        each.standard_exponential((steps, size))
        for each in streams
        if isinstance(each, np.random.Generator)
    ]
    return torch.from_numpy(np.stack(here)).float()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picker:
    """How next tokens are picked: at a temperature, among the likeliest that reach `top_p`.

    Temperature 0 takes the likeliest token, the first among equals.
    """

    temperature: float
    top_p: float

    @property
    def random(self) -> bool:
        """Whether it needs chances at all."""
        return self.temperature > 0

    def pick(
        self,
        scores_NV: torch.Tensor,
        arrival_NV: torch.Tensor | None,
        free_N: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Next tokens [N] for scores [N, V] and `arrivals` [N, V].

        Rows that are `free_N` are picked by their probabilities as they are, without
        temperature and nucleus (unless the likeliest token is always taken).

        A token's arrival divided by its probability is exponential with that rate, so the
        first to arrive is each with its probability, also among any few of them: here those
        of the nucleus (Holtzman et al. 2020, arXiv 1904.09751), the tokens above which there
        is less than `top_p`, equal ones together. No sorting, and what rounding does to
        probabilities changes the pick only where two arrive at the same time, whereas an
        inverse CDF adds up the errors of all tokens.
        """
        if arrival_NV is None:
            return scores_NV.argmax(dim=-1)
        scores_NV = scores_NV if scores_NV.dtype == torch.float64 else scores_NV.float()
        if self.temperature != 1:
            cooled_NV = scores_NV / self.temperature
            scores_NV = (
                cooled_NV if free_N is None else torch.where(free_N[:, None], scores_NV, cooled_NV)
            )
        probability_NV = scores_NV.softmax(dim=-1)
        race_NV = probability_NV / arrival_NV
        tokens_N = race_NV.argmax(dim=-1)
        if self.top_p < 1:
            first_N = tokens_N.clone()
            self._disqualify(tokens_N, race_NV, probability_NV)
            if free_N is not None:
                tokens_N = torch.where(free_N, first_N, tokens_N)
        return tokens_N

    def _disqualify(
        self, tokens_N: torch.Tensor, race_NV: torch.Tensor, probability_NV: torch.Tensor
    ) -> None:
        """Replace winners outside of the nucleus, in place, by the first within."""
        rows_R: torch.Tensor | None = None
        while True:
            p_RV = probability_NV if rows_R is None else probability_NV[rows_R]
            winner_R = tokens_N if rows_R is None else tokens_N[rows_R]
            p_R1 = p_RV.gather(-1, winner_R[:, None])
            above_RV = p_RV > p_R1
            outside_R = torch.where(above_RV, p_RV, 0.0).sum(dim=-1) >= self.top_p
            if not outside_R.any():
                return
            again_Q = outside_R.nonzero()[:, 0]
            rows_Q = again_Q if rows_R is None else rows_R[again_Q]
            # What is no likelier than a token outside is outside too.
            race_QV = torch.where(above_RV[again_Q], race_NV[rows_Q], -1.0)
            tokens_N[rows_Q] = race_QV.argmax(dim=-1)
            rows_R = rows_Q
