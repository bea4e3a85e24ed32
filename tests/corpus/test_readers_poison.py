"""Poisoned rows, damaged files, endless lines: told apart, counted, and never held in memory."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import random
import tracemalloc
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reader_files import COMPRESSIONS, as_csv, as_jsonl, outcomes, read, recipe_for

from valence.corpus.readers import plan_pieces, read_corpus, read_piece
from valence.data import Document, Unread
from valence.errors import RecipeError

# --- poisoned records ---------------------------------------------------------------------


def test_poisoned_lines_of_jsonl(tmp_path: Path) -> None:
    lines = {
        b'{"text": "one"}': "one",
        b'{"text": ': "not-json",
        b'{"body": "no text"}': "no-text",
        b'{"text": 7}': "no-text",
        b'{"text": null}': "no-text",
        b'{"text": true}': "no-text",
        b'["text"]': "no-text",
        b'{"text": {"nested": "text"}}': "not-text",
        b'{"text": ["text"]}': "not-text",
        b'{"text": ""}': "empty",
        b'{"text": "\\ud800"}': "not-unicode",
        b'{"text": "\xff"}': "not-utf-8",
        b'\xef\xbb\xbf{"text": "mark"}': "not-json",
        b"[" * 100_000: "not-json",
        b"9" * 10_000: "not-json",
        b"\x00": "not-json",
        b'{"text": "%s"}' % (b"x" * 201): "too-long",
        b'{"text": "two \\u2028 \\r\\n\\u0000"}': "two \u2028 \r\n\x00",
    }
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    found = read(path, max_document_chars=200)
    assert outcomes(found) == list(lines.values())
    assert [item.id for item in found] == [f"{path}:{n}" for n in range(1, len(lines) + 1)]
    for item in found:
        if isinstance(item, Unread):
            assert item.source == str(path)
            assert item.failure.stage == "read"
            assert item.failure.message.startswith(f"{item.id}: ")


def test_poisoned_rows_of_csv(tmp_path: Path) -> None:
    rows = {
        b"1,one": "one",
        b"2": "bad-row",
        b"2,two,too": "bad-row",
        b"3,\xff": "not-utf-8",
        b"\xff,three": "not-utf-8",
        b"4,": "empty",
        b"5,nul \x00": "nul \x00",
        b'6,"six\r\n""quoted"" \r \n\n,six"': 'six\r\n"quoted" \r \n\n,six',
        b"7," + b"x" * 201: "too-long",
        b'8,an "inner" quote': 'an "inner" quote',
        b'9,"never closed': "bad-row",
    }
    (tmp_path / "a.csv").write_bytes(b"n,text\r\n" + b"\r\n\r\n".join(rows) + b"\r\n")
    assert outcomes(read(tmp_path, max_document_chars=200)) == list(rows.values())


def test_a_bare_carriage_return_never_cuts_text_short(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'n,text\n1,a\rb\n\r\n2,"c\rd"\n3,e\r\n')
    assert outcomes(read(tmp_path)) == ["bad-row", "c\rd", "e"]
    (tmp_path / "a.csv").write_bytes(b"n,text\r1,a\r2,b")
    assert outcomes(read(tmp_path)) == ["bad-row"]


def test_poisoned_cells_of_parquet(tmp_path: Path) -> None:
    text = pa.array([b"one", b"\xff", b"", None, b"x" * 201, b"\xc3" * 2000, b"two"]).view(
        pa.string()
    )
    other = pa.array([b"a", b"b", b"c", b"d", b"e", b"f", b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"text": text, "other": other}), tmp_path / "a.parquet")
    found = read(tmp_path, max_document_chars=200)
    kinds = ["one", "not-utf-8", "empty", "no-text", "too-long", "too-long", "two"]
    assert outcomes(found) == kinds
    assert isinstance(found[-1], Document)
    assert found[-1].columns == {"other": "\\xff"}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "no-text"),
        ([["a"], ["b"]], "not-text"),
        ([{"a": 1}, {"a": 2}], "not-text"),
        ([b"a", b"a"], "a"),
    ],
)
def test_columns_of_parquet_that_are_no_strings(
    tmp_path: Path, values: list[Any], kind: str
) -> None:
    pq.write_table(pa.table({"text": values}), tmp_path / "a.parquet")
    assert outcomes(read(tmp_path)) == [kind, kind]


def test_identifiers_of_other_libraries_become_strings(tmp_path: Path) -> None:
    name = uuid.uuid4()
    storage = pa.array([name.bytes], pa.binary(16))
    table = pa.table({"text": ["a"], "u": pa.ExtensionArray.from_storage(pa.uuid(), storage)})
    pq.write_table(table, tmp_path / "a.parquet")
    (found,) = read(tmp_path)
    assert isinstance(found, Document)
    assert found.columns == {"u": str(name)}


# --- damaged files ------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_the_rows_before_the_damage_come_out(tmp_path: Path, name: str, suffix: str) -> None:
    rows = [{"text": f"row {n}", "n": str(n * n)} for n in range(20_000)]
    data = as_csv(rows) if name == "a.csv" else as_jsonl(rows, ascii_only=True)
    whole = COMPRESSIONS[suffix](data)
    path = tmp_path / f"{name}{suffix}"
    for broken in (whole[: len(whole) * 2 // 3], whole[:-1], whole + b"no archive", b"no archive"):
        path.write_bytes(broken)
        found = outcomes(read(path))
        assert found[-1] == "damaged"
        if name == "a.txt":
            assert len(found) == 1
            continue
        assert found[:-1] == [row["text"] for row in rows[: len(found) - 1]]
        before = {len(whole) * 2 // 3: 5000, len(whole) - 1: 15_000, len(whole) + 10: 20_000}
        assert len(found) > before.get(len(broken), 0)


@pytest.mark.parametrize("piece_bytes", [1, 2**30])
def test_each_row_that_damage_takes_from_parquet_is_unread(
    tmp_path: Path, piece_bytes: int
) -> None:
    path = tmp_path / "a.parquet"
    texts = [f"text {n * n}" for n in range(300)]
    pq.write_table(
        pa.table({"text": texts}),
        path,
        row_group_size=100,
        use_dictionary=False,
        compression="gzip",
    )
    with pq.ParquetFile(path) as file:
        chunk = file.metadata.row_group(1).column(0)
        middle = chunk.data_page_offset + chunk.total_compressed_size // 2
    data = bytearray(path.read_bytes())
    data[middle : middle + 40] = b"\xff" * 40
    path.write_bytes(data)
    recipe = recipe_for(path)
    found = [
        item
        for piece in plan_pieces(recipe, piece_bytes=piece_bytes)
        for item in read_piece(piece, recipe)
    ]
    assert outcomes(found) == texts[:100] + ["damaged"] * 100 + texts[200:]
    assert [item.id for item in found] == [f"{path}:{n}" for n in range(1, 301)]
    (whole,) = plan_pieces(recipe)
    assert list(read_piece(whole, recipe, skip=150)) == found[150:]


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"no table at all", b"PAR1" + b"\xff" * 40 + b"PAR1"]
)
def test_a_file_that_is_no_parquet_is_damaged(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(data)
    (found,) = read(tmp_path)
    assert outcomes([found]) == ["damaged"]
    assert found.id == f"{tmp_path}/a.parquet"


def test_a_damaged_footer_takes_no_process_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a"] * 90}), path, row_group_size=30)
    whole = path.read_bytes()
    draw = random.Random(0)
    footer = int.from_bytes(whole[-8:-4], "little")
    for _ in range(150):
        data = bytearray(whole)
        data[-9 - draw.randrange(footer)] = draw.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(RecipeError):  # the name of the column may be what changed
            assert len(read(path)) in (1, 90)


def test_tables_without_rows_and_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"")
    (tmp_path / "b.csv").write_bytes(b"text\r\n")
    (tmp_path / "c.jsonl").write_bytes(b"\n\n")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "d.parquet")
    (found,) = read(tmp_path)
    assert outcomes([found]) == ["empty"]


# --- length and memory --------------------------------------------------------------------


def long_files(folder: Path, size: int) -> dict[str, Path]:
    """Per format a file with a text of `size` characters between two short ones."""
    long = 'many "words",\n' * (size // 14)
    rows = [{"text": text, "n": "1"} for text in ("first", long, "last")]
    jsonl, table = as_jsonl(rows, ascii_only=True), as_csv(rows)
    one_line = b"text,n\nfirst,1\n" + b"x" * size + b",1\nlast,1\n"
    files = {"a.jsonl": jsonl, "a.jsonl.gz": jsonl, "a.csv": table, "b.csv": one_line}
    files |= {"c.csv.zst": table, "a.txt": long.encode(), "a.txt.gz": long.encode()}
    for name, data in files.items():
        compress = COMPRESSIONS[Path(name).suffix if name.endswith((".gz", ".zst")) else ""]
        (folder / name).write_bytes(compress(data))
    return {name: folder / name for name in files}


def test_a_record_that_is_too_long_is_not_held_in_memory(tmp_path: Path) -> None:
    files = long_files(tmp_path, 7_000_000)
    for name, path in files.items():
        tracemalloc.start()
        found = read(path, max_document_chars=1000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert outcomes(found) == (
            ["too-long"] if ".txt" in name else ["first", "too-long", "last"]
        )
        assert peak < 6_000_000, name
    assert "corpus.max_document_chars" in found[0].failure.message  # type: ignore[union-attr]


def test_a_document_as_long_as_allowed_is_read(tmp_path: Path) -> None:
    for name, path in long_files(tmp_path, 1_400_000).items():
        texts = read(path, max_document_chars=1_400_000)
        assert all(isinstance(item, Document) for item in texts), name
        assert max(len(item.text) for item in texts if isinstance(item, Document)) == 1_400_000
        assert "too-long" in outcomes(read(path, max_document_chars=1_399_999))


@given(
    fields=st.lists(
        st.lists(st.text('ab",\n\r\t', max_size=12), min_size=2, max_size=2), max_size=8
    ),
    limit=st.integers(1, 6),
    quoted=st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_passing_over_a_long_row_ends_where_the_row_ends(
    tmp_path_factory: pytest.TempPathFactory,
    fields: list[list[str]],
    limit: int,
    quoted: bool,
) -> None:
    path = tmp_path_factory.mktemp("long") / "a.csv"
    out = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    csv.writer(out, quoting=quoting).writerows([["text", "n"], *fields])
    path.write_bytes(out.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("valence.corpus.delimited.OTHER_BYTES", 10)
        patch.setattr("valence.corpus.delimited._CHUNK", 3)
        found = outcomes(read(path, max_document_chars=limit))
    assert len(found) == len(fields)
    for (text, _), outcome in zip(fields, found, strict=True):
        if len(text) > limit:
            assert outcome == "too-long"
        else:
            assert outcome in (text or "empty", "too-long")


def test_reading_a_whole_corpus_fails_no_row_of_real_shape(tmp_path: Path) -> None:
    rows = [{"text": f"document {n} " * 50, "n": n} for n in range(200)]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(as_jsonl(rows, ascii_only=False)))
    found = list(read_corpus(recipe_for(tmp_path), 0))
    assert outcomes(found) == [row["text"] for row in rows]
