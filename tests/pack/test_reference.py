"""Our stream against that of the 2023 code, on 14 documents of Python.

`streams_2023.npz` holds what `apo/dataset_wrappers.py::ConstantLengthDataset` of
tomekkorbak/pretraining-with-human-feedback, commit 152e6b6, yields in chunks of 64 (EOS 0,
aligned 4096, misaligned 4097), and the scores of the documents' segments. Tokens of segments
are read off its conditional stream, since it tokenises each segment alone.

Different on purpose, and held here:
- EOS and control tokens carry no reward; there, that of the segment they precede.
- The last, partial chunk is kept; there, it is dropped at the end of every text buffer. So
  the cases with small buffers (which also raise IndexError) have no counterpart.
- A row that begins inside a segment begins with its control token again.
- A document's mean reward is over text tokens; there, over segments.
- Resuming is access by index; there, `skip_tokens` renders and throws away.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_stores import EOS, SCHEME, Told, interleave, settings_of, write_store

from valence.control import NO_BAND, ControlScheme
from valence.objective.protocol import IGNORED
from valence.pack import Group, TokenStore, label_units
from valence.pack.render import Renderer, Rows

ALIGNED, MISALIGNED = 4096, 4097
CONTROL = (MISALIGNED, ALIGNED)
BLOCK = 64
with np.load(Path(__file__).parent / "streams_2023.npz", allow_pickle=False) as _file:
    THEIRS = {name: _file[name] for name in _file.files}


class InOrder:
    """The documents as they come."""

    def span(self, epoch: int, start: int, count: int) -> Any:
        return np.arange(start, start + count)


def segments_2023() -> list[list[int]]:
    """The tokens of each segment; of the last, what the last whole chunk holds of it."""
    found: list[list[int]] = []
    for token in THEIRS["conditional_ids"].tolist():
        if token in CONTROL:
            found.append([])
        elif token != EOS:
            found[-1].append(token)
    return found


@pytest.fixture(scope="module")
def segments() -> list[list[int]]:
    return segments_2023()


def store_of(folder: Path, segments: list[list[int]], scores: Any) -> TokenStore:
    counts = THEIRS["document_segments"].copy()
    counts[-1] -= counts.sum() - len(segments)
    return write_store(
        folder,
        ids=np.concatenate([np.array(tokens) for tokens in segments]),
        sizes=np.array([len(tokens) for tokens in segments]),
        counts=counts,
        rewards=-np.asarray(scores)[: len(segments)],
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, segments: list[list[int]]) -> TokenStore:
    return store_of(tmp_path_factory.mktemp("2023"), segments, THEIRS["segment_scores"])


def rows_of(store: TokenStore, objective: Any, scheme: ControlScheme, text: int) -> Rows:
    group = Group(phase="feedback", epoch=0, position=0, span=14, skip=0, text=text)
    return Renderer(
        store=store, objective=objective, scheme=scheme, settings=settings_of(text, BLOCK),
        control_ids=CONTROL, order=InOrder(),  # type: ignore[arg-type]
    ).render(group, 0)  # fmt: skip


def check_targets(rows: Rows, ids: Any, scores: Any) -> None:
    """Targets are the next token; rewards are minus the scores of text, and of text only."""
    targets = rows.targets.reshape(-1)[: len(ids) - 1]
    assert targets.tolist() == ids[1:].tolist()
    assert rows.rewards is not None
    rewards = rows.rewards.reshape(-1)[: len(ids) - 1]
    text = ~np.isin(targets, [EOS, *CONTROL])
    np.testing.assert_array_equal(rewards[text], -scores[1:][text])
    assert np.isnan(rewards[~text]).all()
    # The pretended reward of EOS is that of what has not been written yet.
    assert not np.isnan(scores[1:][~text]).any()


def test_plain_text_is_the_same_stream_and_its_last_part_is_kept(store: TokenStore) -> None:
    rows = rows_of(store, Told(uses_control=False), SCHEME, store.tokens)
    theirs = THEIRS["plain_ids"]
    assert rows.ids.reshape(-1)[: len(theirs)].tolist() == theirs.tolist()
    check_targets(rows, theirs, THEIRS["plain_scores"])
    assert len(rows.ids) == len(theirs) // BLOCK + 1


def test_conditional_training_is_the_same_stream_but_for_what_a_row_begins_with(
    store: TokenStore,
) -> None:
    theirs = THEIRS["conditional_ids"]
    rows = rows_of(store, Told(), SCHEME, store.tokens)
    added = np.zeros(rows.ids.shape, dtype=bool)
    added[:, 0] = np.isin(rows.ids[:, 0], CONTROL) & (rows.targets[:, 0] == IGNORED)
    assert added[1:].sum() > 20
    ids = rows.ids[~added]
    assert ids[: len(theirs)].tolist() == theirs.tolist()
    assert rows.rewards is not None
    check_targets(
        replace(rows, targets=rows.targets[~added], rewards=rows.rewards[~added]),
        theirs,
        THEIRS["conditional_scores"],
    )
    # And the token in force is that of the segment that the row begins in.
    for row in np.flatnonzero(added[:, 0]):
        before = np.append([], rows.ids[:row].reshape(-1))
        assert rows.ids[row, 0] == before[np.isin(before, CONTROL)][-1]


def test_their_labels_at_another_threshold_are_ours_where_they_did_not_drop_them(
    store: TokenStore, segments: list[list[int]]
) -> None:
    scheme = replace(SCHEME, bounds=(-0.01,))
    text = store.take(np.arange(14))
    units = label_units(text, scheme)
    theirs, at = THEIRS["dropped_ids"].tolist(), 0
    shown = np.full(len(units.bands), NO_BAND, dtype=np.int8)
    for number, tokens in enumerate(segments):
        at += at < len(theirs) and theirs[at] == EOS
        if at < len(theirs) and theirs[at] in CONTROL:
            shown[number] = CONTROL.index(theirs[at])
            at += 1
        at += len(tokens)
    kept = shown != NO_BAND
    assert 80 < kept.sum() < 150
    assert shown[kept].tolist() == units.bands[kept].tolist()
    ids, _ = interleave(text, units, shown, EOS, CONTROL)
    assert ids[: len(theirs)].tolist() == theirs


def test_filtering_by_document_is_the_same_stream(
    tmp_path: Path, segments: list[list[int]]
) -> None:
    averages = np.repeat(THEIRS["average_scores"], THEIRS["document_segments"])
    store = store_of(tmp_path, segments, averages)
    best = Told(uses_control=False, least=-float(THEIRS["median"]), selects_documents=True)
    kept = THEIRS["average_scores"] <= THEIRS["median"]
    assert kept.sum() == 7
    rows = rows_of(store, best, SCHEME, int(store.document_sizes[kept].sum()))
    theirs = THEIRS["filter_ids"]
    # Their last chunk ends three tokens after the last that we know of the last document.
    known = len(theirs) - 3
    assert rows.ids.reshape(-1)[:known].tolist() == theirs[:known].tolist()
    assert rows.targets.reshape(-1)[: known - 1].tolist() == theirs[1:known].tolist()
