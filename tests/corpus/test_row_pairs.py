"""Rows with two texts, and JSON files that hold a list of objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from reader_files import COMPRESSIONS, as_csv, as_jsonl, outcomes, read, recipe_for

from valence.corpus import jsonarray
from valence.corpus.pairs import row_of
from valence.corpus.readers import highest_rank, is_held_out, plan_pieces, rank, read_piece
from valence.data import Document
from valence.recipe import CorpusRecipe

SHARED = Path(__file__).parents[3] / "shared" / "data"
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1)
ROWS = [{"a": f"good {i}", "b": f"bad {i}", "n": i, "id": f"r{i}"} for i in range(5)]


# --- pairs --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "json"])
def test_a_row_gives_two_documents_in_every_format(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"rows.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        data = {"jsonl": as_jsonl(ROWS, ascii_only=True), "csv": as_csv(ROWS)}
        path.write_bytes(data.get(form, json.dumps(ROWS).encode()))
    found = read(path, pair=("a", "b"), id_column="id")
    assert outcomes(found) == [f"{kind} {i}" for i in range(5) for kind in ("good", "bad")]
    assert [item.id for item in found[:2]] == ["r0#chosen", "r0#rejected"]
    first, second = found[0], found[1]
    assert isinstance(first, Document) and isinstance(second, Document)
    n = "0" if form == "csv" else 0
    assert first.columns == {"n": n, "pair": "r0", "preferred": True}
    assert second.columns == {"n": n, "pair": "r0", "preferred": False}
    kept = read(path, pair=("a", "b"), id_column="id", keep=())
    assert [item.columns for item in kept[:2] if isinstance(item, Document)] == [
        {"pair": "r0", "preferred": True},
        {"pair": "r0", "preferred": False},
    ]


def test_item_i_is_the_same_whatever_was_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows: list[dict[str, Any]] = [*ROWS[:2], {"a": "alone"}, {"b": "alone"}, *ROWS[2:]]
    path.write_bytes(as_jsonl(rows, ascii_only=True))
    recipe = recipe_for(path, pair=("a", "b"))
    (piece,) = plan_pieces(recipe)
    whole = list(read_piece(piece, recipe))
    assert outcomes(whole)[4:6] == ["no-text", "no-text"] and len(whole) == 12
    for skip in range(13):
        assert list(read_piece(piece, recipe, skip=skip)) == whole[skip:]


@pytest.mark.parametrize("second", ["", None, 3, "long" * 10])
def test_a_pair_is_there_whole_or_not_at_all(tmp_path: Path, second: object) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"a": "good", "b": second}) + "\n")
    (item,) = read(path, pair=("a", "b"), max_document_chars=20)
    assert not isinstance(item, Document)


@given(
    ids=st.lists(TEXTS, min_size=1, max_size=30),
    seed=st.integers(0, 5),
    share=st.floats(0, 1),
)
def test_the_two_of_a_pair_are_never_split(ids: list[str], seed: int, share: float) -> None:
    for name in ids:
        sides = [f"{name}#chosen", f"{name}#rejected"]
        assert len({is_held_out(side, share=share, seed=seed) for side in sides}) == 1
        assert len({rank(side, seed) for side in sides}) == 1
        assert {row_of(side) for side in sides} == {name}


def test_a_part_of_the_rows_is_of_whole_pairs(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"a": "x" * 50, "b": "y" * 50} for _ in range(200)]
    path.write_bytes(as_jsonl(rows, ascii_only=True))
    recipe = recipe_for(path, pair=("a", "b"), max_chars=3000)
    highest = highest_rank(recipe, seed=0)
    assert highest is not None
    taken = [item.id for item in read(path, pair=("a", "b")) if rank(item.id, 0) <= highest]
    assert len({row_of(name) for name in taken}) * 2 == len(taken) == 60


@pytest.mark.parametrize(
    "wrong", [{"pair": ("a", "a"), "reader": "files", "paths": ("x",)}, {"pair": ("a", "b")}]
)
def test_pairs_are_of_two_columns_of_rows(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"corpus\.pair"):
        CorpusRecipe(**wrong)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not there")
def test_preference_pairs_as_they_are_published() -> None:
    found = read(SHARED / "hh_rlhf" / "harmless_base.jsonl.gz", pair=("chosen", "rejected"))
    assert len(found) == 3000 and all(isinstance(item, Document) for item in found)


# --- lists of objects ---------------------------------------------------------------------


@given(
    texts=st.lists(TEXTS, min_size=0, max_size=6),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    chunk=st.sampled_from([1, 7, 2**18]),
)
@settings(deadline=None, max_examples=60)
def test_any_text_comes_back_from_a_list(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    indent: int | None,
    ascii_only: bool,
    chunk: int,
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    rows = [{"n": i, "text": text, "inner": [{"x": [1, 2]}]} for i, text in enumerate(texts)]
    data = json.dumps(rows, indent=indent, ensure_ascii=ascii_only).encode()
    for suffix, compress in COMPRESSIONS.items():
        path = folder / f"a.json{suffix}"
        path.write_bytes(compress(b"\xef\xbb\xbf \n" + data + b"\n"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jsonarray, "_CHUNK", max(chunk, 8))
            found = read(path)
        assert outcomes(found) == texts
        assert [item.id for item in found] == [f"{path}:{i + 1}" for i in range(len(texts))]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'[{"text": "a"}, 1, null, {"text": "b"}]', ["a", "no-text", "no-text", "b"]),
        (b'[{"text": "a"}, {"text": ', ["a", "not-json"]),
        (b'[{"text": "a"}', ["a", "not-json"]),
        (b'[{"text": "a"} {"text": "b"}]', ["a", "not-json"]),
        (b'[{"text": "a"}, {"text": "\xff"}]', ["not-utf-8"]),
        (b"[" + b"[" * 100_000, ["not-json"]),
        (b"[]", []),
        (b"[12", ["no-text", "not-json"]),
    ],
)
def test_a_damaged_list_says_where_it_ends(
    tmp_path: Path, data: bytes, expected: list[str]
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    assert outcomes(read(path)) == expected


def test_what_is_no_list_stays_a_document_of_text(tmp_path: Path) -> None:
    path = tmp_path / "package.json"
    path.write_text('{"name": "x"}')
    assert outcomes(read(path)) == ['{"name": "x"}']


def test_an_element_without_end_takes_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"text": "' + b"x" * 3_000_000 + b'"}, {"text": "b"}]')
    assert outcomes(read(path, max_document_chars=10)) == ["too-long"]


def test_elements_that_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": str(i)} for i in range(5)]))
    recipe = recipe_for(path)
    (piece,) = plan_pieces(recipe)
    assert outcomes(list(read_piece(piece, recipe, skip=3))) == ["3", "4"]
