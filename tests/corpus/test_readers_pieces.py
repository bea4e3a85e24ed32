"""Pieces: put together they are the input, however it is cut; skipping drops and no more."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valence.corpus import jsonl
from valence.corpus.readers import Item, Piece, plan_pieces, read_corpus, read_piece
from valence.recipe import CorpusRecipe

LINES = st.lists(
    st.sampled_from(
        [b'{"text": "a"}', b'{"text": "\xc3\xa9\xc3\xa9"}', b"", b" \r", b"{", b'{"text": ""}']
    ),
    max_size=12,
)


def read_all(recipe: CorpusRecipe, piece_bytes: int) -> tuple[list[Piece], list[Item]]:
    pieces = plan_pieces(recipe, piece_bytes=piece_bytes)
    return pieces, [item for piece in pieces for item in read_piece(piece, recipe)]


@given(
    lines=LINES,
    piece_bytes=st.integers(1, 80),
    chunk=st.integers(1, 50),
    last=st.sampled_from([b"", b"\n"]),
)
@settings(deadline=None, max_examples=150)
def test_cutting_jsonl_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    piece_bytes: int,
    chunk: int,
    last: bytes,
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.jsonl"
    path.write_bytes(b"\n".join(lines) + last)
    recipe = CorpusRecipe(reader="files", paths=(str(path),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "_CHUNK", chunk)
        pieces, found = read_all(recipe, piece_bytes)
    assert found == read_all(recipe, 2**30)[1]
    assert sum(piece.size for piece in pieces) == path.stat().st_size
    if path.stat().st_size > piece_bytes:
        assert all(piece.size >= piece_bytes for piece in pieces[:-1])
        assert [piece.start for piece in pieces[1:]] == [piece.stop for piece in pieces[:-1]]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> CorpusRecipe:
    """Every local format, with rows that fail among them."""
    folder = tmp_path_factory.mktemp("mixed")
    for index in range(7):
        (folder / f"a{index}.txt").write_bytes(b"text" if index % 3 else b"\xff")
    (folder / "b.jsonl").write_bytes(b'{"text": "x"}\n{\n\n{"text": "y"}\n' * 8)
    (folder / "c.csv").write_bytes(b"text,n\n" + b"x,1\n\ny\n" * 9)
    table = pa.table({"text": ["a", None, "b"] * 30, "n": range(90)})
    pq.write_table(table, folder / "d.parquet", row_group_size=20)
    (folder / "e.jsonl.gz").write_bytes(b"no archive")
    (folder / "f.txt").write_bytes(b"text")
    return CorpusRecipe(reader="files", paths=(str(folder),))


@pytest.mark.parametrize("piece_bytes", [1, 10, 100, 1000, 2**30])
def test_pieces_put_together_are_the_corpus(mixed: CorpusRecipe, piece_bytes: int) -> None:
    pieces, found = read_all(mixed, piece_bytes)
    assert found == list(read_corpus(mixed, 0))
    assert len({item.id for item in found}) == len(found)
    assert pieces == plan_pieces(mixed, piece_bytes=piece_bytes)
    assert pickle.loads(pickle.dumps(pieces)) == pieces
    assert (len(pieces) == 6) == (piece_bytes == 2**30)


@pytest.mark.parametrize("piece_bytes", [50, 2**30])
def test_skipping_drops_the_first_items_and_no_more(mixed: CorpusRecipe, piece_bytes: int) -> None:
    for piece in plan_pieces(mixed, piece_bytes=piece_bytes):
        found = list(read_piece(piece, mixed))
        for skip in itertools.chain(range(len(found) + 2), [10_000]):
            assert list(read_piece(piece, mixed, skip=skip)) == found[skip:]


def test_a_reader_that_is_left_early_closes_its_file(mixed: CorpusRecipe) -> None:
    # Warnings are errors here, that of a file left open too.
    for piece in plan_pieces(mixed):
        items = read_piece(piece, mixed)
        next(items)
        items.close()  # type: ignore[attr-defined]


def test_small_files_share_a_piece_and_keep_their_order(tmp_path: Path) -> None:
    for index in range(10):
        (tmp_path / f"{index}.txt").write_bytes(b"x" * 10)
    recipe = CorpusRecipe(reader="files", paths=(str(tmp_path),))
    pieces = plan_pieces(recipe, piece_bytes=30)
    assert [len(piece.paths) for piece in pieces] == [3, 3, 3, 1]
    assert [piece.size for piece in pieces] == [30, 30, 30, 10]
