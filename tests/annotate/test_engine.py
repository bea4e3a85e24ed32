"""The engine: text kept byte for byte, a result per segment, failures that are never numbers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valence.annotate import Annotation, annotate, job
from valence.annotate.judge import rows_of, score_document, time_limit
from valence.annotate.run import write_documents, write_rewards
from valence.annotate.shards import WHOLE_DOCUMENT
from valence.data import Document, Failure, Mark, Result, Score, ScorerId, Segment, tile
from valence.errors import CorpusError, MissingFileError, RunExistsError, ScorerError
from valence.recipe import CorpusRecipe, ScoreRecipe
from valence.score.pep8 import Pep8
from valence.score.protocol import traits
from valence.store import read_parquet

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


def corpus(folder: Path, texts: Iterable[str], **options: Any) -> CorpusRecipe:
    """Texts as one JSON-lines file; documents are called d0, d1, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "texts.jsonl"
    rows = [{"id": f"d{at}", "text": text, "at": at} for at, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given_options: dict[str, Any] = {"id_column": "id", "valid_share": 0.5, "shard_chars": 60}
    return CorpusRecipe(reader="files", paths=(str(path),), **(given_options | options))


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
def documents(tmp_path: Path) -> Path:
    """Text in five shards of two documents; one document cannot be tokenised."""
    folder = tmp_path / "documents"
    folder.mkdir()
    manifest = write_documents(
        corpus(tmp_path / "in", [*[GOOD] * 9, BROKEN + GOOD]), 0, folder, ScoreRecipe(workers=1)
    )
    assert len(manifest["shards"]) == 5
    return folder


def score_into(documents: Path, name: str, **options: Any) -> tuple[Path, dict[str, Any]]:
    folder = documents.parent / name
    folder.mkdir(exist_ok=True)
    scorer = options.pop("scorer", None) or Pep8()
    on_progress = options.pop("on_progress", None)
    if "scorer_" in options:  # What workers build; `scorer` is this process's.
        options["scorer"] = options.pop("scorer_")
    score = ScoreRecipe(**({"workers": 1} | options))
    return folder, write_rewards(documents, folder, score, scorer, on_progress)


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


# --- engines ------------------------------------------------------------------------------


def test_the_bytes_do_not_depend_on_the_number_of_workers(documents: Path) -> None:
    one, first = score_into(documents, "one")
    two, second = score_into(documents, "two", workers=2)
    assert first["digest"] == second["digest"]
    for path in shards(one):
        assert path.read_bytes() == (two / path.name).read_bytes()
    timing = {"core_seconds", "seconds", "flops"}
    assert {k: v for k, v in first.items() if k not in timing} == {
        k: v for k, v in second.items() if k not in timing
    }


def test_reading_is_the_same_with_one_process_and_with_several(tmp_path: Path) -> None:
    made = []
    for workers in (1, 2):
        folder = tmp_path / f"w{workers}"
        folder.mkdir()
        recipe = corpus(tmp_path / "in", [f"{at} é\n" for at in range(40)], shard_chars=20)
        made.append(write_documents(recipe, 0, folder, ScoreRecipe(workers=workers)))
    assert made[0]["digest"] == made[1]["digest"]
    assert made[0]["documents"] == 40


def test_resuming_scores_only_the_shards_that_are_missing(documents: Path) -> None:
    folder, before = score_into(documents, "rewards")
    third = shards(folder)[2]
    for left in (third, third.with_suffix(".json")):
        left.unlink()
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("0*")}
    seen: list[str] = []
    progress: list[tuple[int, int]] = []

    def answer(document: Document, segments: Sequence[Segment]) -> list[Result]:
        seen.append(document.id)
        return Pep8().score(document, segments)

    _, after = score_into(
        documents, "rewards", scorer=Own(answer), on_progress=lambda *p: progress.append(p)
    )
    assert seen == ["d4", "d5"]
    assert progress
    assert after["digest"] == before["digest"]
    assert after["calls"] == before["calls"] == 10
    assert all((folder / name).stat().st_mtime_ns == time for name, time in times.items())


def test_reading_goes_on_after_the_last_finished_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = corpus(tmp_path / "in", [f"text {at}\n" for at in range(30)], shard_chars=60)
    whole, half = tmp_path / "whole", tmp_path / "half"
    whole.mkdir()
    half.mkdir()
    before = write_documents(recipe, 0, whole, ScoreRecipe(workers=1))
    real, count = job.write_parquet, 0

    def dies(path: Path, table: pa.Table) -> str:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return real(path, table)

    monkeypatch.setattr(job, "write_parquet", dies)
    with pytest.raises(KeyboardInterrupt):
        write_documents(recipe, 0, half, ScoreRecipe(workers=1))
    assert len(shards(half)) == 2
    monkeypatch.setattr(job, "write_parquet", real)
    after = write_documents(recipe, 0, half, ScoreRecipe(workers=1))
    assert after["digest"] == before["digest"]
    assert {k: v for k, v in after.items() if k != "core_seconds"} == {
        k: v for k, v in before.items() if k != "core_seconds"
    }


def test_a_worker_that_dies_is_told_and_finished_shards_stay(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    with pytest.raises(ScorerError, match="a scoring process died"):
        score_into(documents, "rewards", scorer=Own(zeros), scorer_="deadly:Deadly", workers=2)
    assert not (tmp_path / "rewards" / "00000-00004.parquet").exists()
    assert not (tmp_path / "rewards" / "manifest.json").exists()


# --- results ------------------------------------------------------------------------------


def test_a_document_that_cannot_be_scored_has_no_number_and_its_reason(documents: Path) -> None:
    folder, manifest = score_into(documents, "rewards")
    row = read_parquet(shards(folder)[4]).to_pylist()[1]
    assert row["id"] == "d9"
    assert row["rewards"] == [None] * 3
    (failure,) = row["failures"]
    assert (failure["segment"], failure["kind"]) == (WHOLE_DOCUMENT, "untokenizable")
    assert failure["message"]
    assert manifest["failures"] == {"untokenizable": 1}
    assert manifest["examples"]["untokenizable"] == failure["message"]
    assert manifest["failed_documents"] == 1
    assert manifest["scored_segments"] == manifest["segments"] - 3


def test_a_null_reward_and_a_failure_go_together(documents: Path) -> None:
    def answer(document: Document, segments: Sequence[Segment]) -> list[Result]:
        failure = Failure(stage="score", kind="odd", message="why")
        return [failure if s.start else Score(value=-1.0) for s in segments]

    folder, manifest = score_into(documents, "rewards", scorer=Own(answer))
    for path in shards(folder):
        for row in read_parquet(path).to_pylist():
            missing = [i for i, reward in enumerate(row["rewards"]) if reward is None]
            assert missing == [failure["segment"] for failure in row["failures"]]
    assert manifest["failures"] == {"odd": 10}


def test_an_exception_in_a_scorer_costs_one_document(documents: Path) -> None:
    def answer(document: Document, segments: Sequence[Segment]) -> list[Result]:
        if document.id == "d3":
            raise ZeroDivisionError("by zero")
        return zeros(document, segments)

    folder, manifest = score_into(documents, "rewards", scorer=Own(answer))
    assert manifest["failures"] == {"ZeroDivisionError": 1}
    row = read_parquet(shards(folder)[1]).to_pylist()[1]
    assert row["rewards"] == [None, None]
    assert row["failures"][0]["message"] == "d3: by zero"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_becomes_a_failure(documents: Path, value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Score(value=value)

    def answer(document: Document, segments: Sequence[Segment]) -> list[Result]:
        scores = zeros(document, segments)
        return [*scores[1:], Score(value=value)] if document.id == "d0" else scores

    folder, manifest = score_into(documents, "rewards", scorer=Own(answer))
    assert manifest["failures"] == {"not-finite": 1}
    assert read_parquet(shards(folder)[0])["rewards"][0].as_py() == [None, None]


def test_a_score_too_large_for_its_column_becomes_a_failure(documents: Path) -> None:
    def answer(document: Document, segments: Sequence[Segment]) -> list[Result]:
        return [Score(value=1e300), *zeros(document, segments)[1:]]

    _, manifest = score_into(documents, "rewards", scorer=Own(answer))
    assert manifest["failures"] == {"out-of-range": 10}


def test_a_blank_line_without_a_number_is_no_failed_document(tmp_path: Path) -> None:
    def answer(document: Document, segments: Sequence[Segment]) -> list[Result]:
        empty = Failure(stage="score", kind="no-tokens", message="nothing there")
        said = [document.text[s.start : s.end].strip() for s in segments]
        return [Score(value=1.0) if words else empty for words in said]

    place = tmp_path / "documents"
    place.mkdir()
    write_documents(corpus(tmp_path / "in", ["a\n\nb\n", "c\n"]), 0, place)
    _, manifest = score_into(place, "rewards", scorer=Own(answer))
    assert (manifest["failed_documents"], manifest["failures"]) == (0, {"no-tokens": 1})
    assert manifest["segments"] - manifest["scored_segments"] == 1


def test_a_document_that_takes_too_long_becomes_a_failure(documents: Path) -> None:
    def answer(document: Document, segments: Sequence[Segment]) -> list[Result]:
        while document.id == "d2":
            try:
                time.sleep(0.01)
            except Exception:  # A scorer that swallows everything is stopped all the same.
                continue
        return zeros(document, segments)

    _, manifest = score_into(documents, "rewards", scorer=Own(answer), timeout=0.2)
    assert manifest["failures"] == {"time-out": 1}
    assert manifest["examples"] == {"time-out": "d2: no answer after 0.2 seconds"}


def test_a_limit_that_was_not_reached_leaves_nothing_behind() -> None:
    with time_limit(0.05):
        pass
    time.sleep(0.1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda document, segments: [], "0 results for 2"),
        (lambda document, segments: [Score(value=0.0)] * 3, "3 results for 2"),
        (lambda document, segments: [0.0, 0.0], "something else than Score and Failure"),
        (lambda document, segments: [None, None], "something else than Score and Failure"),
    ],
)
def test_a_scorer_that_breaks_its_contract_ends_the_run(
    documents: Path, answer: Callable[..., Any], message: str
) -> None:
    with pytest.raises(ScorerError) as caught:
        score_into(documents, "rewards", scorer=Own(answer))
    assert message in str(caught.value)
    assert str(caught.value).startswith("d0:")
    assert not list((documents.parent / "rewards").iterdir())


def test_a_document_without_segments_is_no_failure() -> None:
    empty = Document(id="e", text="", source="e")
    assert score_document(Own(zeros), empty, tile([])) == []


# --- many at once -------------------------------------------------------------------------


class Many(Own):
    """Scores three documents per call; the call fails if one of them is odd."""

    batch = 3
    calls = 0

    def score_many(self, items: Sequence[Any]) -> list[list[Result]]:
        self.calls += 1
        if any("odd" in document.text for document, _ in items):
            raise ValueError("an odd one among them")
        return [self.answer(document, segments) for document, segments in items]


def test_in_a_call_that_fails_only_the_document_that_fails_alone_is_lost(tmp_path: Path) -> None:
    def answer(document: Document, segments: Sequence[Segment]) -> list[Result]:
        if "odd" in document.text:
            raise ValueError("odd")
        return [Score(value=float(document.columns["at"])) for _ in segments]  # type: ignore[arg-type]

    place = tmp_path / "documents"
    place.mkdir()
    texts = ["a\n", "b\n", "odd\n", "c\n", "d\n", "e\n", "f\n"]
    write_documents(corpus(tmp_path / "in", texts, shard_chars=1000), 0, place)
    folder, manifest = score_into(place, "rewards", scorer=Many(answer))
    (only,) = shards(folder)
    rewards = read_parquet(only)["rewards"].to_pylist()
    assert rewards == [[0.0], [1.0], [None], [3.0], [4.0], [5.0], [6.0]]
    assert manifest["calls"] == 3 + 1 + 1
    assert manifest["failures"] == {"ValueError": 1}


def test_what_a_scorer_raises_in_a_call_for_many_never_ends_the_run(tmp_path: Path) -> None:
    class Raising(Many):
        def score_many(self, items: Sequence[Any]) -> list[list[Result]]:
            raise ScorerError("of the house's own family")

    place = tmp_path / "documents"
    place.mkdir()
    write_documents(corpus(tmp_path / "in", ["a\n", "b\n", "c\n"], shard_chars=1000), 0, place)
    _, manifest = score_into(place, "rewards", scorer=Raising(zeros))
    assert (manifest["failures"], manifest["scored_segments"]) == ({}, 3)


def test_a_call_for_many_that_answers_for_fewer_ends_the_run(tmp_path: Path) -> None:
    class Fewer(Many):
        def score_many(self, items: Sequence[Any]) -> list[list[Result]]:
            return super().score_many(items)[1:]

    place = tmp_path / "documents"
    place.mkdir()
    write_documents(corpus(tmp_path / "in", ["a\n", "b\n", "c\n"], shard_chars=1000), 0, place)
    with pytest.raises(ScorerError, match="2 results for 3"):
        score_into(place, "rewards", scorer=Fewer(zeros))


class Arrays:
    """A scorer that answers with arrays."""

    id = Own.id
    meaning = "minus the length"
    batch = 2

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        return [Score(value=float(s.start - s.end)) for s in segments]

    def score_arrays(self, texts: Sequence[str], ends: Sequence[Any]) -> list[Any]:
        return [-np.diff(end, prepend=0).astype(np.float64) for end in ends]


def test_arrays_are_kept_like_scores(documents: Path) -> None:
    _, arrays = score_into(documents, "arrays", scorer=Arrays())
    _, scores = score_into(documents, "scores", scorer=Own(Arrays().score))
    assert arrays["digest"] == scores["digest"]


def test_an_array_with_a_number_that_is_none_has_a_failure_there() -> None:
    class Wrong(Arrays):
        def score_arrays(self, texts: Sequence[str], ends: Sequence[Any]) -> list[Any]:
            return [np.array([0.5, np.nan, 1e300])]

    document = Document(id="d", text="abc", source="")
    (row,), _ = rows_of(Wrong(), [(document, [1, 2, 3])], traits(Wrong()), timeout=None)
    assert [(at, failure.kind) for at, failure in row.failures] == [
        (1, "not-finite"),
        (2, "out-of-range"),
    ]
    assert np.isnan(row.rewards[1:]).all()


def test_parts_and_marks_are_kept_beside_the_reward(documents: Path) -> None:
    class Rich(Own):
        parts = ("first", "second")
        keeps_marks = True

    def answer(document: Document, segments: Sequence[Segment]) -> list[Result]:
        mark = Mark(start=1, end=2, code="X1", message="x")
        found: list[Result] = [Score(value=3.0, parts=(1.0, None), marks=(mark,))]
        return [*found, *[Failure(stage="score", kind="k", message="m")] * (len(segments) - 1)]

    folder, manifest = score_into(documents, "rewards", scorer=Rich(answer))
    row = read_parquet(shards(folder)[0]).to_pylist()[0]
    assert row["part.first"] == [1.0, None]
    assert row["part.second"] == [None, None]
    assert row["marks"] == [{"start": 1, "end": 2, "code": "X1", "message": "x"}]
    assert manifest["parts"] == ["first", "second"]


# --- text ---------------------------------------------------------------------------------


def test_odd_text_comes_back_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for name, text in ODD_TEXTS.items():
        (tmp_path / "texts" / f"{name}.py").write_bytes(text.encode())
    recipe = CorpusRecipe(reader="files", paths=(str(tmp_path / "texts"),))
    found = annotate(tmp_path / "out", ScoreRecipe(workers=1), recipe)
    read = {Path(item.document.source).stem: item for item in found.read("pep8")}
    assert {name: item.document.text for name, item in read.items()} == ODD_TEXTS
    for item in read.values():
        assert len(item.ends) == len(item.rewards)
        assert item.ends[-1] == len(item.document.text)


@given(texts=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=9))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    out = folder / "out"
    annotate(out, None, corpus(folder, texts, shard_chars=5))
    rows = [row for (table,) in Annotation(out).tables() for row in table.to_pylist()]
    assert [row["text"] for row in rows] == texts
    assert [json.loads(row["columns"]) for row in rows] == [{"at": at} for at in range(len(texts))]


def test_what_cannot_be_read_is_a_row_with_its_reason_and_never_a_number(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(
        b'{"text": "fine"}\n{"text": {"nested": 1}}\n{"text": "\xff"}\n'
        b'{"text": "' + b"x" * 5000 + b'"}\nno json\n{"text": "fine too"}\n'
    )
    recipe = CorpusRecipe(reader="files", paths=(str(path),), max_document_chars=1000)
    found = annotate(tmp_path / "out", ScoreRecipe(scorer="pep8-local", workers=1), recipe)
    assert found.documents["documents"] == 2
    assert found.documents["unread"] == 4
    assert sum(found.documents["failures"].values()) == 4
    assert set(found.documents["failures"]) >= {"not-utf-8", "too-long", "not-json"}
    ((texts, rewards),) = found.tables("pep8-local")
    assert [row is None for row in texts["text"].to_pylist()] == [False, *[True] * 4, False]
    assert [len(row) for row in rewards["rewards"].to_pylist()] == [1, 0, 0, 0, 0, 1]
    assert [item.document.text for item in found.read("pep8-local")] == ["fine", "fine too"]


def test_a_segmenter_that_fails_costs_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(recipe: object) -> Callable[[str], list[int]]:
        def cut(text: str) -> list[int]:
            if text == "bad":
                raise RuntimeError("why")
            return [len(text)]

        return cut

    monkeypatch.setattr(job, "build_segmenter", build)
    found = annotate(tmp_path / "out", None, corpus(tmp_path, ["a", "bad", "c"]), seed=0).documents
    assert (found["documents"], found["failures"]) == (2, {"RuntimeError": 1})


def test_the_manifest_counts_what_was_taken(tmp_path: Path) -> None:
    found = annotate(tmp_path / "out", None, corpus(tmp_path, ["aé\n", "b\nc\n", "d\n", "e\n"]))
    assert found.documents["documents"] == 4
    assert found.documents["segments"] == 5
    assert (found.documents["chars"], found.documents["bytes"]) == (11, 12)


def test_no_more_documents_are_taken_than_max_chars_needs(tmp_path: Path) -> None:
    recipe = corpus(tmp_path, ["12345\n"] * 20, max_chars=25)
    found = annotate(tmp_path / "out", None, recipe).documents
    assert (found["documents"], found["chars"]) == (5, 30)


def test_no_text_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no document with text in it \(empty: 1\)"):
        annotate(tmp_path / "out", None, corpus(tmp_path, [""]))


# --- directories --------------------------------------------------------------------------


def test_a_second_scorer_leaves_text_and_first_scorer_as_they_are(tmp_path: Path) -> None:
    out = tmp_path / "out"
    annotate(out, ScoreRecipe(workers=1), corpus(tmp_path, [GOOD] * 4))
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.rglob("*.parquet")}
    found = annotate(out, ScoreRecipe(scorer="pep8-local", workers=1))
    assert found.scorers == ["pep8", "pep8-local"]
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in before} == before


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    out, recipe = tmp_path / "out", corpus(tmp_path, [GOOD] * 4)
    annotate(out, ScoreRecipe(workers=1), recipe)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")}
    annotate(out, ScoreRecipe(workers=2), recipe)
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_other_text_other_input_and_another_scorer_of_that_name_are_refused(
    tmp_path: Path,
) -> None:
    out, recipe = tmp_path / "out", corpus(tmp_path, [GOOD] * 4)
    score = ScoreRecipe(name="mine", workers=1)
    first = annotate(out, score, recipe).documents["digest"]
    other = ScoreRecipe(name="mine", scorer="pep8-local", workers=1)
    with pytest.raises(RunExistsError, match="made by another scorer"):
        annotate(out, other)
    sentences = recipe.model_copy(update={"shard_chars": 70})
    with pytest.raises(RunExistsError, match="an annotation of another recipe"):
        annotate(out, score, sentences)
    corpus(tmp_path, [GOOD] * 5)
    with pytest.raises(RunExistsError, match="the input has changed"):
        annotate(out, score, recipe)
    assert Annotation(out).documents["digest"] == first
    assert annotate(out, other, overwrite=True).rewards("mine")["scorer"]["name"] == "pep8-local"
    renewed = annotate(out, score, recipe, overwrite=True)
    assert renewed.documents["documents"] == 5
    assert renewed.rewards("mine")["documents"] == 5


def test_rewards_need_text_first(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="not a finished annotation"):
        annotate(tmp_path / "out", ScoreRecipe())
    assert not (tmp_path / "out").exists()


def test_a_reward_that_was_not_made_is_told(tmp_path: Path) -> None:
    found = annotate(tmp_path / "out", None, corpus(tmp_path, [GOOD]))
    with pytest.raises(MissingFileError, match="no finished rewards `pep8`"):
        list(found.read("pep8"))


def test_the_scorer_stands_in_the_manifest(documents: Path) -> None:
    _, manifest = score_into(documents, "rewards")
    scorer = manifest["scorer"]
    assert {key: scorer[key] for key in ("name", "version", "digest")} == asdict(Pep8().id)
    assert scorer["meaning"] == Pep8().meaning
    assert scorer["device"] == "cpu"


def test_a_worker_with_another_scorer_is_refused(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "changing.py").write_text(
        "import os\n"
        "from valence.data import Score, ScorerId\n"
        "class Changing:\n"
        "    id = ScorerId(name='changing', version='1', digest=str(os.getpid()))\n"
        "    meaning = 'none'\n"
        "    def score(self, document, segments):\n"
        "        return [Score(value=0.0) for _ in segments]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ScorerError, match="a worker has another scorer"):
        score_into(documents, "rewards", scorer=Own(zeros), scorer_="changing:Changing", workers=2)
