import json
import random
from pathlib import Path

import numpy as np
import pytest

from valence.annotate.read import Annotation
from valence.annotate.run import annotate
from valence.data import Document, Failure, Result, Score, ScorerId, Segment
from valence.distill import distill, evaluate
from valence.distill import run as distill_run
from valence.errors import BoundError, CorpusError, MissingFileError, RecipeError, RunExistsError
from valence.recipe import CorpusRecipe, ScoreRecipe
from valence.report.bound import Bound
from valence.score.student import Student
from valence.store import PARTIAL

BAD, GOOD = (
    ["awful", "rotten", "vile"],
    ["the", "a", "nice", "day", "tree", "house", "runs", "over", "quickly", "with", "some"],
)


def lines(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        words = rng.choices(GOOD, k=rng.randint(3, 12))
        if rng.random() < 0.3:
            words.insert(rng.randrange(len(words)), rng.choice(BAD))
        found.append(" ".join(words))
    return found


def write_texts(path: Path, documents: int = 120, seed: int = 0) -> None:
    rows = [
        {"id": f"d{at}", "text": "\n".join([*lines(seed + at, 4), "broken é"])}
        for at in range(documents)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


class Words:
    """Minus the number of bad words; a segment with "broken" is a failure."""

    id = ScorerId(name="words", version="1", digest="0" * 64)
    meaning = "minus bad words"

    def score(self, document: Document, segments: "list[Segment]") -> list[Result]:
        found: list[Result] = []
        for segment in segments:
            text = document.text[segment.start : segment.end]
            if "broken" in text:
                found.append(Failure(stage="score", kind="broken", message=""))
            else:
                found.append(Score(value=-float(sum(word in BAD for word in text.split()))))
        return found


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Annotation:
    folder = tmp_path_factory.mktemp("distill")
    write_texts(folder / "texts.jsonl")
    corpus = CorpusRecipe(
        reader="files", paths=(str(folder / "texts.jsonl"),), id_column="id", valid_share=0.3
    )
    score = ScoreRecipe(scorer=f"{__name__}:Words", name="words", workers=1)
    return annotate(folder / "annotation", score, corpus)


@pytest.fixture(scope="module")
def made(annotated: Annotation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "student"
    distill([annotated], "words", out, bound=-0.5, bits=12, resamples=50)
    return out


def test_a_student_learns_what_its_teacher_says(annotated: Annotation, made: Path) -> None:
    found = json.loads((made / "fidelity.json").read_text())
    values = {row["metric"]: row for row in found["measurements"]}
    auroc = values["auroc_at_bound"]
    assert auroc["value"] > 0.99 and auroc["low"] <= auroc["value"] <= auroc["high"]
    assert values["f1"]["value"] > 0.9
    assert found["failures"]["held_out"] == auroc["failures"] == found["documents"]["held_out"]
    assert found["throughput"]["student"] > 0 and found["throughput"]["teacher"] > 0
    assert json.loads((made / "results.json").read_text()) == found["measurements"]
    student = Student(str(made))
    text = "a nice day"
    other = "a vile day"
    better, worse = (
        student.score(Document(id="x", text=t, source=""), [Segment(start=0, end=len(t))])[0]
        for t in (text, other)
    )
    assert isinstance(better, Score) and isinstance(worse, Score)
    assert better.value > -0.3 > -0.7 > worse.value
    assert "words@1" in student.meaning


def test_the_page_is_whole_and_has_no_script(made: Path) -> None:
    page = (made / "fidelity.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and page.rstrip().endswith("</html>")
    assert "<script" not in page and "http-equiv" in page and "AUROC" in page


def test_equal_input_and_seed_give_equal_weights(
    annotated: Annotation, made: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    distill([annotated.path], "words", again, bound=-0.5, bits=12, resamples=50)
    assert Student(str(again)).id == Student(str(made)).id
    other = tmp_path / "other"
    distill([annotated], "words", other, bound=-0.5, bits=12, resamples=10, seed=1)
    assert Student(str(other)).id != Student(str(made)).id


def test_a_sample_of_segments_and_a_quantile(annotated: Annotation, tmp_path: Path) -> None:
    found = distill(
        [annotated],
        "words",
        tmp_path / "s",
        bound=Bound(best=0.7),
        bits=12,
        max_segments=150,
        resamples=20,
    )
    assert found.bound == 0.0
    assert found.segments["train"] == 150
    assert (found.value("auroc_at_bound") or 0) > 0.95


def test_two_annotations_are_one_teacher(annotated: Annotation, tmp_path: Path) -> None:
    found = distill(
        [annotated, annotated], "words", tmp_path / "s", bound=-0.5, bits=12, resamples=10
    )
    once = distill([annotated], "words", tmp_path / "t", bound=-0.5, bits=12, resamples=10)
    assert found.segments["train"] == 2 * once.segments["train"]
    assert found.teacher == once.teacher


def test_evaluate_agrees_with_the_report(annotated: Annotation, made: Path) -> None:
    reported = json.loads((made / "fidelity.json").read_text())["measurements"]
    measured = evaluate(Student(str(made)), annotated, "words", bound=-0.5, resamples=50)
    expected = {row["metric"]: row["value"] for row in reported}
    for row in measured:
        if not row.metric.endswith("_matched"):
            assert row.value == pytest.approx(expected[row.metric]), row.metric
    itself = evaluate("words", annotated, "words", bound=-0.5, resamples=10)
    assert {row.metric: row.value for row in itself}["auroc_at_bound"] == 1.0
    slow = evaluate(Words(), annotated, "words", bound=-0.5, resamples=10)  # type: ignore[arg-type]
    assert [row.value for row in slow] == [row.value for row in itself]
    assert slow[0].failures > 0


def test_what_is_there_is_not_lost(annotated: Annotation, made: Path, tmp_path: Path) -> None:
    with pytest.raises(RunExistsError, match="a student already"):
        distill([annotated], "words", made, bound=-0.5)
    (tmp_path / "note").write_text("mine")
    with pytest.raises(RunExistsError, match="not a student"):
        distill([annotated], "words", tmp_path, bound=-0.5, overwrite=True)
    assert (tmp_path / "note").read_text() == "mine"


def test_a_failed_fit_leaves_nothing(
    annotated: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(distill_run, "fidelity_page", broken)
    with pytest.raises(RuntimeError, match="broken"):
        distill([annotated], "words", tmp_path / "s", bound=-0.5, bits=12, resamples=10)
    assert not list(tmp_path.iterdir())
    assert not list(tmp_path.glob(f".*{PARTIAL}"))


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"bound": -50.0}, BoundError, "go from -"),
        ({"bound": 1.0}, BoundError, "100%"),
        ({"kind": "forest"}, RecipeError, "linear, mlp, transformer"),
        ({"bits": 40}, RecipeError, "8 to 24"),
        ({"name": "other"}, MissingFileError, "There are: words"),
    ],
)
def test_mistakes_are_said(
    annotated: Annotation, tmp_path: Path, changed: dict, error: type[Exception], said: str
) -> None:
    given = {"name": "words", "bound": -0.5, **changed}
    with pytest.raises(error, match=said):
        distill([annotated], given.pop("name"), tmp_path / "s", **given)


def test_nothing_held_out(tmp_path: Path) -> None:
    write_texts(tmp_path / "t.jsonl", 30)
    corpus = CorpusRecipe(reader="files", paths=(str(tmp_path / "t.jsonl"),), valid_share=0.0)
    score = ScoreRecipe(scorer=f"{__name__}:Words", name="words", workers=1)
    found = annotate(tmp_path / "a", score, corpus)
    with pytest.raises(CorpusError, match="held_out"):
        distill([found], "words", tmp_path / "s", bound=-0.5)
    with pytest.raises(CorpusError, match="both"):
        evaluate("words", found, "words", bound=-0.5)


def test_a_small_network(
    annotated: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("valence.distill.mlp.EPOCHS", 6)
    found = [
        distill([annotated], "words", tmp_path / n, bound=-0.5, kind="mlp", bits=10, resamples=10)
        for n in "ab"
    ]
    assert (found[0].value("auroc_at_bound") or 0) > 0.9
    assert found[0].student == found[1].student


def test_a_small_transformer(
    annotated: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    for name, value in (
        ("VOCABULARY", 400),
        ("LAYERS", 1),
        ("HIDDEN", 32),
        ("RATE", 3e-3),
        ("EPOCHS", 8),
    ):
        monkeypatch.setattr(f"valence.distill.transformer.{name}", value)
    out = tmp_path / "s"
    found = distill([annotated], "words", out, bound=-0.5, kind="transformer", resamples=10)
    assert (found.value("auroc_at_bound") or 0) > 0.8
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(out)
    with torch.inference_mode():
        logits = model(**tokenizer(["a nice day", "a vile day"], return_tensors="pt")).logits
    assert logits.shape == (2, 1)
    assert float(logits[0, 0]) > float(logits[1, 0])
    assert np.isfinite(logits.numpy()).all()
