"""The token store: what is written is read back, a killed write goes on, damage is refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_stores import make_store

from valence.annotate import Annotated
from valence.control import ControlScheme
from valence.corpus.segment import SEGMENTERS
from valence.data import Document
from valence.errors import CorpusError, MissingFileError, StoreError
from valence.model import train_tokenizer
from valence.pack import TokenStore, tokenise, write_tokens, writing
from valence.pack.arrays import array_path

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
TOKENIZER = train_tokenizer(["one two three\nfour é\n"] * 20, 320, SCHEME, max_length=64)
NAN = float("nan")


def corpus(count: int = 40) -> list[Annotated]:
    """Documents of a few lines; every seventh has no reward, and one has no text."""
    rng = np.random.default_rng(3)
    items = []
    for number in range(count):
        lines = rng.integers(1, 6)
        text = "" if number == 5 else "".join(f"two {number} é\n" * int(rng.integers(1, 4))
                                              for _ in range(lines))  # fmt: skip
        ends = SEGMENTERS["line"](text)
        rewards = -rng.random(len(ends))
        rewards[rng.random(len(ends)) < 0.2] = NAN
        if number % 7 == 3:
            rewards[:] = NAN
        items.append(
            Annotated(
                document=Document(id=str(number), text=text, source="s"),
                ends=np.array(ends, dtype=np.int64),
                rewards=rewards.astype(np.float32),
            )
        )
    return items


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("*.raw")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    directory = tmp_path_factory.mktemp("whole")
    write_tokens(directory, corpus(), TOKENIZER)
    return TokenStore(directory)


def test_what_is_written_is_what_tokenising_in_memory_gives(whole: TokenStore) -> None:
    usable = [item for item in corpus() if item.document.text]
    memory = tokenise(usable, TOKENIZER)
    taken = whole.take(np.arange(whole.documents))
    for name in ("ids", "documents", "segments", "rewards", "segment_documents", "chars", "bytes"):
        assert np.array_equal(getattr(taken, name), getattr(memory, name), equal_nan=True), name
    counts = {
        "documents": len(memory.documents) - 1,
        "segments": len(memory.segments),
        "tokens": len(memory.ids),
        "chars": memory.chars.sum(),
        "bytes": memory.bytes.sum(),
        "straddling_tokens": memory.straddling,
        "left_out": 40 - (len(memory.documents) - 1),
        "id_bytes": 2,
    }
    assert {name: whole.manifest[name] for name in counts} == counts
    assert taken.bytes.sum() > taken.chars.sum()
    whole.verify()


def test_documents_are_taken_in_any_order_and_more_than_once(whole: TokenStore) -> None:
    alone = [whole.take(np.array([number])) for number in (7, 2, 7)]
    together = whole.take(np.array([7, 2, 7]))
    assert together.ids.tolist() == [i for part in alone for i in part.ids.tolist()]
    assert together.sizes.tolist() == [i for part in alone for i in part.sizes.tolist()]
    assert together.segment_documents.tolist() == [
        number for number, part in enumerate(alone) for _ in part.segments
    ]


def test_the_census_holds_every_reward_and_the_means_over_tokens(whole: TokenStore) -> None:
    census, taken = whole.census(), whole.take(np.arange(whole.documents))
    assert np.array_equal(census.rewards, taken.rewards, equal_nan=True)
    assert census.sizes.sum() == census.document_sizes.sum() == whole.tokens
    for document, (mean, size) in enumerate(
        zip(census.document_rewards, census.document_sizes, strict=True)
    ):
        mine = taken.segment_documents == document
        assert taken.sizes[mine].sum() == size
        rewards, sizes = taken.rewards[mine].astype(float), taken.sizes[mine]
        known = ~np.isnan(rewards)
        expected = (rewards[known] * sizes[known]).sum() / sizes[known].sum()
        assert mean == pytest.approx(expected, rel=1e-6)


class Killed(Exception):
    pass


def killed_after(items: list[Annotated], count: int) -> Iterator[Annotated]:
    yield from items[:count]
    raise Killed


@settings(deadline=None, max_examples=8)
@given(kills=st.lists(st.integers(0, 39), min_size=1, max_size=3), flush=st.integers(20, 300))
def test_a_killed_write_goes_on_and_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, kills: list[int], flush: int, whole: TokenStore
) -> None:
    directory = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "FLUSH_TOKENS", flush)
        patch.setattr("valence.pack.encoding.BATCH", 4)
        for count in sorted(kills):
            with pytest.raises(Killed):
                write_tokens(directory, killed_after(corpus(), count), TOKENIZER)
        manifest = write_tokens(directory, corpus(), TOKENIZER)
    assert files_of(directory) == files_of(whole.directory)
    assert manifest == whole.manifest
    assert not (directory / writing.PROGRESS).exists()


def test_a_resumed_write_does_not_tokenise_again_what_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "FLUSH_TOKENS", 50)
    monkeypatch.setattr("valence.pack.encoding.BATCH", 4)
    with pytest.raises(Killed):
        write_tokens(tmp_path, killed_after(corpus(), 20), TOKENIZER)
    done = json.loads((tmp_path / writing.PROGRESS).read_text())["counts"]["read"]
    assert done > 8
    told: list[tuple[int, int]] = []
    write_tokens(
        tmp_path, corpus(), TOKENIZER, expected=30, on_progress=lambda *now: told.append(now)
    )
    assert told[0][0] > done
    assert told[-1] == (told[-1][0], max(30, told[-1][0]))


@pytest.mark.parametrize("harm", ["longer", "shorter", "gone", "other tokenizer", "no counts"])
def test_what_a_kill_left_is_cut_to_size_or_else_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: TokenStore, harm: str
) -> None:
    monkeypatch.setattr(writing, "FLUSH_TOKENS", 50)
    monkeypatch.setattr("valence.pack.encoding.BATCH", 4)
    with pytest.raises(Killed):
        write_tokens(tmp_path, killed_after(corpus(), 20), TOKENIZER)
    path = array_path(tmp_path, "segments")
    if harm == "longer":
        path.write_bytes(path.read_bytes() + b"half a rec" * 10_000)
    elif harm == "shorter":
        path.write_bytes(path.read_bytes()[:-3])
    elif harm == "gone":
        path.unlink()
    elif harm == "no counts":
        (tmp_path / writing.PROGRESS).write_text("{}")
    else:
        progress = json.loads((tmp_path / writing.PROGRESS).read_text())
        (tmp_path / writing.PROGRESS).write_text(json.dumps({**progress, "key": "another"}))
    write_tokens(tmp_path, corpus(), TOKENIZER)
    assert files_of(tmp_path) == files_of(whole.directory)


def test_a_finished_store_is_written_anew(tmp_path: Path, whole: TokenStore) -> None:
    write_tokens(tmp_path, corpus(12), TOKENIZER)
    write_tokens(tmp_path, corpus(), TOKENIZER)
    assert files_of(tmp_path) == files_of(whole.directory)


@pytest.mark.parametrize("name", ["ids", "documents", "rewards", "bytes"])
@pytest.mark.parametrize("harm", ["short", "long", "gone"])
def test_a_file_of_another_size_is_refused_by_name(tmp_path: Path, name: str, harm: str) -> None:
    make_store(tmp_path, [[(3, 0.0)], [(2, -1.0)]])
    path = array_path(tmp_path, name)
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-2] if harm == "short" else path.read_bytes() + b"12")
    with pytest.raises(StoreError, match=rf"{name}\.raw") as caught:
        TokenStore(tmp_path)
    assert "Delete" in str(caught.value)


def test_damage_inside_a_file_is_found_by_its_ends_or_by_the_digest(tmp_path: Path) -> None:
    store = make_store(tmp_path, [[(3, 0.0)], [(2, -1.0)]])
    store.verify()
    ids = bytearray(array_path(tmp_path, "ids").read_bytes())
    ids[0] ^= 1
    array_path(tmp_path, "ids").write_bytes(ids)
    with pytest.raises(StoreError, match="digest"):
        TokenStore(tmp_path).verify()
    np.zeros(3, dtype="<i8").tofile(array_path(tmp_path, "documents"))
    with pytest.raises(StoreError, match=r"documents\.raw"):
        TokenStore(tmp_path)


@pytest.mark.parametrize("manifest", ["{}", "[]", '{"tokens": "x"}'])
def test_a_manifest_of_something_else_is_refused(tmp_path: Path, manifest: str) -> None:
    with pytest.raises(MissingFileError):
        TokenStore(tmp_path)
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(StoreError, match="token store"):
        TokenStore(tmp_path)


def test_a_corpus_without_rewards_is_no_training_text(tmp_path: Path) -> None:
    unscored = [item for item in corpus() if np.isnan(item.rewards).all()]
    with pytest.raises(CorpusError):
        write_tokens(tmp_path, unscored, TOKENIZER)


def test_large_vocabularies_have_wider_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = {**TOKENIZER.get_vocab(), "far": 2**16}
    monkeypatch.setattr(type(TOKENIZER), "get_vocab", lambda self: vocabulary)
    manifest = write_tokens(tmp_path, corpus(4), TOKENIZER)
    assert manifest["id_bytes"] == 4
    assert array_path(tmp_path, "ids").stat().st_size == 4 * manifest["tokens"]
    assert TokenStore(tmp_path).take(np.array([0])).ids.dtype == np.int32


def test_a_store_travels_to_another_process_without_its_arrays(whole: TokenStore) -> None:
    # What a data loader's spawned worker gets; our own class, our own bytes.
    sent = pickle.dumps(whole)
    assert len(sent) < 4096
    assert (
        pickle.loads(sent).take(np.array([1])).ids.tolist()
        == whole.take(np.array([1])).ids.tolist()
    )
