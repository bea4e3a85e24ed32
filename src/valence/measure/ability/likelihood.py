"""log p of given text in a mode: texts laid out as in training, and read in batches.

Legend: N text tokens, T tokens of a pass, K tokens that are counted, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from valence.control import ControlScheme
from valence.guide.band import ban
from valence.guide.modes import hold
from valence.measure.ability.texts import segmenter_of
from valence.model import Checkpoint, encode_texts, special_ids, start_ids
from valence.pack import align
from valence.precision import Precision, autocast

BATCH = 16
"""Passes that go through the model together, at the most."""
LOGITS = 2**26
"""Scores that are held in memory at once, at the most; a pass is never cut."""

Offsets = npt.NDArray[np.int64]
Nats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Progress = Callable[[int, int], None]

Hold = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Scores [K, V] made those of a mode, given the tokens before them [K, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """A text as a model reads it in a mode.

    `ids` [T] with what stands before and between; `places` [N] where its text tokens stand in
    them; `ends` [N] the characters at which these end.
    """

    ids: Offsets
    places: Offsets
    ends: Offsets


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Tokens [T] that are read in one go, and which of them are counted [K], never the first."""

    ids: Offsets
    counted: Offsets


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """log p [K] of the counted tokens of a pass, and whether each was the likeliest [K]."""

    nats: Nats
    greedy: Flags


class Layout:
    """Lays texts out in a mode: the start of a document, then text with control tokens.

    They stand where they stood in training, or with `control` "start" at the start alone, or with
    "writing" where the mode puts them while it writes.
    `known` names the control tokens in the vocabulary, if there are any. Raises `ControlError`
    for a mode that the model does not know.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        known: ControlScheme | None,
        mode: str,
        *,
        control: Literal["segments", "start", "writing"] = "segments",
    ) -> None:
        self.tokenizer = checkpoint.tokenizer
        self.control_ids = known.token_ids(self.tokenizer) if known is not None else ()
        forced, self.hold = hold(checkpoint, self.control_ids, mode)
        self.prefix = (*start_ids(self.tokenizer), *forced)
        scheme = checkpoint.scheme
        self._forced = forced
        renews = control == "segments" or (control == "writing" and self.hold.forced is not None)
        self._each = bool(
            forced
            and renews
            and scheme is not None
            and scheme.level == "segment"
            and scheme.placement == "every"
        )
        # Under random placement a token may be as far away as it likes.
        renewed = scheme is not None and scheme.placement != "random" and renews
        self.carried = forced if renewed else ()
        self._segment = segmenter_of(checkpoint) if self._each else None
        self._specials = special_ids(self.tokenizer)

    def lay(self, texts: Sequence[str]) -> list[Laid]:
        """Texts as the model reads them; no special token comes of any text."""
        encoded = encode_texts(self.tokenizer, texts, specials=self._specials)
        return [
            self._one(text, each.ids.astype(np.int64), each.offsets)
            for text, each in zip(texts, encoded, strict=True)
        ]

    def _one(self, text: str, ids: Offsets, offsets: Offsets) -> Laid:
        before = np.zeros(0, dtype=np.int64)
        if self._segment is not None and len(ids):
            ends = np.array(self._segment(text), dtype=np.int64)
            starts = np.unique(align(text, offsets, ends)[0])
            # The first segment's token is part of the prefix.
            before = starts[(starts > 0) & (starts < len(ids))]
        body = np.insert(ids, before, self._forced[0]) if len(before) else ids
        numbers = np.arange(len(ids))
        shifts = np.searchsorted(before, numbers, side="right")
        return Laid(
            ids=np.concatenate([np.array(self.prefix, dtype=np.int64), body]),
            places=numbers + shifts + len(self.prefix),
            ends=offsets[:, 1],
        )


def banning(control_ids: Sequence[int], eos_id: int) -> Hold:
    """Log-probabilities without control tokens: what losses are taken of."""
    banned = torch.tensor(control_ids, dtype=torch.long)

    def apply(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return ban(scores, banned.to(scores.device), eos_id)

    return apply


def passes(
    ids: Offsets, counted: Offsets, *, window: int, carried: Sequence[int] = ()
) -> list[Pass]:
    """Passes of at most `window` tokens of context in which each counted token is read once.

    If those that are counted can be predicted in one pass, they are, with as much before them
    as there is room for; otherwise the passes follow each other, and only the last reads some
    tokens again. All but a first begin with the `carried` control token.
    """
    if not len(counted):
        return []
    first, last = int(counted.min()), int(counted.max())
    if last <= window:
        return [Pass(ids=ids[: last + 1], counted=counted)]
    room = window - len(carried)
    head = np.array(carried, dtype=np.int64)
    if last - first < room:
        begin = last - room
        shifted = counted - begin + len(head)
        return [Pass(ids=np.concatenate([head, ids[begin : last + 1]]), counted=shifted)]
    found: list[Pass] = []
    begin, end = 0, window
    while begin < last:
        inside = counted[(counted > begin) & (counted <= end)]
        # The last has room for some of what was read before.
        start = min(begin, last - room) if end >= last else begin
        front = head[:0] if start == 0 else head
        if len(inside):
            part = np.concatenate([front, ids[start : int(inside.max()) + 1]])
            found.append(Pass(ids=part, counted=inside - start + len(front)))
        begin, end = end, end + room
    return found


def read_passes(
    checkpoint: Checkpoint,
    todo: Sequence[Pass],
    held: Hold,
    *,
    precision: Precision = "fp32",
    on_progress: Progress | None = None,
) -> list[Read]:
    """log p of each pass's counted tokens, in nats, in the order given.

    Passes of one length are read together; rounding may differ with the company.
    """
    size = checkpoint.model.get_output_embeddings().weight.shape[0]
    order = sorted(range(len(todo)), key=lambda i: (-len(todo[i].ids), i))
    found: dict[int, Read] = {}
    done = 0
    while done < len(order):
        width = len(todo[order[done]].ids) - 1
        group = order[done : done + max(min(BATCH, LOGITS // (width * size)), 1)]
        reads = _read_batch(checkpoint, [todo[i] for i in group], held, precision)
        found.update(zip(group, reads, strict=True))
        done += len(group)
        if on_progress is not None:
            on_progress(done, len(order))
    return [found[i] for i in range(len(todo))]


def _read_batch(
    checkpoint: Checkpoint, batch: Sequence[Pass], held: Hold, precision: Precision
) -> list[Read]:
    device = checkpoint.model.device
    width = max(len(each.ids) for each in batch) - 1
    # Padding stands after the text, where no token that counts can see it.
    ids_BT = np.zeros((len(batch), width), dtype=np.int64)
    for row, each in enumerate(batch):
        ids_BT[row, : len(each.ids) - 1] = each.ids[:-1]
    counts = [len(each.counted) for each in batch]
    rows_K = np.repeat(np.arange(len(batch)), counts)
    places_K = np.concatenate([each.counted for each in batch]) - 1
    targets_K = torch.from_numpy(np.concatenate([each.ids[each.counted] for each in batch]))
    inputs_BT = torch.from_numpy(ids_BT).to(device)
    with torch.inference_mode():
        with autocast(precision, device):
            logits_BTV = checkpoint.model(input_ids=inputs_BT, use_cache=False).logits
        scores_KV = logits_BTV[torch.from_numpy(rows_K), torch.from_numpy(places_K)].float()
        before_K1 = inputs_BT[torch.from_numpy(rows_K), torch.from_numpy(places_K)][:, None]
        logs_KV = held(before_K1, scores_KV).log_softmax(-1)
        targets_K = targets_K.to(device)
        nats_K = logs_KV.gather(1, targets_K[:, None])[:, 0].double().cpu().numpy()
        greedy_K = (logs_KV.argmax(-1) == targets_K).cpu().numpy()
    bounds = np.cumsum(counts)[:-1]
    return [
        Read(nats=nats, greedy=greedy)
        for nats, greedy in zip(np.split(nats_K, bounds), np.split(greedy_K, bounds), strict=True)
    ]
