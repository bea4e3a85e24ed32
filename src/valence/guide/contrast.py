"""Two contexts against each other: what the good one says, further from the bad one.

Shapes: N rows, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor

from valence.control import ControlScheme
from valence.errors import ControlError
from valence.guide.cache import growing_cache
from valence.guide.modes import hold
from valence.guide.protocol import Guide, Site, Step
from valence.model import Checkpoint


def contrasted(
    good_NV: torch.Tensor,
    bad_NV: torch.Tensor,
    alpha_N1: torch.Tensor | float,
    never: torch.Tensor,
    plausible: float,
) -> torch.Tensor:
    """Log-probabilities [N, V]: text moved by alpha · (good - bad), all else as good says.

    Among text tokens (those not in `never`) p is proportional to good^(1 + alpha) / bad^alpha;
    text as a whole keeps the probability it has in the good context, and so does the end of the
    text: guiding should not make texts longer or shorter. Tokens less likely than `plausible`
    times the likeliest are left out, because what is rare in both contexts would be chosen for
    being rarer in the bad one.

    Source: Liu et al. 2021, DExperts (arXiv 2105.03023); the cut-off of Li et al. 2022,
    Contrastive Decoding (arXiv 2210.15097), here by the good context.
    """
    good_NV, bad_NV = good_NV.float().log_softmax(-1), bad_NV.float().log_softmax(-1)
    text_NV = good_NV.index_fill(-1, never, -math.inf)
    likely_NV = text_NV >= text_NV.amax(-1, keepdim=True) + math.log(plausible)
    moved_NV = torch.where(likely_NV, text_NV + alpha_N1 * (good_NV - bad_NV), -math.inf)
    mass_N1 = text_NV.logsumexp(-1, keepdim=True) - moved_NV.logsumexp(-1, keepdim=True)
    guided_NV = torch.where(text_NV > -math.inf, moved_NV + mass_N1, good_NV)
    unmoved = torch.as_tensor(alpha_N1, device=good_NV.device) == 0
    return torch.where(unmoved, good_NV, guided_NV)


class ContrastProcessor(LogitsProcessor):
    """`contrasted` for anybody's `generate()`: it reads the bad context itself, with a cache.

    The text begins with EOS and a band's control token, as the checkpoint's tokenizer puts them;
    rows of different lengths are padded with EOS at the left. A `BandProcessor` goes after it. One
    object is for one call of `generate()` without beams. Raises `ControlError` as `Contrast` does.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        known: ControlScheme,
        alpha: float = 1.0,
        plausible: float = 0.001,
    ) -> None:
        self._guide = Contrast(alpha, plausible)
        scheme, ids = checkpoint.scheme, known.token_ids(checkpoint.tokenizer)
        if scheme is None:
            raise _nothing_against("none", known=False)
        self._good, self._bad = ids[scheme.best], ids[0]
        _, band = hold(checkpoint, ids, scheme.modes[scheme.best])
        self._eos_id, device = band.eos_id, checkpoint.model.device
        self._never = band.never.to(device)
        self._model, self._cache, self._read = checkpoint.model, growing_cache(checkpoint.model), 0

    @torch.inference_mode()
    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Contrasted log-probabilities [N, V] after the tokens so far [N, T]."""
        # The last EOS of those at the left begins the text.
        leading_NT = (input_ids == self._eos_id).long().cumprod(dim=1)
        mask_NT = leading_NT.roll(-1, dims=1).bool()
        mask_NT[:, -1] = False
        seen_NT = ~(leading_NT.bool() & mask_NT)
        new_NT = input_ids[:, self._read :]
        position_NT = (seen_NT.long().cumsum(dim=1) - 1).clamp(min=0)[:, self._read :]
        output = self._model(
            input_ids=torch.where(new_NT == self._good, self._bad, new_NT),
            attention_mask=seen_NT,
            position_ids=position_NT,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._read = input_ids.shape[1]
        guide = self._guide
        return contrasted(
            scores, output.logits[:, -1], guide.alphas[0], self._never, guide.plausible
        )


def _nothing_against(mode: str, *, known: bool) -> ControlError:
    return ControlError(
        f"there is nothing to hold mode `{mode}` against"
        if known
        else "the model has no control tokens",
        where="contrast",
        fix="Contrast needs a model trained with control tokens, in its good mode.",
    )


class Contrast(Guide):
    """Write in the good mode, away from the bad one by `alpha`; 0 is the mode itself.

    `alpha` is one number, or one for each ask. `plausible` is the least probability of a token
    by that of the likeliest. Each token takes two rows of one batch.
    """

    def __init__(self, alpha: float | Sequence[float] = 1.0, plausible: float = 0.001) -> None:
        alphas = [alpha] if isinstance(alpha, int | float) else list(alpha)
        if not all(math.isfinite(each) for each in alphas):
            raise ControlError(
                f"alpha is {alpha}", where="contrast", fix="Give finite numbers, for instance 1."
            )
        if not 0 < plausible <= 1:
            raise ControlError(
                f"plausible is {plausible}", where="contrast", fix="Give above 0 and at most 1."
            )
        self.alphas, self.plausible = alphas, plausible

    def fits(self, checkpoint: Checkpoint, known: ControlScheme | None, mode: str) -> bool:
        """Whether the mode is a band other than the worst."""
        return checkpoint.scheme is not None and mode in checkpoint.scheme.modes[1:]

    def begin(self, site: Site) -> None:
        """Raises `ControlError` unless the mode is a band other than the worst."""
        scheme = site.checkpoint.scheme
        if scheme is None or not self.fits(site.checkpoint, site.known, site.mode):
            raise _nothing_against(site.mode, known=scheme is not None)
        if len(self.alphas) not in (1, len(site.asks)):
            raise ControlError(
                f"there are {len(self.alphas)} alphas for {len(site.asks)} texts",
                where="contrast",
                fix="Give one, or one for each.",
            )
        self.contexts = (scheme.modes[0],)
        device = site.checkpoint.model.device
        self._never = site.band.never.to(device)
        self._alpha = torch.tensor(self.alphas, device=device)

    def scores(self, step: Step, scores_NV: torch.Tensor) -> torch.Tensor:
        """Contrasted log-probabilities [N, V]."""
        alpha: torch.Tensor | float = self.alphas[0]
        if len(self.alphas) > 1:
            alpha = self._alpha[[row.number for row in step.rows]][:, None]
        return contrasted(
            scores_NV, step.contexts[self.contexts[0]], alpha, self._never, self.plausible
        )
