"""What is trained: a language model, the heads beside it, and the loss over both.

The loss is inside the forward pass, so that one module is what DDP and FSDP wrap, and so that
no logits of all tokens ever exist (objective/chunked.py).

Legend: B rows, T tokens, N = B·T, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from valence.errors import ModelError
from valence.model import backbone, check_plain_head, head_weight
from valence.objective import Objective
from valence.objective.chunked import weighted_loss
from valence.objective.protocol import IGNORED, Weights
from valence.objective.readout import Readout
from valence.objective.value import ValueModule
from valence.pack.mask import as_bias, positions_and_mask
from valence.recipe import VerdictRecipe


class Learner(nn.Module):
    """A model under an objective; `forward` gives the loss of a batch of packed rows.

    Raises `ModelError` for a model whose logits are not a plain product with its output
    matrix, because the chunked loss would compute something else.
    """

    control_ids: torch.Tensor

    def __init__(
        self,
        model: PreTrainedModel,
        objective: Objective,
        *,
        control_ids: Sequence[int] = (),
        verdict: VerdictRecipe | None = None,
        seed: int = 0,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        _refuse_windows(model)
        check_plain_head(model)
        self.model, self.objective, self.verdict = model, objective, verdict
        size = model.config.hidden_size
        head = objective.value_head
        self.value_head = None if head is None else ValueModule(head, size)
        self.readout: Readout | None = None
        if verdict is not None and verdict.readout != "none":
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                self.readout = Readout(verdict.readout, size, len(control_ids))
        self.register_buffer("control_ids", torch.tensor(control_ids), persistent=False)
        self.body: Callable[..., Any] = torch.compile(backbone(model)) if compiled else self._body
        # Trainer and FSDP ask the module that they wrap.
        self.config = model.config
        self._no_split_modules = model._no_split_modules
        frozen = {name for name, weight in self.named_parameters() if not weight.requires_grad}
        # Left out of training states: tied doubles, and what does not change.
        self._keys_to_ignore_on_save = sorted(_doubled_names(self) | frozen)
        self.register_state_dict_post_hook(_only_what_is_trained)  # type: ignore[no-untyped-call]

    def tie_weights(self) -> None:
        """Nothing: tied weights are one parameter here. The Trainer asks for it."""

    def _body(self, **inputs: Any) -> Any:
        return backbone(self.model)(**inputs)

    def forward(
        self,
        input_ids: torch.Tensor,
        targets: torch.Tensor,
        documents: torch.Tensor,
        count: torch.Tensor | float,
        forks: torch.Tensor | None = None,
        rewards: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """The loss, a sum over predicted tokens divided by `count`, and what to log.

        All but `count` are [B, T], aligned: `targets` are what is predicted at a position.
        `nats` and `texts` are the summed -log p and the number of what is predicted but control
        tokens: text, and the ends of documents.
        """
        positions_BT, mask_B1TT = positions_and_mask(documents, forks)
        hidden_BTD = self.body(
            input_ids=input_ids,
            attention_mask=as_bias(mask_B1TT, self._compute_type(mask_B1TT.device.type)),
            position_ids=positions_BT,
            use_cache=False,
        ).last_hidden_state
        hidden_ND, targets_N = hidden_BTD.flatten(0, 1), targets.flatten()
        rewards_N = (
            hidden_ND.new_full(targets_N.shape, float("nan"), dtype=torch.float32)
            if rewards is None
            else rewards.flatten()
        )
        values_N = None if self.value_head is None else self.value_head(hidden_ND)
        weights = self.objective.weigh(rewards_N, values_N)
        forks_N = None if forks is None else forks.flatten()
        if forks_N is not None and self.verdict is not None:
            weights = _with_verdicts(weights, forks_N, self.verdict.weight)
        weight_VD, bias_V = head_weight(self.model)
        total, logprobs_N = weighted_loss(hidden_ND, weight_VD, targets_N, weights, bias_V=bias_V)
        if values_N is not None:
            valued_N = self.objective.value_loss(rewards_N, values_N)
            total = total + valued_N.masked_fill(targets_N == IGNORED, 0.0).sum()
        if self.readout is not None and forks_N is not None and self.verdict is not None:
            total = total + self.verdict.weight * self._readout_loss(hidden_ND, targets_N, forks_N)
        text_N = (targets_N != IGNORED) & ~torch.isin(targets_N, self.control_ids)
        return {
            "loss": total / count,
            "nats": -logprobs_N.masked_fill(~text_N, 0.0).sum(),
            "texts": text_N.sum(),
        }

    def _compute_type(self, kind: str) -> torch.dtype:
        """The type of queries and keys."""
        if torch.is_autocast_enabled(kind):
            return torch.get_autocast_dtype(kind)
        own: torch.dtype = self.model.dtype
        return own

    def _readout_loss(
        self, hidden_ND: torch.Tensor, targets_N: torch.Tensor, forks_N: torch.Tensor
    ) -> torch.Tensor:
        assert self.readout is not None
        bands = (targets_N[forks_N, None] == self.control_ids).int().argmax(dim=1)
        logits = self.readout(hidden_ND[forks_N]).float()
        return functional.cross_entropy(logits, bands, reduction="sum")


def _with_verdicts(weights: Weights, forks_N: torch.Tensor, weight: float) -> Weights:
    like_N = weights.like_N.masked_fill(forks_N, weight)
    unlike_N = weights.unlike_N
    return Weights(
        like_N=like_N, unlike_N=None if unlike_N is None else unlike_N.masked_fill(forks_N, 0.0)
    )


def _refuse_windows(model: PreTrainedModel) -> None:
    """Our mask is the same in all layers, so a sliding window would be lost without a word."""
    kinds = set(getattr(model.config, "layer_types", None) or ())
    if kinds - {"full_attention"}:
        raise ModelError(
            f"its layers attend in other ways than fully ({', '.join(sorted(kinds))}), which"
            " packed documents do not support",
            where="model",
            fix="Take a model with full attention in all layers, such as Llama, Qwen3 or GPT-2.",
        )


def _doubled_names(module: nn.Module) -> set[str]:
    """Names of tied parameters but for the first: safetensors keeps each tensor once."""
    seen: set[int] = set()
    doubled = set()
    for name, weight in module.named_parameters(remove_duplicate=False):
        if id(weight) in seen:
            doubled.add(name)
        seen.add(id(weight))
    return doubled


def _only_what_is_trained(
    module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    assert isinstance(module, Learner)
    for name in module._keys_to_ignore_on_save:
        state.pop(prefix + name, None)
