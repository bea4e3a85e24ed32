"""Every format: text, ids and columns come back, byte for byte."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reader_files import COMPRESSIONS, as_csv, as_jsonl, outcomes, read, recipe_for

from valence.corpus.readers import plan_pieces, read_piece
from valence.data import Document
from valence.errors import RecipeError

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1)

# --- text comes back ----------------------------------------------------------------------


@given(texts=st.lists(TEXTS, min_size=1, max_size=5), ascii_only=st.booleans())
@settings(deadline=None, max_examples=60)
def test_any_text_comes_back_from_every_format(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], ascii_only: bool
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    rows = [{"id": f"n{i}", "text": text} for i, text in enumerate(texts)]
    files = {
        "a.jsonl": as_jsonl(rows, ascii_only=ascii_only),
        "a.csv": as_csv(rows),
        "b.csv": as_csv(rows, end="\n"),
        "a.tsv": as_csv(rows, delimiter="\t", end="\n"),
        "a.txt": texts[0].encode(),
    }
    for name, data in files.items():
        for suffix, compress in COMPRESSIONS.items():
            path = folder / f"{name}{suffix}"
            path.write_bytes(compress(data))
            found = read(path, id_column=None if ".txt" in name else "id")
            expected = texts[:1] if ".txt" in name else texts
            assert outcomes(found) == expected
            if ".txt" not in name:
                assert [item.id for item in found] == [row["id"] for row in rows]
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet", row_group_size=2)
    assert outcomes(read(folder / "a.parquet")) == texts


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("name", ["a.JSONL", "a.ndjson", "a.csv", "a.txt"])
def test_a_byte_order_mark_stays_in_text_and_breaks_no_first_row(
    tmp_path: Path, name: str, suffix: str
) -> None:
    data = {"a.csv": b'"text",n\r\nx,1\r\n', "a.txt": b"x"}.get(name, b'{"text": "x"}\n')
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(COMPRESSIONS[suffix](b"\xef\xbb\xbf" + data))
    assert outcomes(read(path)) == ["\ufeffx" if name == "a.txt" else "x"]


def test_ids_and_sources_are_files_and_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "one"}\n\n \r\n{"text": "two"}')
    (tmp_path / "b.csv").write_bytes(b'text,n\r\n"one\r\n1",1\r\n\r\ntwo,2\r\n')
    pq.write_table(pa.table({"text": ["one", "two"]}), tmp_path / "c.parquet")
    found = read(tmp_path)
    lines = {"a.jsonl": (1, 4), "b.csv": (2, 5), "c.parquet": (1, 2)}
    assert [item.id for item in found] == [
        f"{tmp_path}/{name}:{line}" for name, numbers in lines.items() for line in numbers
    ]
    assert {item.source for item in found} == {f"{tmp_path}/{name}" for name in lines}


def test_archives_of_several_members_are_read_to_the_end(tmp_path: Path) -> None:
    for suffix in (".gz", ".zst"):
        parts = [COMPRESSIONS[suffix](f'{{"text": "{i}"}}\n'.encode()) for i in range(3)]
        path = tmp_path / f"a.jsonl{suffix}"
        path.write_bytes(b"".join(parts))
        assert outcomes(read(path)) == ["0", "1", "2"]


# --- columns ------------------------------------------------------------------------------


def test_other_columns_are_kept_as_plain_json(tmp_path: Path) -> None:
    day = datetime.datetime(2020, 1, 2, 3, 4, 5, 678901)
    table = pa.table(
        {
            "text": pa.array(["a"]).dictionary_encode(),
            "n": [7],
            "when": pa.array([day], pa.timestamp("us")),
            "exact": pa.array([1577934245000000001], pa.timestamp("ns")),
            "zoned": pa.array([1577934245678], pa.timestamp("ms", tz="Mars/Phobos")),
            "day": [day.date()],
            "time": [day.time()],
            "took": [datetime.timedelta(seconds=1)],
            "price": [decimal.Decimal("1.50")],
            "raw": [b"\x00\xff"],
            "odd": [math.nan],
            "most": [-math.inf],
            "nothing": pa.array([None], pa.null()),
            "inner": [{"list": [1.5, None, 2.5], "raw": b"\xff", "day": day.date()}],
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    (found,) = read(tmp_path)
    assert isinstance(found, Document)
    assert dict(found.columns) == {
        "n": 7,
        "when": "2020-01-02T03:04:05.678901",
        "exact": "2020-01-02T03:04:05.000000001",
        "zoned": "2020-01-02T03:04:05.678Z",
        "day": "2020-01-02",
        "time": "03:04:05.678901",
        "took": 1_000_000,
        "price": "1.50",
        "raw": base64.b64encode(b"\x00\xff").decode(),
        "odd": "nan",
        "most": "-inf",
        "nothing": None,
        "inner": {"list": [1.5, None, 2.5], "raw": "/w==", "day": "2020-01-02"},
        "map": [["k", 1]],
    }
    json.dumps(dict(found.columns), allow_nan=False)


def test_json_that_is_hardly_json_becomes_plain(tmp_path: Path) -> None:
    deep = "[" * 300 + "]" * 300
    line = f'{{"text": "a", "x": NaN, "y": 1e999, "z": "\\ud800", "\\udfff": 1, "deep": {deep}}}'
    (tmp_path / "a.jsonl").write_text(line)
    (found,) = read(tmp_path)
    assert isinstance(found, Document)
    assert found.columns["x"] == "nan"
    assert found.columns["y"] == "inf"
    assert found.columns["z"] == "\\ud800"
    assert found.columns["\\udfff"] == 1
    assert "nested too deep" in json.dumps(found.columns["deep"])
    json.dumps(dict(found.columns), ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("keep", "columns"),
    [(None, ["b", "c"]), ((), []), (("c",), ["c"]), (("c", "id", "text"), ["c", "id", "text"])],
)
def test_keep_says_which_columns_stay(
    tmp_path: Path, keep: tuple[str, ...] | None, columns: list[str]
) -> None:
    row = {"id": "1", "text": "a", "b": "b", "c": "c"}
    (tmp_path / "a.jsonl").write_bytes(as_jsonl([row], ascii_only=True))
    (tmp_path / "a.csv").write_bytes(as_csv([row]))
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    found = read(tmp_path, keep=keep, id_column="id")
    for item in found:
        assert isinstance(item, Document)
        assert dict(item.columns) == {name: row[name] for name in columns}


def test_an_id_is_a_string_or_a_whole_number(tmp_path: Path) -> None:
    values = ['"a"', "7", '""', "null", "true", "1.5", '["a"]', '"\\ud800"']
    lines = [f'{{"text": "t", "id": {value}}}\n' for value in values] + ['{"text": "t"}\n']
    (tmp_path / "a.jsonl").write_text("".join(lines))
    found = read(tmp_path, id_column="id")
    assert [item.id for item in found[:2]] == ["a", "7"]
    assert outcomes(found) == ["t", "t"] + ["no-id"] * 7
    assert found[8].id == f"{tmp_path}/a.jsonl:9"


@pytest.mark.parametrize("change", ["text_column", "id_column", "keep"])
def test_a_table_without_a_named_column_says_which_there_are(tmp_path: Path, change: str) -> None:
    value = ("body",) if change == "keep" else "body"
    for name in ("a.csv", "a.tsv.gz", "a.parquet"):
        path = tmp_path / name
        if "parquet" in name:
            pq.write_table(pa.table({"text": ["a"], "n": [1]}), path)
        else:
            mark = "\t" if "tsv" in name else ","
            compress = COMPRESSIONS[".gz" if name.endswith("gz") else ""]
            path.write_bytes(compress(f"text{mark}n\na{mark}1\n".encode()))
        with pytest.raises(RecipeError, match=r"no column `body`.*`text`, `n`") as caught:
            plan_pieces(recipe_for(path, **{change: value}))
        assert str(path) in str(caught.value)
        whole = plan_pieces(recipe_for(path))[0]
        with pytest.raises(RecipeError, match="no column `body`"):
            list(read_piece(whole, recipe_for(path, **{change: value})))


def test_a_needed_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,n,n\na,1,2\n")
    with pytest.raises(RecipeError, match="`n` stands twice"):
        read(tmp_path)
    assert outcomes(read(tmp_path, keep=())) == ["a"]
