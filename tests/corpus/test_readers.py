"""Readers: which documents there are, their order, their stamp, and the choice of a part."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valence.corpus.readers import (
    Item,
    corpus_stamp,
    highest_rank,
    is_held_out,
    plan_pieces,
    rank,
    read_corpus,
    read_piece,
)
from valence.data import Document, Unread
from valence.errors import CorpusError, MissingFileError
from valence.recipe import CorpusRecipe, Unformat


def text_files(folder: Path, contents: dict[str, bytes]) -> CorpusRecipe:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return CorpusRecipe(reader="files", paths=(str(folder),))


def kinds(items: Iterable[Item]) -> list[str]:
    return [item.failure.kind for item in items if isinstance(item, Unread)]


# --- which files --------------------------------------------------------------------------


def test_documents_come_in_the_order_of_their_files(tmp_path: Path) -> None:
    recipe = text_files(tmp_path / "t", {f"{i:02}.txt": b"x" for i in range(30)})
    found = [item.id for item in read_corpus(recipe, seed=3)]
    assert found == [f"{tmp_path}/t/{i:02}.txt" for i in range(30)]


def test_files_that_are_no_text_or_empty_are_unread_with_their_path(tmp_path: Path) -> None:
    recipe = text_files(tmp_path / "t", {"a": b"text", "b": b"\xff\xfe", "c": b""})
    found = list(read_corpus(recipe, 0))
    assert kinds(found) == ["not-utf-8", "empty"]
    assert [item.id for item in found] == [f"{tmp_path}/t/{name}" for name in "abc"]
    assert isinstance(found[1], Unread)
    assert found[1].failure.stage == "read"
    assert found[1].failure.message.startswith(f"{tmp_path}/t/b: ")


def test_a_corpus_without_any_text_says_what_was_dropped(tmp_path: Path) -> None:
    recipe = text_files(tmp_path / "t", {"a": b"", "b": b"\xff", "c": b"\xff"})
    with pytest.raises(CorpusError, match=r"no document with text.*empty: 1, not-utf-8: 2"):
        list(read_corpus(recipe, 0))


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere.txt", "no such file"), ("*.nothing", "no such file"), ("", "holds no file")],
)
def test_a_path_that_leads_to_no_file_is_named(tmp_path: Path, path: str, message: str) -> None:
    recipe = CorpusRecipe(reader="files", paths=(str(tmp_path / path),))
    with pytest.raises(MissingFileError, match=message) as caught:
        plan_pieces(recipe)
    assert str(tmp_path / path) in str(caught.value)


def test_folders_globs_and_files_overlap_without_doubling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text_files(tmp_path / "t", {"a.py": b"a", "b.py": b"b", ".hidden.py": b"no"})
    text_files(tmp_path / "t" / ".git", {"c.py": b"no"})
    folder = str(tmp_path / "t")
    monkeypatch.chdir(tmp_path)
    paths = (folder, f"{folder}/*.py", f"{folder}/a.py", "t/b.py")
    found = read_corpus(CorpusRecipe(reader="files", paths=paths), 0)
    assert [Path(item.source).name for item in found] == ["a.py", "b.py"]


def test_a_file_name_that_is_not_utf_8_is_shown_with_escapes(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.txt"
    with open(name, "wb") as handle:
        handle.write(b"text")
    (found,) = read_corpus(CorpusRecipe(reader="files", paths=(str(tmp_path),)), 0)
    assert isinstance(found, Document)
    assert found.id == f"{tmp_path}/\\xff.txt"


def test_a_file_that_goes_away_after_the_plan_is_unread(tmp_path: Path) -> None:
    names = ["a.txt", "b.jsonl", "c.csv", "d.parquet", "e.txt.gz", "f.jsonl.zst"]
    recipe = text_files(tmp_path / "t", dict.fromkeys(names, b"text"))
    pieces = plan_pieces(recipe)
    for name in names:
        (tmp_path / "t" / name).unlink()
    found = [item for piece in pieces for item in read_piece(piece, recipe)]
    assert kinds(found) == ["unreadable"] * len(names)
    assert all("No such file" in item.failure.message for item in found if isinstance(item, Unread))


def test_style_noise_keeps_ids_and_columns(tmp_path: Path) -> None:
    lines = b'{"text": "x = [1, 2, 3]\\ny = x\\n", "n": 1}\n' * 20
    recipe = text_files(tmp_path / "t", {"a.jsonl": lines})
    noisy = recipe.model_copy(update={"unformat": Unformat(shares=(1.0,))})
    plain, changed = list(read_corpus(recipe, 0)), list(read_corpus(noisy, 0))
    assert changed == list(read_corpus(noisy, 0))
    assert changed != plain
    for one, other in zip(plain, changed, strict=True):
        assert isinstance(one, Document) and isinstance(other, Document)
        assert (one.id, one.source, one.columns) == (other.id, other.source, {"n": 1})


def test_the_standard_library_is_checked_and_cut_too() -> None:
    recipe = CorpusRecipe(max_document_chars=100_000)
    pieces = plan_pieces(recipe, piece_bytes=2**21)
    assert len(pieces) > 3
    found = [item for piece in pieces for item in read_piece(piece, recipe)]
    assert found == list(read_corpus(recipe, 0))
    assert {"empty", "too-long"} <= set(kinds(found))
    assert list(read_piece(pieces[1], recipe, skip=5)) == list(
        itertools.islice(read_piece(pieces[1], recipe), 5, None)
    )


# --- stamps, splits and parts -------------------------------------------------------------


def test_the_stamp_of_a_corpus_changes_when_a_file_does(tmp_path: Path) -> None:
    recipe = text_files(tmp_path / "t", {"a.py": b"a", "b.py": b"b"})
    stamps = [corpus_stamp(recipe), corpus_stamp(recipe)]
    assert stamps[0] == stamps[1]
    (tmp_path / "t" / "a.py").write_bytes(b"aa")
    stamps.append(corpus_stamp(recipe))
    (tmp_path / "t" / "c.py").write_bytes(b"c")
    stamps.append(corpus_stamp(recipe))
    assert all(one != other for one, other in itertools.pairwise(stamps[1:]))


def test_the_stamp_of_a_data_set_is_what_names_it_and_its_files(tmp_path: Path) -> None:
    text_files(tmp_path / "set", {"a.jsonl": b'{"text": "a"}'})
    recipe = CorpusRecipe(reader="datasets", paths=(str(tmp_path / "set"),))
    stamps = [
        corpus_stamp(recipe),
        corpus_stamp(recipe.model_copy(update={"split": "test"})),
        corpus_stamp(recipe.model_copy(update={"revision": "abc"})),
    ]
    (tmp_path / "set" / "a.jsonl").write_bytes(b'{"text": "aa"}')
    stamps.append(corpus_stamp(recipe))
    assert len(set(stamps)) == 4
    assert corpus_stamp(CorpusRecipe()) == corpus_stamp(CorpusRecipe())


def test_the_split_depends_on_the_name_and_the_seed_alone() -> None:
    names = [f"file{index}" for index in range(2000)]
    held = {name for name in names if is_held_out(name, share=0.2, seed=1)}
    random.Random(0).shuffle(names)
    assert held == {name for name in names if is_held_out(name, share=0.2, seed=1)}
    assert 330 < len(held) < 470
    assert held != {name for name in names if is_held_out(name, share=0.2, seed=2)}
    assert held < {name for name in names if is_held_out(name, share=0.3, seed=1)}


def test_ranks_are_those_of_earlier_versions() -> None:
    # Pinned: a corpus taken by an earlier version is taken again.
    assert rank("a", 0) == 0.8576417820642593
    assert rank("é", 7) == 0.6488167793790527
    held = [name for name in "abcdefgh" if is_held_out(name, share=0.5, seed=0)]
    assert held == ["a", "f", "g", "h"]


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    max_chars=st.integers(1, 900),
    seed=st.integers(0, 5),
    noise=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_the_highest_rank_takes_what_a_sorted_list_would(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    max_chars: int,
    seed: int,
    noise: bool,
) -> None:
    lines = "".join(
        f'{{"text": "{"x=1;" * length}", "id": {i}}}\n' for i, length in enumerate(lengths)
    )
    recipe = text_files(tmp_path_factory.mktemp("rank"), {"a.jsonl": lines.encode()}).model_copy(
        update={
            "max_chars": max_chars,
            "id_column": "id",
            "unformat": Unformat(shares=(0.0, 1.0)) if noise else None,
        }
    )
    documents = [item for item in read_corpus(recipe, seed) if isinstance(item, Document)]
    taken, chars = set(), 0
    for document in sorted(documents, key=lambda document: rank(document.id, seed)):
        if chars >= max_chars:
            break
        taken.add(document.id)
        chars += len(document.text)
    highest = highest_rank(recipe, seed)
    assert {d.id for d in documents if highest is None or rank(d.id, seed) <= highest} == taken


def test_without_a_limit_or_with_one_beyond_the_corpus_all_is_taken(tmp_path: Path) -> None:
    recipe = text_files(tmp_path / "t", {"a": b"12345", "b": b"", "c": b"12345"})
    assert highest_rank(recipe, 0) is None
    assert highest_rank(recipe.model_copy(update={"max_chars": 11}), 0) is None
    last = max(rank(f"{tmp_path}/t/{name}", 0) for name in "ac")
    assert highest_rank(recipe.model_copy(update={"max_chars": 10}), 0) == last
