"""Storage: whole files or none, stable digests, stages that are skipped, resumed or redone."""

from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valence.errors import (
    Interrupted,
    MissingFileError,
    RunExistsError,
    StoreError,
    ValenceError,
)
from valence.store import (
    RunDirectory,
    digest,
    digest_files,
    directory,
    read_json,
    read_parquet,
    storage,
    write_json,
    write_parquet,
    write_text,
    writing,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- files --------------------------------------------------------------------------------


def test_a_broken_write_leaves_the_old_content_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    write_text(path, "old")

    def write_half() -> None:
        with writing(path) as beside:
            beside.write_text("half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["kept.txt"]


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with writing(path) as beside:
        beside.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(path.parent) == ["file.txt"]


def test_a_full_disk_is_told_with_the_file_and_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    write_json(path, {"old": True})
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StoreError) as caught:
        write_json(path, {"new": True})
    assert str(caught.value).startswith(f"{path}: the disk is full\nFree some room")
    assert read_json(path) == {"old": True}
    assert names(tmp_path) == ["results.json"]


def test_a_device_without_room_is_a_full_disk() -> None:
    path = Path("/dev/full")
    with pytest.raises(StoreError, match="the disk is full"), storage(path):
        path.write_text("no room")


@pytest.mark.parametrize(
    "words",
    [
        "Error while serializing: I/O error: No space left on device (os error 28)",
        "[enforce fail at inline_container.cc:672] . unexpected pos 125120 vs 125008",
        "PytorchStreamWriter failed writing file data/0: file write failed",
    ],
)
def test_a_library_that_tells_of_a_full_disk_in_words_is_understood(words: str) -> None:
    with pytest.raises(StoreError, match="the disk is full"), storage(Path("model")):
        raise RuntimeError(words)


def test_errors_that_are_not_the_systems_pass_through_storage() -> None:
    for error in (RuntimeError("mine"), RunExistsError("theirs"), MissingFileError("none")):
        with pytest.raises(type(error)) as caught, storage(Path("place")):
            raise error
        assert caught.value is error


def test_a_place_under_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="the system refuses"):
        write_text(tmp_path / "file" / "inner.txt", "text")


def test_nan_is_refused_in_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "numbers.json", {"value": float("nan")})
    assert names(tmp_path) == []


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "half.json"
    path.write_text('{"a": ')
    with pytest.raises(StoreError, match=r"half\.json: not valid JSON"):
        read_json(path)
    (tmp_path / "half.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(StoreError, match=r"half\.parquet: damaged Parquet"):
        read_parquet(tmp_path / "half.parquet")
    for read in (read_json, read_parquet):
        with pytest.raises(MissingFileError, match="nowhere"):
            read(tmp_path / "nowhere")


def test_newlines_and_code_points_stay_as_they_are(tmp_path: Path) -> None:
    text = "\ufeffone\r\ntwo\rthree\x0c🙂\u2028end"
    write_text(tmp_path / "t", text)
    assert (tmp_path / "t").read_bytes() == text.encode()


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        write_parquet(tmp_path / name, pa.table({"x": [1, 2, None], "t": ["a", "ü", ""]}))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize(
    "error",
    [
        StoreError("w", where="here", fix="do"),
        MissingFileError("w", where="here"),
        Interrupted("w", fix="do"),
        RunExistsError("w"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_travel_between_processes(error: ValenceError) -> None:
    """The pool pickles what a worker raises."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.what, copy.where, copy.fix) == (
        str(error),
        error.what,
        error.where,
        error.fix,
    )


# --- digests ------------------------------------------------------------------------------


@given(st.dictionaries(st.text(), PLAIN))
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))
    assert digest(value) == digest(json.loads(json.dumps(value)))


def test_a_digest_is_the_same_in_every_release() -> None:
    assert digest({"b": [1, 2.5, None], "a": "ü"}) == (
        "703dceec79c30480a5c3da98f5873d45349c66854150b1f903de556fe4042245"
    )


def test_a_digest_of_files_sees_names_contents_and_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    first = digest_files([one, two])
    assert first == digest_files([one, two])
    assert first != digest_files([two, one])
    two.write_text("3")
    assert first != digest_files([one, two])


# --- run directories ----------------------------------------------------------------------


def test_a_run_directory_keeps_its_recipe(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path / "runs" / "new", "name: a\n"):
        pass
    assert (tmp_path / "runs" / "new" / "recipe.yaml").read_text() == "name: a\n"


def test_the_same_recipe_may_come_back(tmp_path: Path) -> None:
    for _ in range(2):
        with RunDirectory.open(tmp_path / "run", "name: a\n"):
            pass


def test_another_recipe_needs_to_be_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "run"
    with RunDirectory.open(place, "name: a\n"):
        (place / "results.json").write_text("[]")
    with pytest.raises(RunExistsError, match="another recipe"):
        RunDirectory.open(place, "name: b\n")
    assert (place / "recipe.yaml").read_text() == "name: a\n"
    with RunDirectory.open(place, "name: b\n", resume=True):
        assert (place / "results.json").is_file()
    with RunDirectory.open(place, "name: c\n", overwrite=True):
        assert not (place / "results.json").exists()
    assert (place / "recipe.yaml").read_text() == "name: c\n"


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_what_is_not_a_run_is_never_touched(tmp_path: Path, options: dict[str, bool]) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(RunExistsError, match="not a run"):
        RunDirectory.open(tmp_path, "name: a\n", **options)
    with pytest.raises(RunExistsError, match="is a file"):
        RunDirectory.open(tmp_path / "thesis.tex", "name: a\n", **options)
    assert names(tmp_path) == ["thesis.tex"]
    assert (tmp_path / "thesis.tex").read_text() == "years"


def test_overwriting_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("kept")
    with RunDirectory.open(tmp_path / "run", "name: a\n"):
        (tmp_path / "run" / "link").symlink_to(tmp_path / "precious")
    with RunDirectory.open(tmp_path / "run", "name: a\n", overwrite=True):
        assert not (tmp_path / "run" / "link").exists()
    assert (tmp_path / "precious" / "file").read_text() == "kept"


def test_a_run_that_ended_before_it_had_begun_can_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_disk)
        with pytest.raises(StoreError, match="the disk is full"):
            RunDirectory.open(tmp_path / "run", "name: a\n").close()
    assert names(tmp_path / "run") == [".lock"]
    (tmp_path / "run" / ".recipe.yaml.1.partial").write_text("na")
    with RunDirectory.open(tmp_path / "run", "name: a\n"):
        pass


def test_a_second_handle_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path / "run", "name: a\n"):
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(RunExistsError, match="another process"):
                RunDirectory.open(tmp_path / "run", "name: a\n", **options)
        # Also while the first has not yet written its recipe.
        (tmp_path / "run" / "recipe.yaml").unlink()
        with pytest.raises(RunExistsError, match="another process"):
            RunDirectory.open(tmp_path / "run", "name: a\n")
    with RunDirectory.open(tmp_path / "run", "name: a\n"):
        pass


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from valence.store import RunDirectory\n"
        "try: RunDirectory.open(Path(sys.argv[1]), 'name: a\\n')\n"
        "except FileExistsError as error: print(error)"
    )
    with RunDirectory.open(tmp_path / "run", "name: a\n"):
        asked = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "run")],
            capture_output=True,
            text=True,
            check=True,
        )
    assert "another process is working in this directory" in asked.stdout


# --- stages -------------------------------------------------------------------------------


def work(run: RunDirectory, inputs: object, content: str) -> bool:
    """Do a stage with these inputs if it is not done; tells whether it was done before."""
    with run.stage("packs/one", {"inputs": inputs}) as stage:
        if not stage.done:
            (stage.work / "out.txt").write_text(content)
            stage.facts["content"] = content
        return stage.done


def test_a_stage_is_done_once_for_the_same_inputs(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path / "run", "name: a\n") as run:
        assert not work(run, 1, "first")
        assert work(run, 1, "second")
        assert (run.path / "packs" / "one" / "out.txt").read_text() == "first"
        assert run.facts("packs/one")["content"] == "first"
        assert run.facts("packs/one")["seconds"] >= 0
        assert run.key("packs/one") == digest({"inputs": 1})
        assert names(run.path / "packs" / "one") == ["out.txt"]
    with RunDirectory.open(tmp_path / "run", "name: a\n") as run:
        assert work(run, 1, "third")


def test_a_stage_is_redone_for_other_inputs_or_when_its_output_is_gone(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path / "run", "name: a\n") as run:
        work(run, 1, "first")
        (run.path / "packs" / "one" / "stale.txt").write_text("")
        assert not work(run, 2, "second")
        assert names(run.path / "packs" / "one") == ["out.txt"]
        (run.path / "packs" / "one").rename(run.path / "elsewhere")
        assert not work(run, 2, "third")
        assert (run.path / "packs" / "one" / "out.txt").read_text() == "third"


def interrupted(run: RunDirectory, inputs: object) -> None:
    def begin() -> None:
        with run.stage("packs/one", {"inputs": inputs}) as stage:
            (stage.work / "shard.txt").write_text("half the work")
            (stage.work / ".shard2.txt.77.partial").write_text("half a file")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin()


def test_an_interrupted_stage_is_not_done_and_keeps_its_work(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path / "run", "name: a\n") as run:
        interrupted(run, 1)
        assert not (run.path / "packs" / "one").exists()
        with run.stage("packs/one", {"inputs": 1}) as stage:
            assert not stage.done
            assert (stage.work / "shard.txt").read_text() == "half the work"
        # What was being written when the process died is no part of the result.
        assert names(run.path / "packs" / "one") == ["shard.txt"]


def test_unfinished_work_for_other_inputs_is_dropped(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path / "run", "name: a\n") as run:
        interrupted(run, 1)
        with run.stage("packs/one", {"inputs": 2}) as stage:
            assert names(stage.work) == [".inputs"]


def test_a_stage_that_fails_again_keeps_the_old_output_but_is_not_done(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path / "run", "name: a\n") as run:
        work(run, 1, "first")
        interrupted(run, 2)
        assert (run.path / "packs" / "one" / "out.txt").read_text() == "first"
        assert not work(run, 1, "again")


def test_a_full_disk_inside_a_stage_names_the_stage(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path / "run", "name: a\n") as run:
        with (
            pytest.raises(StoreError, match=r"packs/one: the disk is full"),
            run.stage("packs/one", {}),
        ):
            full_disk()
        assert not (run.path / "stages").exists()


def test_a_stage_is_finished_only_when_its_marker_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunDirectory.open(tmp_path / "run", "name: a\n") as run:
        with monkeypatch.context() as patched:
            patched.setattr(directory, "write_json", full_disk)
            with pytest.raises(OSError, match="No space left"):
                work(run, 1, "first")
        assert not work(run, 1, "second")
