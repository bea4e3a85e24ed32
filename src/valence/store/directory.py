"""A run directory: the resolved recipe, a lock, and its stages.

It remembers which stages are finished and what they were made from; a second run skips
those whose inputs are the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from valence.errors import RunExistsError
from valence.store.files import PARTIAL, digest, read_json, storage, write_json, write_text

NOTE = ".inputs"
"""The file in a stage's directory that says what it is being made from."""


@dataclass(slots=True)
class Stage:
    """One step of a run. `path` holds its output once it is finished.

    Write into `work`; it becomes `path` when the step ends. `facts` are kept in the
    stage's marker and shown in the report. What an interrupted step left in `work` is
    there again, if its inputs are still the same.
    """

    name: str
    path: Path
    work: Path
    done: bool
    facts: dict[str, Any] = field(default_factory=dict)


class RunDirectory:
    """A run's directory: the resolved recipe, a lock, and one marker per finished stage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        recipe_yaml: str | None,
        *,
        resume: bool = False,
        overwrite: bool = False,
        marker_name: str = "recipe.yaml",
        noun: str = "run",
        fix: str | None = None,
    ) -> RunDirectory:
        """Take a directory for a run, or refuse.

        An empty place or one with the same recipe is taken. Another recipe needs
        `resume` (stages made from the same inputs are kept) or `overwrite` (all of it is
        removed, if it is a run at all). The recipe None is that of the directory. Raises
        `RunExistsError`.
        """
        marker = path / marker_name
        if path.exists() and not path.is_dir():
            raise RunExistsError(
                "is a file, not a directory", where=str(path), fix="Choose another --out."
            )
        if path.is_dir() and not marker.is_file() and _holds_something(path):
            raise RunExistsError(
                f"the directory holds something that is not {_a(noun)}",
                where=str(path),
                fix="Choose another --out; Valence does not overwrite what it did not write.",
            )
        run = cls(path)
        try:
            with storage(path):
                path.mkdir(parents=True, exist_ok=True)
                run._take_lock()
                known = marker.read_bytes() if marker.is_file() else None
                if known is not None and overwrite:
                    run._empty()
                elif (
                    recipe_yaml is not None
                    and known not in (None, recipe_yaml.encode())
                    and not resume
                ):
                    raise RunExistsError(
                        f"the directory holds {_a(noun)} of another recipe",
                        where=str(path),
                        fix=fix
                        or "Choose another --out, or add --resume (keeps the stages that still"
                        " fit) or --overwrite (removes that run).",
                    )
            if recipe_yaml is not None:
                write_text(marker, recipe_yaml)
        except BaseException:
            run.close()
            raise
        return run

    def _take_lock(self) -> None:
        handle = (self.path / ".lock").open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            raise RunExistsError(
                "another process is working in this directory",
                where=str(self.path),
                fix="Wait for it, or choose another --out.",
            ) from None
        self._lock = handle

    def _empty(self) -> None:
        for entry in self.path.iterdir():
            if entry.name == ".lock":
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def close(self) -> None:
        """Give the directory back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _marker(self, name: str) -> Path:
        return self.path / "stages" / f"{name.replace('/', '.')}.json"

    def facts(self, name: str) -> dict[str, Any]:
        """What a finished stage recorded about itself."""
        found = read_json(self._marker(name))["facts"]
        assert isinstance(found, dict)
        return found

    def key(self, name: str) -> str:
        """The digest of a finished stage's inputs; part of the inputs of what follows."""
        return str(read_json(self._marker(name))["key"])

    def finished(self, name: str, inputs: Mapping[str, Any]) -> bool:
        """Whether a stage of that name is finished, and was made from these inputs."""
        marker = self._marker(name)
        if not marker.is_file() or not (self.path / name).exists():
            return False
        return bool(read_json(marker)["key"] == digest(inputs))

    def differs(self, name: str, inputs: Mapping[str, Any]) -> bool:
        """Whether a stage of that name is finished, and was made from other inputs."""
        known = self._marker(name).is_file() and (self.path / name).exists()
        return known and not self.finished(name, inputs)

    def forget(self, name: str) -> None:
        """Remove a finished stage and what it made."""
        with storage(self.path / name):
            self._marker(name).unlink(missing_ok=True)
            if (self.path / name).exists():
                shutil.rmtree(self.path / name)

    @contextlib.contextmanager
    def stage(self, name: str, inputs: Mapping[str, Any]) -> Iterator[Stage]:
        """One stage, skipped (`done`) if it was finished with the same inputs before."""
        key = digest(inputs)
        path, marker = self.path / name, self._marker(name)
        known = read_json(marker) if marker.is_file() else {}
        work = path.with_name(f".{path.name}{PARTIAL}")
        if known.get("key") == key and path.exists():
            yield Stage(name=name, path=path, work=work, done=True, facts=known["facts"])
            return
        with storage(path):
            marker.unlink(missing_ok=True)
            note = work / NOTE
            if not work.exists() and _note(path) == key:
                path.replace(work)  # It was killed between its last two steps.
            if work.exists() and _note(work) != key:
                shutil.rmtree(work)
            work.mkdir(parents=True, exist_ok=True)
            for left in work.glob(f".*{PARTIAL}"):  # A killed run could not clean up.
                left.unlink()
            note.write_text(key)
        stage = Stage(name=name, path=path, work=work, done=False)
        started = time.monotonic()
        with storage(path):
            yield stage
        stage.facts["seconds"] = round(time.monotonic() - started, 3)
        with storage(path):
            if path.exists():
                shutil.rmtree(path)
            work.replace(path)
        write_json(marker, {"key": key, "facts": stage.facts, "inputs": dict(inputs)})
        with storage(path):
            (path / NOTE).unlink()


def _note(directory: Path) -> str | None:
    """The inputs' digest that an unfinished stage left in its directory."""
    note = directory / NOTE
    return note.read_text() if note.is_file() else None


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _holds_something(directory: Path) -> bool:
    """Whether there is more than what a run leaves that ended before it had begun."""
    return any(
        entry.name != ".lock" and not (entry.name.startswith(".") and entry.suffix == PARTIAL)
        for entry in directory.iterdir()
    )
