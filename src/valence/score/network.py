"""Networks that score: text to tokens, tokens to numbers, in batches of similar length.

With `pretrained.py` the only module under `score/` that uses torch, which it imports when a
network is made. Text never becomes a control token: a string that spells one is split like
any other text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from valence.errors import ModelError
from valence.score.pretrained import (
    Dtype,
    Head,
    load_model,
    load_tokenizer,
    model_files,
    pick_device,
    resolve,
)
from valence.store import digest_files

if TYPE_CHECKING:
    import torch

Ids = Sequence[int]
Numbers = npt.NDArray[np.float32]
Offsets = npt.NDArray[np.int64]

MOST_TOKENS = {"cpu": 1024, "cuda": 65536, "mps": 16384}
"""Tokens, padding among them, in one pass through a network."""

MOST_LOGITS = 2**27
"""Numbers that a language model may give in one pass; a single longer text may give more."""

ROWS = 1024
"""Positions whose distribution is normalised at once."""


class Network:
    """A model in eval mode with its tokenizer; `head` says what it was loaded to give.

    `digest` covers the files of the weights, the configuration and the tokenizer;
    `precision` is what it computes in; `limit` the most tokens it takes, None if it states
    none; `control` are the ids of its special tokens, and `prefix` and `suffix` those that its
    tokenizer puts around a text; `flops` counts 2 per weight and token (without embeddings) and
    attention, padding left out.

    The same sequences in the same order give the same bytes on one machine. A sequence's
    numbers depend on the others beside it by rounding only (about 1e-6 of them in fp32).

    Raises `MissingFileError`, `ModelError`, and `ScorerError` for a device that is not there.
    """

    def __init__(
        self,
        model: str,
        head: Head,
        *,
        device: str = "auto",
        dtype: Dtype = "auto",
        revision: str | None = None,
    ) -> None:
        self.directory = resolve(model, revision)
        self.device = pick_device(device)
        self.digest = digest_files(model_files(self.directory))
        self.tokenizer = load_tokenizer(self.directory)
        self.model, self.precision = load_model(self.directory, head, dtype, self.device)
        self.config: Any = self.model.config
        self._pad: int | None = self.config.pad_token_id
        self.limit = _limit(self.model, self.tokenizer)
        self.control = {*self.tokenizer.all_special_ids} - {self.tokenizer.unk_token_id}
        self.prefix, self.suffix = self._around()
        self._weights = _weights(self.model)
        self.flops = 0.0
        if head == "language":
            self._check_causal()
            self.flops = 0.0

    def _around(self) -> tuple[list[int], list[int]]:
        inner: list[int] = self.token_ids(["a"])[0]
        whole: list[int] = self.tokenizer("a", verbose=False)["input_ids"]
        for start in range(len(whole) - len(inner) + 1):
            if whole[start : start + len(inner)] == inner:
                return whole[:start], whole[start + len(inner) :]
        return [], []

    def _check_causal(self) -> None:
        """A masked model that is read as a causal one would see the token it is asked for."""
        start, end = 0, int(self.config.vocab_size) - 1
        first, second = self.log_probs([[start, end, start], [start, end, end]])
        if not np.isclose(first[0], second[0], atol=1e-2):
            raise ModelError(
                "is not a causal language model: its first tokens see the later ones",
                where=str(self.directory),
                fix="Name a model that was trained to write text from left to right.",
            )

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text alone, whatever it spells; nothing is put around them."""
        if not texts:
            return []
        found: list[list[int]] = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        return [
            ids if self.control.isdisjoint(ids) else self.token_offsets(text)[0]
            for text, ids in zip(texts, found, strict=True)
        ]

    def token_offsets(self, text: str) -> tuple[list[int], Offsets]:
        """The tokens of one text and where each stands in it, in characters [N, 2]."""
        found = self.tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
            verbose=False,
        )
        ids: list[int] = found["input_ids"]
        offsets = np.asarray(found["offset_mapping"], dtype=np.int64).reshape(-1, 2)
        # Some tokenizers (Unigram) have control tokens among their pieces and find them in text.
        forged = np.isin(ids, list(self.control)) & (np.diff(offsets)[:, 0] > 1)
        if not forged.any():
            return ids, offsets
        cuts = [0, *(offsets[forged, 0] + 1).tolist(), len(text)]
        pieces = [(cut, *self.token_offsets(text[cut:end])) for cut, end in pairwise(cuts)]
        return (
            [token for _, piece, _ in pieces for token in piece],
            np.concatenate([places + cut for cut, _, places in pieces]),
        )

    def outputs(self, sequences: Sequence[Ids]) -> Numbers:
        """A classifier's raw numbers for each sequence of ids [N, labels]."""
        import torch

        found = np.empty((len(sequences), int(self.config.num_labels)), dtype=np.float32)
        for rows in in_batches([len(s) for s in sequences], self._most_tokens()):
            ids_BT, mask_BT = self._padded([sequences[row] for row in rows])
            with torch.inference_mode():
                logits_BK = self.model(input_ids=ids_BT, attention_mask=mask_BT).logits
            found[rows] = logits_BK.float().cpu().numpy()
        self._count(sequences)
        return found

    def log_probs(self, sequences: Sequence[Ids], banned: Ids = ()) -> list[Numbers]:
        """Log-probability (nats) of each token given those before it [T - 1], per sequence.

        `banned` ids have no probability, the others share it; what a banned id itself would
        have is of no meaning.
        """
        import torch

        found: list[Numbers] = [np.empty(0, dtype=np.float32)] * len(sequences)
        budget = min(self._most_tokens(), MOST_LOGITS // int(self.config.vocab_size))
        barred = torch.tensor(list(banned), dtype=torch.long, device=self.device)
        for rows in in_batches([len(s) for s in sequences], budget):
            ids_BT, mask_BT = self._padded([sequences[row] for row in rows])
            with torch.inference_mode():
                logits_BTV = self.model(
                    input_ids=ids_BT, attention_mask=mask_BT, use_cache=False
                ).logits
                taken_BT = _taken(logits_BTV[:, :-1], ids_BT[:, 1:], barred).cpu().numpy()
            for row, taken_T in zip(rows, taken_BT, strict=True):
                found[row] = taken_T[: len(sequences[row]) - 1]
        self._count(sequences)
        return found

    def _most_tokens(self) -> int:
        return MOST_TOKENS[self.device.partition(":")[0]]

    def _padded(self, sequences: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask [B, T], padded on the right."""
        import torch

        pad = self._pad
        if pad is None:
            # A decoder's classifier reads the last token that is not this one: take one not in use.
            used = {token for sequence in sequences for token in sequence}
            pad = next(token for token in range(len(used) + 1) if token not in used)
            self.config.pad_token_id = pad
        ids = np.full((len(sequences), max(map(len, sequences))), pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)

    def _count(self, sequences: Sequence[Ids]) -> None:
        layers = int(getattr(self.config, "num_hidden_layers", 0) or 0)
        width = int(getattr(self.config, "hidden_size", 0) or 0)
        for length in map(len, sequences):
            self.flops += 2.0 * self._weights * length + 4.0 * layers * width * length**2


def in_batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Indices in groups of similar length, longest first, padded sizes of at most `most`.

    Equal lengths stay in their order; a single longer one is a group of its own.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    group: list[int] = []
    for index in order:
        if group and lengths[group[0]] * (len(group) + 1) > most:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _limit(model: Any, tokenizer: Any) -> int | None:
    """The most tokens, as its table of positions, its configuration or its tokenizer says."""
    limits = [int(tokenizer.model_max_length)]
    tables = [m for name, m in model.named_modules() if name.endswith("position_embeddings")]
    if tables and hasattr(tables[0], "num_embeddings"):
        padding = getattr(tables[0], "padding_idx", None)
        # RoBERTa and its kin begin to count positions after the padding's index.
        limits.append(tables[0].num_embeddings - (0 if padding is None else padding + 1))
    elif getattr(model.config, "max_position_embeddings", None):
        limits.append(int(model.config.max_position_embeddings))
    least = min(limits)
    return least if least < 10**9 else None


def _weights(model: Any) -> int:
    """Weights that a token is multiplied with: all but tables that are only looked up in."""
    import torch

    tables = {
        id(weight)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
        for weight in module.parameters()
    }
    head = model.get_output_embeddings()
    tables -= {id(weight) for weight in head.parameters()} if head is not None else set()
    return sum(weight.numel() for weight in model.parameters() if id(weight) not in tables)


def _taken(
    logits_BTV: torch.Tensor, targets_BT: torch.Tensor, barred: torch.Tensor
) -> torch.Tensor:
    """log p of the targets [B, T] in fp32, some rows at a time; `barred` have none."""
    import torch

    parts = []
    for start in range(0, logits_BTV.shape[1], ROWS):
        part_BTV = logits_BTV[:, start : start + ROWS].float()
        part_BTV[..., barred] = float("-inf")
        targets = targets_BT[:, start : start + ROWS, None]
        parts.append(torch.log_softmax(part_BTV, dim=-1).gather(-1, targets)[..., 0])
    return torch.cat(parts, dim=1) if parts else targets_BT.float()
