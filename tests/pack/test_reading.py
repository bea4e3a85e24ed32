"""Text that is read and not trained on, against laying it out one token at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_stores import CONTROL_IDS, EOS, GOOD, SCHEME, Docs

from valence.control import NO_BAND, ControlScheme
from valence.objective.protocol import IGNORED
from valence.pack import Tokenised
from valence.pack.reading import TextRows, rows_of_documents
from valence.pack.units import label_units

NAN = float("nan")
SPECIAL = 7_000
"""First of the ids that stand around documents and are no text."""

segments = st.tuples(st.integers(0, 6), st.sampled_from([0.0, 0.5, -0.25, -1.0, NAN]))
documents = st.lists(segments, min_size=1, max_size=6)
corpora = st.lists(documents, min_size=1, max_size=5)
thorough = settings(deadline=None, max_examples=200)


@dataclass
class Token:
    id: int
    text: bool = False
    control: bool = False
    band: int = NO_BAND
    """The band whose token this stands under."""


def tokenised_of(docs: Docs) -> Tokenised:
    """Text tokens 3, 4, 5, ...: each is there once, so it tells its place."""
    flat = [each for doc in docs for each in doc]
    sizes = np.array([size for size, _ in flat])
    counts = np.array([len(doc) for doc in docs])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    firsts = np.concatenate([[0], np.cumsum(counts)])
    lengths = np.diff(starts[firsts])
    return Tokenised(
        ids=np.arange(starts[-1], dtype=np.int32) + 3,
        documents=starts[firsts],
        segments=starts[:-1],
        rewards=np.array([reward for _, reward in flat], dtype=np.float32),
        segment_documents=np.repeat(np.arange(len(docs)), counts),
        chars=lengths,
        bytes=lengths,
    )


def slow_rows(
    docs: Docs, scheme: ControlScheme, bands: list[int], around: Any, block: int
) -> list[tuple[int, list[tuple[int, int, int, bool]]]]:
    """Each row with the number of its document; a token is its id, target, document, and whether
    its target is text.
    """
    given, at, found = iter(bands), 3, []
    start_ids, end_ids = around
    for number, doc in enumerate(docs):
        stream = _stream(doc, scheme, given, at, around)
        at += sum(size for size, _ in doc)
        for row in _cut(stream, block, (end_ids or start_ids)[0], start_ids, end_ids):
            found.append((number, row))
    return found


def _stream(doc: Any, scheme: ControlScheme, given: Any, at: int, around: Any) -> list[Token]:
    stream = [Token(id=token) for token in around[0]]
    asked, before, force = NO_BAND, None, NO_BAND
    first = True
    for size, _ in doc:
        if not size:
            continue
        if first or scheme.level == "segment":
            asked = next(given)
            repeats = scheme.placement == "change" and before == asked
            shows = not repeats and (first or scheme.placement != "random")
            if shows and asked != NO_BAND:
                stream.append(Token(id=CONTROL_IDS[asked], control=True))
            force = force if repeats else asked
        before = asked
        for _ in range(size):
            carried = NO_BAND if scheme.placement == "random" else force
            stream.append(Token(id=at, text=True, band=carried))
            at += 1
        first = False
    return stream + [Token(id=token) for token in around[1]]


def _cut(stream: list[Token], block: int, eos: int, start_ids: Any, end_ids: Any) -> Any:
    at = 0
    while at < len(stream):
        row = []
        if stream[at].text and stream[at].band != NO_BAND:
            row.append((CONTROL_IDS[stream[at].band], IGNORED, 0, False))
        while at < len(stream) and len(row) < block:
            token = stream[at]
            after = stream[at + 1] if at + 1 < len(stream) else None
            end = IGNORED if end_ids else start_ids[0]
            text = after is not None and after.text
            row.append((token.id, end if after is None else after.id, 0, text))
            at += 1
        while len(row) < block:
            row.append((eos, IGNORED, 1, False))
        yield row


def draw_case(data: st.DataObject, docs: Docs) -> tuple[Any, ...]:
    scheme = replace(
        SCHEME,
        level=data.draw(st.sampled_from(["segment", "document"])),
        placement=data.draw(st.sampled_from(["every", "change", "random"])),
    )
    text = tokenised_of(docs)
    count = len(label_units(text, scheme).bands)
    bands = data.draw(st.lists(st.sampled_from([NO_BAND, 0, 1]), min_size=count, max_size=count))
    start_ids = data.draw(st.sampled_from([(EOS,), (SPECIAL, SPECIAL + 1)]))
    end_ids = data.draw(st.sampled_from([(), (EOS,), (EOS, SPECIAL + 2)]))
    return text, scheme, bands, (start_ids, end_ids), data.draw(st.integers(2, 20))


def read(
    text: Tokenised, scheme: ControlScheme, bands: list[int], around: Any, block: int
) -> TextRows:
    return rows_of_documents(
        text, scheme, np.array(bands, dtype=np.int8), CONTROL_IDS,
        start_ids=around[0], end_ids=around[1], block=block,
    )  # fmt: skip


@thorough
@given(data=st.data(), docs=corpora)
def test_rows_are_those_of_laying_out_one_token_at_a_time(data: st.DataObject, docs: Docs) -> None:
    text, scheme, bands, around, block = draw_case(data, docs)
    rows = read(text, scheme, bands, around, block)
    slow = slow_rows(docs, scheme, bands, around, block)
    assert rows.owners.tolist() == [owner for owner, _ in slow]
    columns = [[list(column) for column in zip(*row, strict=True)] for _, row in slow]
    for at, name in enumerate(("ids", "targets", "documents", "texts")):
        assert getattr(rows, name).tolist() == [row[at] for row in columns], name


@thorough
@given(data=st.data(), docs=corpora)
def test_each_text_token_is_predicted_once_and_each_document_begins_a_row(
    data: st.DataObject, docs: Docs
) -> None:
    text, scheme, bands, around, block = draw_case(data, docs)
    rows = read(text, scheme, bands, around, block)
    assert rows.targets[rows.texts].tolist() == text.ids.tolist()
    others = rows.targets[~rows.texts]
    assert not ((others > GOOD) & (others < SPECIAL)).any()
    predicted = np.bincount(rows.owners, rows.texts.sum(axis=1), minlength=len(docs))
    assert predicted.tolist() == np.diff(text.documents).tolist()
    begins = np.flatnonzero(np.diff(rows.owners, prepend=-1))
    assert rows.owners[begins].tolist() == list(range(len(docs)))
    assert (rows.ids[begins, 0] == around[0][0]).all()
