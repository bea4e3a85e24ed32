"""One look of a model at texts: how likely they go on, what follows EOS, the state at the end.

Legend: N texts, T tokens of the longest, V vocabulary, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from valence.control import ControlScheme
from valence.errors import ModelError
from valence.guide.loop import UNGUIDED
from valence.model import Checkpoint, backbone, encode_texts, start_ids
from valence.precision import Precision, autocast

T = TypeVar("T")
Floats = npt.NDArray[np.float64]
Tokens = tuple[int, ...]
TOKENS_AT_ONCE = 4096
"""Tokens that go through the model together, padding included."""


def opening(checkpoint: Checkpoint, known: ControlScheme | None, mode: str) -> Tokens:
    """What stands before a text in a mode: the start of a document, and the mode's token."""
    start = start_ids(checkpoint.tokenizer)
    if mode in UNGUIDED or checkpoint.scheme is None or known is None:
        return start
    return (*start, known.token_ids(checkpoint.tokenizer)[checkpoint.scheme.band_of_mode(mode)])


def continuation_probabilities(
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    before: Tokens,
    prompts: Sequence[str],
    texts: Sequence[str],
    *,
    precision: Precision = "fp32",
) -> list[Floats]:
    """Log-probability of each token of `texts` after its prompt, control tokens banned.

    A text is tokenised together with its prompt; a token that reaches back into the prompt
    counts as one of the text's.
    """
    barred = list(known.token_ids(checkpoint.tokenizer)) if known is not None else []
    whole = encode_texts(checkpoint.tokenizer, [a + b for a, b in zip(prompts, texts, strict=True)])
    rows = [(*before, *encoded.ids.tolist()) for encoded in whole]
    sizes = [
        int((encoded.offsets[:, 1] > len(prompt)).sum())
        for encoded, prompt in zip(whole, prompts, strict=True)
    ]

    def read(logits_NTV: torch.Tensor, ids_NT: torch.Tensor, some: list[int]) -> list[Floats]:
        logits_NTV[:, :, barred] = -torch.inf
        found = []
        for row, number in enumerate(some):
            end = len(rows[number])
            begin = end - sizes[number]
            logs_SV = logits_NTV[row, begin - 1 : end - 1].double().log_softmax(-1)
            own_S = logs_SV.gather(-1, ids_NT[row, begin:end, None])[:, 0]
            found.append(own_S.cpu().numpy())
        return found

    return _looked(checkpoint, rows, read, precision)


def good_after_end(
    checkpoint: Checkpoint,
    known: ControlScheme,
    texts: Sequence[str],
    *,
    precision: Precision = "fp32",
) -> Floats:
    """The verdict [N]: after text and EOS, P(best band's token) among the bands' tokens.

    Texts stand without control tokens, as judged documents do in training.
    """
    tokenizer = checkpoint.tokenizer
    controls = list(known.token_ids(tokenizer))
    rows = [
        (*start_ids(tokenizer), *encoded.ids.tolist(), tokenizer.eos_token_id)
        for encoded in encode_texts(tokenizer, texts)
    ]

    def read(logits_NTV: torch.Tensor, _: torch.Tensor, some: list[int]) -> list[float]:
        last = torch.tensor([len(rows[number]) - 1 for number in some], device=logits_NTV.device)
        ends_NV = logits_NTV[torch.arange(len(some), device=last.device), last]
        good: list[float] = ends_NV[:, controls].double().softmax(-1)[:, known.best].tolist()
        return good

    return np.array(_looked(checkpoint, rows, read, precision), dtype=np.float64)


@torch.inference_mode()
def states_at_end(
    checkpoint: Checkpoint, before: Tokens, texts: Sequence[str], *, precision: Precision = "fp32"
) -> torch.Tensor:
    """The last hidden state [N, D] at the last token of each text."""
    rows = [
        (*before, *encoded.ids.tolist()) for encoded in encode_texts(checkpoint.tokenizer, texts)
    ]
    states = torch.zeros(len(rows), checkpoint.model.config.hidden_size)
    for some, inputs in _batches(checkpoint, rows):
        with autocast(precision, checkpoint.model.device):
            hidden_NTD = backbone(checkpoint.model)(**inputs, use_cache=False).last_hidden_state
        last = [len(rows[number]) - 1 for number in some]
        states[some] = hidden_NTD[range(len(some)), last].float().cpu()
    return states


@torch.inference_mode()
def _looked(
    checkpoint: Checkpoint,
    rows: Sequence[Tokens],
    read: Callable[[torch.Tensor, torch.Tensor, list[int]], list[T]],
    precision: Precision,
) -> list[T]:
    """What `read` makes of the logits [N, T, V] of some rows, for all rows in order."""
    found: dict[int, T] = {}
    for some, inputs in _batches(checkpoint, rows):
        with autocast(precision, checkpoint.model.device):
            logits_NTV = checkpoint.model(**inputs, use_cache=False).logits.float()
        found.update(zip(some, read(logits_NTV, inputs["input_ids"], some), strict=True))
    return [found[number] for number in range(len(rows))]


def _batches(
    checkpoint: Checkpoint, rows: Sequence[Tokens]
) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
    """Rows of like length together, padded at the end, where no token sees it.

    Raises `ModelError` for a row longer than the model's context.
    """
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
    limit = getattr(checkpoint.model.config, "max_position_embeddings", None)
    if order and limit is not None and len(rows[order[0]]) > limit:
        raise ModelError(
            f"a question takes {len(rows[order[0]])} tokens, and the model's context is {limit}",
            where="measure.knowing",
            fix="Lower measure.knowing.shots, shown or max_tokens.",
        )
    device, pad = checkpoint.model.device, checkpoint.tokenizer.eos_token_id
    while order:
        longest = len(rows[order[0]])
        some, order = order[: (count := max(1, TOKENS_AT_ONCE // longest))], order[count:]
        ids_NT = torch.full((len(some), longest), pad, dtype=torch.long)
        mask_NT = torch.zeros_like(ids_NT)
        for place, number in enumerate(some):
            ids_NT[place, : len(rows[number])] = torch.tensor(rows[number])
            mask_NT[place, : len(rows[number])] = 1
        yield some, {"input_ids": ids_NT.to(device), "attention_mask": mask_NT.to(device)}
