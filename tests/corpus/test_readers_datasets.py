"""Data sets from a local folder, streamed: rows, shards, columns, and what is wrong with them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from valence.corpus import hub
from valence.corpus.readers import Item, plan_pieces, read_corpus, read_piece
from valence.data import Document, Unread
from valence.errors import CorpusError, MissingExtraError, MissingFileError, RecipeError
from valence.recipe import CorpusRecipe

datasets = pytest.importorskip("datasets")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", tmp_path / "modules")
    hub._load.cache_clear()
    yield
    hub._load.cache_clear()


def recipe_for(path: Path | str, **changes: Any) -> CorpusRecipe:
    return CorpusRecipe(reader="datasets", paths=(str(path),), **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards of JSON lines, five rows each, the last without text."""
    path = tmp_path / "set"
    path.mkdir()
    for shard in range(2):
        texts = [*(f"row {shard}{n} é\r\n\u2028" for n in range(4)), None]
        lines = [
            json.dumps({"text": text, "id": shard * 10 + n, "inner": {"n": n}, "day": "2020-01-02"})
            for n, text in enumerate(texts)
        ]
        (path / f"train-{shard}.jsonl").write_text("\n".join(lines) + "\n")
    return path


def test_a_local_folder_is_streamed_shard_by_shard(folder: Path) -> None:
    recipe = recipe_for(folder)
    pieces = plan_pieces(recipe)
    assert [(piece.format, piece.start, piece.stop) for piece in pieces] == [
        ("dataset", 0, 1),
        ("dataset", 1, 2),
    ]
    found = list(read_corpus(recipe, 0))
    texts = [item for item in found if isinstance(item, Document)]
    assert [d.text for d in texts] == [f"row {s}{n} é\r\n\u2028" for s in (0, 1) for n in range(4)]
    assert [item.id for item in found] == [
        f"{folder}/train/{shard}:{n}" for shard in (0, 1) for n in range(1, 6)
    ]
    assert texts[0].columns == {"id": 0, "inner": {"n": 0}, "day": "2020-01-02T00:00:00"}
    assert [i.failure.kind for i in found if isinstance(i, Unread)] == ["no-text"] * 2


def test_ids_columns_and_skipping(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_BATCH_ROWS", 2)
    recipe = recipe_for(folder, id_column="id", keep=("inner",))
    for piece in plan_pieces(recipe):
        found = list(read_piece(piece, recipe))
        assert len(found) == 5
        assert all(item.columns.keys() == {"inner"} for item in found if isinstance(item, Document))
        for skip in range(7):
            assert list(read_piece(piece, recipe, skip=skip)) == found[skip:]
    assert [item.id for item in found[:4]] == ["10", "11", "12", "13"]


def test_what_save_to_disk_wrote_is_read_too(tmp_path: Path) -> None:
    table = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "n": [1, 2, 3]})
    table.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(valid=table).save_to_disk(tmp_path / "several")
    for recipe in (recipe_for(tmp_path / "one"), recipe_for(tmp_path / "several", split="valid")):
        found = list(read_corpus(recipe, 0))
        assert [item.text for item in found if isinstance(item, Document)] == ["a", "b", "c"]
    with pytest.raises(RecipeError, match="no split `train`; there are valid"):
        plan_pieces(recipe_for(tmp_path / "several"))


def test_damage_ends_a_shard_with_one_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tables(found: Any, shard: int) -> Iterator[Any]:
        yield from itertools_of(found, shard)[:1]
        raise RuntimeError("the shard is damaged")

    whole = hub._tables

    def itertools_of(found: Any, shard: int) -> list[Any]:
        return list(whole(found, shard))

    monkeypatch.setattr(hub, "_BATCH_ROWS", 2)
    monkeypatch.setattr(hub, "_tables", tables)
    recipe = recipe_for(folder)
    first = plan_pieces(recipe)[0]

    def kinds(items: list[Item]) -> list[str]:
        return [i.failure.kind if isinstance(i, Unread) else "text" for i in items]

    assert kinds(list(read_piece(first, recipe))) == ["text", "text", "damaged"]
    assert kinds(list(read_piece(first, recipe, skip=1))) == ["text", "damaged"]
    assert kinds(list(read_piece(first, recipe, skip=3))) == []


def test_mistakes_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no column `body`.*`text`"):
        list(read_corpus(recipe_for(folder, text_column="body"), 0))
    with pytest.raises(RecipeError, match="split"):
        plan_pieces(recipe_for(folder, split="nope"))
    with pytest.raises(RecipeError, match="other"):
        plan_pieces(recipe_for(folder, config="other"))
    with pytest.raises(MissingFileError, match="nowhere"):
        plan_pieces(recipe_for(tmp_path / "nowhere"))
    with pytest.raises(CorpusError, match="cannot be opened"):
        plan_pieces(recipe_for("no/such"))


def test_without_the_library_the_error_says_what_installs_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"valence\[datasets\]"):
        plan_pieces(recipe_for(folder))
