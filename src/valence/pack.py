"""Annotation to token sequences: tokenise each document once, put control tokens between.

Text tokens are the same for every objective. A segment's control token stands before the
first token that belongs to the segment; the text's own tokens are never cut by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from valence.annotate.read import Annotated
from valence.control import NO_BAND, Bands, ControlScheme, Rewards
from valence.errors import CorpusError
from valence.objective.protocol import IGNORED
from valence.store import digest_files, read_json, write_json, writing

Ids = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenised:
    """Documents as text tokens, flat, in corpus order.

    `ids` [N]; `documents` [D + 1] where each document begins in `ids`; `segments` [S]
    where each segment begins in `ids`; `rewards` [S], NaN where there is none;
    `segment_documents` [S] the document of each segment; `chars` and `bytes` [D].
    `straddling` counts tokens that reach over a segment's start.
    """

    ids: Ids
    documents: Offsets
    segments: Offsets
    rewards: Rewards
    segment_documents: Offsets
    chars: Offsets
    bytes: Offsets
    straddling: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """What gets a label: the text token it begins at, its true band, its document [U]."""

    starts: Offsets
    bands: Bands
    documents: Offsets


def tokenise(
    annotated: Iterable[Annotated],
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_tokens: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tokenised:
    """Tokenise documents once each; documents without any reward are left out.

    Stops after the document in which `max_tokens` is reached. Raises `CorpusError` if no
    document has a reward.
    """
    ids: list[Ids] = []
    segments: list[Offsets] = []
    rewards: list[Rewards] = []
    owners: list[int] = []
    sizes: list[tuple[int, int, int]] = []
    total = straddling = 0
    usable = (item for item in annotated if not np.isnan(item.rewards).all())
    for item, tokens, starts, crossed in _encode(usable, tokenizer):
        straddling += crossed
        segments.append(starts + total)
        rewards.append(item.rewards)
        owners.extend([len(sizes)] * len(starts))
        ids.append(tokens)
        text = item.document.text
        sizes.append((len(tokens), len(text), len(text.encode())))
        total += len(tokens)
        if on_progress is not None:
            on_progress(min(total, max_tokens or total), max_tokens or total)
        if max_tokens is not None and total >= max_tokens:
            break
    if not sizes:
        raise CorpusError(
            "no document has a reward", where="pack", fix="See the failures of the annotation."
        )
    lengths, chars, size_bytes = np.array(sizes, dtype=np.int64).T
    return Tokenised(
        ids=np.concatenate(ids),
        documents=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        segments=np.concatenate(segments),
        rewards=np.concatenate(rewards),
        segment_documents=np.array(owners, dtype=np.int64),
        chars=chars,
        bytes=size_bytes,
        straddling=straddling,
    )


def _encode(
    annotated: Iterable[Annotated], tokenizer: PreTrainedTokenizerFast
) -> Iterator[tuple[Annotated, Ids, Offsets, int]]:
    backend = tokenizer.backend_tokenizer
    # The setting that keeps literal control strings in text as text.
    backend.encode_special_tokens = True
    source = iter(annotated)
    while group := list(islice(source, 64)):
        texts = [item.document.text for item in group]
        for item, encoding in zip(
            group, backend.encode_batch(texts, add_special_tokens=False), strict=True
        ):
            offsets = np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)
            starts, crossed = align(item.document.text, offsets, item.ends)
            yield item, np.asarray(encoding.ids, dtype=np.int32), starts, crossed


def align(text: str, offsets: Offsets, ends: Offsets) -> tuple[Offsets, int]:
    """First token of each segment [S], from token offsets [N, 2] and segment ends [S].

    A token that reaches over a segment's start belongs to the segment that holds its
    first character that is not blank, or else its first. Returns also how many do.
    """
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    first = np.searchsorted(offsets[:, 0], starts, side="left")
    crossed = 0
    for index in np.flatnonzero(first > 0):
        before = first[index] - 1
        token_start, token_end = offsets[before]
        if token_end <= starts[index]:
            continue
        # Several tokens may spell one character: only a token that begins earlier crosses.
        crossed += 1
        head = text[token_start : starts[index]]
        if not head.strip() and text[starts[index] : token_end].strip():
            first[index] = before
    return first.astype(np.int64), crossed


def label_units(tokenised: Tokenised, scheme: ControlScheme) -> Units:
    """What gets a label of its own: each segment, or each document at level `document`.

    A segment without a token of its own gets none, so of several segments that begin at
    one token only the last is a unit. A document's reward is its mean over text tokens.
    """
    owners, rewards = tokenised.segment_documents, tokenised.rewards
    document_ends = tokenised.documents[1:]
    if scheme.level == "segment":
        following = np.append(tokenised.segments[1:], -1)
        own = (tokenised.segments != following) & (tokenised.segments < document_ends[owners])
        return Units(
            starts=tokenised.segments[own],
            bands=scheme.bands(rewards[own]),
            documents=owners[own],
        )
    sizes = np.append(tokenised.segments[1:], len(tokenised.ids)) - tokenised.segments
    weights = np.where(np.isnan(rewards), 0.0, sizes)
    documents = len(document_ends)
    totals = np.bincount(owners, np.nan_to_num(rewards).astype(np.float64) * weights, documents)
    means = totals / np.maximum(np.bincount(owners, weights, documents), 1.0)
    return Units(
        starts=tokenised.documents[:-1],
        bands=scheme.bands(means.astype(np.float32)),
        documents=np.arange(documents, dtype=np.int64),
    )


def place(units: Units, bands: Bands, scheme: ControlScheme) -> Bands:
    """Bands [U] without those that placement leaves out: with `change`, repeated ones."""
    shown = bands.copy()
    if scheme.placement == "change":
        repeated = (bands[1:] == bands[:-1]) & (np.diff(units.documents) == 0)
        shown[1:][repeated] = NO_BAND
    return shown


def render(
    tokenised: Tokenised, units: Units, bands: Bands, eos_id: int, control_ids: tuple[int, ...]
) -> tuple[Ids, Flags]:
    """One stream of tokens: EOS before each document, a control token before each unit.

    `bands` [U]; `NO_BAND` puts no token. Returns the stream [M] and which of it is text [M].
    """
    shown = bands != NO_BAND
    control = np.asarray(control_ids, dtype=np.int32)
    # At one place EOS comes first: it is listed first, and the sort is stable.
    places = np.concatenate([tokenised.documents[:-1], units.starts[shown]])
    extra = np.concatenate(
        [np.full(len(tokenised.documents) - 1, eos_id, dtype=np.int32), control[bands[shown]]]
    )
    order = np.argsort(places, kind="stable")
    stream = np.insert(tokenised.ids, places[order], extra[order])
    is_text = np.insert(
        np.ones(len(tokenised.ids), dtype=np.bool_), places[order], np.zeros(len(extra), bool)
    )
    return stream.astype(np.int32), is_text


def write_pack(
    directory: Path,
    tokenised: Tokenised,
    units: Units,
    bands: Bands,
    scheme: ControlScheme,
    *,
    eos_id: int,
    control_ids: tuple[int, ...],
    text_tokens: int,
    block: int,
) -> dict[str, Any]:
    """Write sequences of `block` tokens that hold exactly `text_tokens` text tokens.

    `bands` [U] are rendered as they are.
    A corpus that is too short is repeated, and the manifest says how often; the last
    sequence is padded and its padding never trained. Returns the manifest.
    """
    stream, is_text = render(tokenised, units, bands, eos_id, control_ids)
    per_epoch = int(is_text.sum())
    epochs, rest = divmod(text_tokens, per_epoch)
    tail = int(np.searchsorted(np.cumsum(is_text), rest)) + 1 if rest else 0
    pieces = [stream] * epochs + [stream[:tail]]
    length = sum(len(piece) for piece in pieces)
    rows = -(-length // block)
    kind = np.uint16 if max(eos_id, int(stream.max())) < 2**16 else np.uint32
    path = directory / "tokens.npy"
    packed = np.full((rows, block), eos_id, dtype=kind)
    packed.reshape(-1)[:length] = np.concatenate(pieces)
    # Not a writable memory map: on a full disk that kills the process without a word.
    with writing(path) as beside, beside.open("wb") as handle:
        np.save(handle, packed, allow_pickle=False)
    control = np.isin(packed, control_ids).sum()
    manifest = {
        "rows": rows,
        "block": block,
        "tokens": length,
        "text_tokens": text_tokens,
        "control_tokens": int(control),
        "epochs": text_tokens / per_epoch,
        "documents": len(tokenised.documents) - 1,
        "straddling_tokens": tokenised.straddling,
        "masked_ids": list(control_ids) if scheme.mask_loss else [],
        "digest": digest_files([path]),
    }
    write_json(directory / "manifest.json", manifest)
    return manifest


class PackedDataset:
    """Sequences of a pack, read from disk as they are needed: `input_ids` and `labels` [T]."""

    def __init__(self, directory: Path) -> None:
        self.manifest: dict[str, Any] = read_json(directory / "manifest.json")
        self._rows = np.load(directory / "tokens.npy", mmap_mode="r", allow_pickle=False)
        self._masked = np.asarray(self.manifest["masked_ids"], dtype=np.int64)

    def __len__(self) -> int:
        return int(self.manifest["rows"])

    def __getitem__(self, index: int) -> dict[str, npt.NDArray[np.int64]]:
        ids = self._rows[index].astype(np.int64)
        labels = ids.copy()
        if len(self._masked):
            labels[np.isin(labels, self._masked)] = IGNORED
        valid = self.manifest["tokens"] - index * self.manifest["block"]
        labels[max(valid, 0) :] = IGNORED
        return {"input_ids": ids, "labels": labels}
