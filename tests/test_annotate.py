"""Annotation: text kept byte for byte, a result per segment, failures that are never numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valence.annotate import annotate, local, write_documents
from valence.annotate import run as annotation
from valence.annotate.local import REWARDS, WHOLE_DOCUMENT, score_document
from valence.annotate.run import read_annotated
from valence.corpus.readers import read_corpus
from valence.corpus.segment import line_ends
from valence.data import Document, Failure, Result, Score, ScorerId, Segment, tile
from valence.errors import CorpusError, ScorerError
from valence.recipe import CorpusRecipe
from valence.score.pep8 import Pep8
from valence.score.table import build_scorer
from valence.store import read_json, read_parquet

GOOD = "def add(first, second):\n    return first + second\n"
BROKEN = "x = (\n"

ODD_TEXTS = {
    "crlf": "a = 1\r\nb = 2\r\n",
    "mixed breaks": "a = 1\rb = 2\nc = 3\r\n",
    "byte order mark": "\ufeffa = 1\n",
    "emoji": "s = '🙂👩‍👩‍👧é'\n",
    "form feed": "a = 1\n\x0c\nb = 2\n",
    "line separator": "a = '\u2028'\n",
    "no last break": "a = 1",
    "blank": " \n\t\n",
    "null byte": "a = 1\x00\n",
}


def documents(texts: Iterable[str]) -> list[Document]:
    return [
        Document(id=f"d{index}", text=text, source=f"d{index}") for index, text in enumerate(texts)
    ]


def write(folder: Path, items: Iterable[Document | Failure], **options: Any) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    given_options: dict[str, Any] = {"max_chars": None, "held_out_share": 0.5, "seed": 0}
    return write_documents(items, line_ends, folder, **(given_options | options))


def text_files(folder: Path, contents: dict[str, bytes]) -> CorpusRecipe:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return CorpusRecipe(reader="files", paths=(str(folder),))


class Own:
    """A scorer made from a function; its id is the same for every function."""

    meaning = "for tests"
    id = ScorerId(name="own", version="1", digest="0" * 64)

    def __init__(self, answer: Callable[[Document, Sequence[Segment]], Any]) -> None:
        self.answer = answer

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        return self.answer(document, segments)


def zeros(document: Document, segments: Sequence[Segment]) -> list[Result]:
    return [Score(value=0.0) for _ in segments]


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Text in five shards of two documents; one document cannot be tokenised."""
    monkeypatch.setattr(annotation, "SHARD_CHARS", len(GOOD) + 1)
    texts = [GOOD] * 9
    write(tmp_path / "documents", documents([*texts, BROKEN + GOOD]))
    assert read_json(tmp_path / "documents" / "manifest.json")["shards"] == 5
    return tmp_path / "documents"


def score_into(shards: Path, name: str, **options: Any) -> tuple[Path, dict[str, Any]]:
    folder = shards.parent / name
    folder.mkdir(exist_ok=True)
    scorer = options.pop("scorer", Pep8())
    return folder, annotate(shards, folder, scorer, "pep8", **({"workers": 1} | options))


# --- scoring ------------------------------------------------------------------------------


def test_the_bytes_do_not_depend_on_the_number_of_workers(shards: Path) -> None:
    one, first = score_into(shards, "one")
    two, second = score_into(shards, "two", workers=2)
    assert first["digest"] == second["digest"]
    for path in sorted(one.glob("*.parquet")):
        assert path.read_bytes() == (two / path.name).read_bytes()
    assert {k: v for k, v in first.items() if k != "core_seconds"} == {
        k: v for k, v in second.items() if k != "core_seconds"
    }


def test_resuming_scores_only_the_shards_that_are_missing(shards: Path) -> None:
    folder, before = score_into(shards, "rewards")
    (folder / "00002.parquet").unlink()
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("0*")}
    seen: list[str] = []
    progress: list[tuple[int, int]] = []

    def answer(document: Document, segments: Sequence[Segment]) -> list[Result]:
        seen.append(document.id)
        return Pep8().score(document, segments)

    _, after = score_into(
        shards, "rewards", scorer=Own(answer), on_progress=lambda *p: progress.append(p)
    )
    assert seen == ["d4", "d5"]
    assert progress == [(5, 5)]
    assert after["digest"] == before["digest"]
    assert after["calls"] == before["calls"] == 10
    kept = [name for name in times if not name.startswith("00002")]
    assert all((folder / name).stat().st_mtime_ns == times[name] for name in kept)


def test_a_document_that_cannot_be_scored_has_no_number_and_its_reason(shards: Path) -> None:
    folder, manifest = score_into(shards, "rewards")
    row = read_parquet(folder / "00004.parquet").to_pylist()[1]
    assert row["id"] == "d9"
    assert row["rewards"] == [None] * 3
    (failure,) = row["failures"]
    assert (failure["segment"], failure["kind"]) == (WHOLE_DOCUMENT, "untokenizable")
    assert failure["message"]
    assert manifest["failures"] == {"untokenizable": 1}
    assert manifest["failed_documents"] == 1
    assert manifest["scored_segments"] == manifest["segments"] - 3
    (last,) = [a for a in read_annotated(shards, folder) if a.document.id == "d9"]
    assert np.isnan(last.rewards).all()


def test_a_null_reward_and_a_failure_go_together(shards: Path) -> None:
    def answer(document: Document, segments: Sequence[Segment]) -> list[Result]:
        failure = Failure(stage="score", kind="odd", message="why")
        return [failure if s.start else Score(value=-1.0) for s in segments]

    folder, manifest = score_into(shards, "rewards", scorer=Own(answer))
    for path in sorted(folder.glob("*.parquet")):
        for row in read_parquet(path).to_pylist():
            missing = [i for i, reward in enumerate(row["rewards"]) if reward is None]
            assert missing == [failure["segment"] for failure in row["failures"]]
    assert manifest["failures"] == {"odd": 10}


def test_an_exception_in_a_scorer_costs_one_document(shards: Path) -> None:
    def answer(document: Document, segments: Sequence[Segment]) -> list[Result]:
        if document.id == "d3":
            raise ZeroDivisionError("by zero")
        return zeros(document, segments)

    folder, manifest = score_into(shards, "rewards", scorer=Own(answer))
    assert manifest["failures"] == {"ZeroDivisionError": 1}
    row = read_parquet(folder / "00001.parquet").to_pylist()[1]
    assert row["rewards"] == [None, None]
    assert row["failures"][0]["message"] == "d3: by zero"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_becomes_a_failure(shards: Path, value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Score(value=value)

    def answer(document: Document, segments: Sequence[Segment]) -> list[Result]:
        scores = zeros(document, segments)
        return [*scores[1:], Score(value=value)] if document.id == "d0" else scores

    folder, manifest = score_into(shards, "rewards", scorer=Own(answer))
    assert manifest["failures"] == {"ValueError": 1}
    assert read_parquet(folder / "00000.parquet")["rewards"][0].as_py() == [None, None]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda document, segments: [], "0 results for 2 segments"),
        (lambda document, segments: [Score(value=0.0)] * 3, "3 results for 2 segments"),
        (lambda document, segments: [0.0, 0.0], "something else than Score and Failure"),
        (lambda document, segments: [None, None], "something else than Score and Failure"),
    ],
)
def test_a_scorer_that_breaks_its_contract_ends_the_run(
    shards: Path, answer: Callable[..., Any], message: str
) -> None:
    with pytest.raises(ScorerError) as caught:
        score_into(shards, "rewards", scorer=Own(answer))
    assert message in str(caught.value)
    assert str(caught.value).startswith("d0:")
    assert not list((shards.parent / "rewards").iterdir())


def test_nothing_but_failures_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    write(tmp_path / "documents", documents([BROKEN] * 6))
    with pytest.raises(CorpusError, match=r"every document was dropped.*untokenizable: 6"):
        score_into(tmp_path / "documents", "rewards")


def test_a_worker_that_dies_is_told_and_finished_shards_stay(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last document kills its worker; workers get this process's module path.
    (tmp_path / "deadly.py").write_text(
        "import os\n"
        "from valence.data import Score, ScorerId\n"
        "class Deadly:\n"
        "    id = ScorerId(name='deadly', version='1', digest='0' * 64)\n"
        "    meaning = 'none'\n"
        "    def score(self, document, segments):\n"
        "        if document.id == 'd9':\n"
        "            os._exit(1)\n"
        "        return [Score(value=0.0) for _ in segments]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "rewards").mkdir()
    scorer = build_scorer("deadly:Deadly")
    with pytest.raises(ScorerError, match="a scoring process died"):
        annotate(shards, tmp_path / "rewards", scorer, "deadly:Deadly", workers=2)
    assert not (tmp_path / "rewards" / "00004.parquet").exists()
    assert not (tmp_path / "rewards" / "manifest.json").exists()


def test_an_own_scorer_is_a_module_and_a_factory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shortness.py").write_text(
        "from valence.data import Score, ScorerId\n"
        "class Short:\n"
        "    id = ScorerId(name='short', version='1', digest='0' * 64)\n"
        "    meaning = 'minus the number of characters'\n"
        "    def score(self, document, segments):\n"
        "        return [Score(value=s.start - s.end) for s in segments]\n"
        "def make():\n"
        "    return Short()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "documents", documents([GOOD, BROKEN, "a\n", "b\n"]))
    (tmp_path / "rewards").mkdir()
    manifest = annotate(
        tmp_path / "documents",
        tmp_path / "rewards",
        build_scorer("shortness:make"),
        "shortness:make",
        workers=1,
    )
    assert manifest["scorer"]["meaning"] == "minus the number of characters"
    first = next(read_annotated(tmp_path / "documents", tmp_path / "rewards"))
    assert first.rewards.tolist() == [-24.0, -26.0]


def test_a_document_without_segments_is_no_failure() -> None:
    empty = Document(id="e", text="", source="e")
    assert score_document(Own(zeros), empty, tile([])) == []
    assert local._columns([]) == {"rewards": [], "failures": []}
    assert REWARDS.field("rewards").nullable


# --- text ---------------------------------------------------------------------------------


def test_odd_text_comes_back_byte_for_byte(tmp_path: Path) -> None:
    contents = {f"{name}.py": text.encode() for name, text in ODD_TEXTS.items()}
    recipe = text_files(tmp_path / "texts", contents)
    write(tmp_path / "documents", read_corpus(recipe, seed=0))
    folder, _ = score_into(tmp_path / "documents", "rewards")
    found = {a.document.source: a for a in read_annotated(tmp_path / "documents", folder)}
    assert {Path(source).name: a.document.text.encode() for source, a in found.items()} == contents
    for item in found.values():
        assert len(item.ends) == len(item.rewards)
        assert item.ends[-1] == len(item.document.text)


@given(texts=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=8, max_size=9))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    write(folder, documents(texts), held_out_share=0.3)
    rows = read_parquet(folder / "00000.parquet").to_pylist()
    assert [row["text"] for row in rows] == texts


def test_the_manifest_counts_what_was_taken_and_what_was_dropped(tmp_path: Path) -> None:
    items = [
        *documents(["aé\n", "b\nc\n", "d\n", "e\n"]),
        Failure(stage="read", kind="not-utf-8", message="x.py: bad byte"),
        Failure(stage="read", kind="not-utf-8", message="y.py: bad byte"),
    ]
    manifest = write(tmp_path, items)
    assert manifest["documents"] == 4
    assert manifest["segments"] == 5
    assert (manifest["chars"], manifest["bytes"]) == (11, 12)
    assert manifest["dropped"] == {"not-utf-8": 2}
    assert manifest["dropped_examples"] == {"not-utf-8": "x.py: bad byte"}
    assert 0 < manifest["held_out"] < 4


def test_no_more_documents_are_taken_after_max_chars(tmp_path: Path) -> None:
    taken = write(tmp_path, documents(["12345\n"] * 20), max_chars=25)
    assert (taken["documents"], taken["chars"]) == (5, 30)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_each_split_needs_a_document(tmp_path: Path, share: float) -> None:
    with pytest.raises(CorpusError, match="each need at least one"):
        write(tmp_path, documents(["a\n"] * 5), held_out_share=share)
