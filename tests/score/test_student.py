import json
import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from valence.data import Document, Score, Segment, tile
from valence.errors import MissingFileError, ScorerError
from valence.score import features
from valence.score.features import chunks, grams
from valence.score.student import TOKEN_OFFSET, Student, linear, raw_of

BITS = 10


def write_student(folder: Path, kind: str = "linear", seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    width = 2 if kind == "linear" else 4
    tensors = {"table": rng.normal(size=(1 << BITS, width)).astype(np.float32)}
    tensors["table"][0] = 0
    if kind == "mlp":
        tensors |= {
            "hidden": rng.normal(size=(2 * width, 8)).astype(np.float32),
            "hidden_bias": rng.normal(size=8).astype(np.float32),
            "out": rng.normal(size=8).astype(np.float32),
        }
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "weights.safetensors")
    card = {
        "format": 1,
        "kind": kind,
        "features": {"version": features.VERSION, "bits": BITS},
        "meaning": "made up",
        "calibration": {"raw": [-40.0, 0.0, 40.0], "rewards": [-1.0, -0.25, 0.0]},
    }
    (folder / "student.json").write_text(json.dumps(card))
    return folder


@pytest.fixture(params=["linear", "mlp"])
def student(request: pytest.FixtureRequest, tmp_path: Path) -> Student:
    return Student(str(write_student(tmp_path / request.param, request.param)))


def slow_features(text: str) -> tuple[list[bytes], list[tuple[bytes, bytes]], list[bytes]]:
    """Tokens, pairs and parts as the module's text describes them, in plain Python."""
    data = text.encode("utf-8", "surrogatepass")
    data = bytes(b + 32 if 65 <= b <= 90 else b for b in data)
    word = rb"[a-z0-9'*@$\x80-\xff]+"
    tokens = [b"", *re.findall(word + rb"|[^\x00-\x20\x7f]", data)]
    parts = []
    for run in re.findall(word, data):
        padded = b"\0" + run + b"\0"
        parts += [
            padded[at : at + size] for size in (3, 4, 5) for at in range(len(padded) - size + 1)
        ]
    return tokens, list(pairwise(tokens)), parts


TEXTS = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.text(alphabet="aB z'.!*\n\té😀", max_size=30),
        st.sampled_from(["", " ", "\ud800x", "A" * 300, "you, YOU you"]),
    ),
    max_size=12,
)


def encoded(texts: list[str]) -> list[bytes]:
    return [text.encode("utf-8", "surrogatepass") for text in texts]


@settings(deadline=None, max_examples=150)
@given(TEXTS)
def test_features_are_those_of_the_description(texts: list[str]) -> None:
    known: dict[object, int] = {}
    found = grams(encoded(texts), 24)
    ends = [*found.first.tolist(), len(found.starts)][1:]
    for text, begin, end in zip(texts, found.first.tolist(), ends, strict=True):
        tokens, pairs, parts = slow_features(text)
        assert end - begin == len(tokens)
        places = slice(
            int(found.starts[begin]) - 1,
            int(found.starts[end]) - 1 if end < len(found.starts) else None,
        )
        by_size = [[p for p in parts if len(p) == size] for size in (3, 4, 5)]
        for expected, buckets in zip(by_size, found.parts, strict=True):
            assert _named(known, expected) == Counter(
                b for b in buckets[places].tolist() if b
            ) or _collided(expected, buckets[places].tolist())
        for name, bucket in zip(tokens, found.words[begin:end].tolist(), strict=True):
            assert known.setdefault(name, bucket) == bucket
        got = found.pairs[begin:end].tolist()
        assert got[0] == 0
        for pair, bucket in zip(pairs, got[1:], strict=True):
            assert known.setdefault(pair, bucket) == bucket


def _named(known: dict[object, int], expected: list[bytes]) -> Counter[int]:
    return Counter(bucket_of(known, part) for part in expected)


def bucket_of(known: dict[object, int], part: bytes) -> int:
    """The bucket of a part, found by hashing a text in which it stands alone."""
    key = ("part", part)
    if key not in known:
        inner = part.strip(b"\0")
        found = grams([inner], 24)
        size = len(part) - 3
        at = 1 if part.startswith(b"\0") else 2
        known[key] = int(found.parts[size][at])
    return known[key]


def _collided(expected: list[bytes], buckets: list[int]) -> bool:
    return len(expected) == sum(b > 0 for b in buckets) + 1  # One in 2**24 hashes to bucket 0.


@settings(deadline=None, max_examples=60)
@given(TEXTS)
def test_a_text_scores_the_same_alone_and_among_others(texts: list[str]) -> None:
    rng = np.random.default_rng(1)
    raw = linear(rng.normal(size=(1 << BITS, 2)).astype(np.float32))
    together = raw_of(raw, encoded(texts), BITS)
    alone = [raw_of(raw, encoded([text]), BITS)[0] for text in texts]
    assert together.tolist() == alone


def test_chunking_changes_nothing(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"Some text, number {number}! And more of it." * (number % 5) for number in range(99)]
    whole = student.raw(encoded(texts))
    for size in (1, 64, 1000):
        monkeypatch.setattr(features, "CHUNK", size)
        features._usual.cache_clear()
        assert student.raw(encoded(texts)).tolist() == whole.tolist()
    features._usual.cache_clear()


def test_chunks_lose_nothing() -> None:
    texts = [b"x" * size for size in (0, 5, 70_000, 1, 65_535, 1, 2)]
    assert [text for part in chunks(texts) for text in part] == texts


def test_the_linear_formula() -> None:
    rng = np.random.default_rng(2)
    table = rng.normal(size=(1 << BITS, 2)).astype(np.float32)
    table[0] = 0
    found = grams([b"Well, you fool!"], BITS)
    whole, odds = 0.0, 0.0
    edges = [*(found.starts - 1).tolist(), len(found.parts[0])]
    for token, (begin, end) in enumerate(pairwise(edges)):
        rows = [found.words[token], found.pairs[token]]
        rows += [part[place] for part in found.parts for place in range(begin, end)]
        u, z = table[np.asarray(rows)].astype(float).sum(axis=0)
        whole, odds = whole + u, odds + math.exp(z + float(TOKEN_OFFSET))
    assert len(found.starts) == 6  # the empty one, well , you fool !
    expected = -(whole / math.sqrt(6) + math.log(odds))
    assert linear(table)(found)[0] == pytest.approx(expected, rel=1e-5)


def test_every_way_of_asking_gives_the_same(student: Student) -> None:
    texts = ["Ä first one. 😀 And a second!", "", "lone \ud800 surrogate. ok", "x" * 5000]
    documents = [Document(id=str(at), text=text, source="") for at, text in enumerate(texts)]
    ends = [sorted({len(text) // 2, len(text)} - {0}) for text in texts]
    items = [(d, tile(e)) for d, e in zip(documents, ends, strict=True)]
    many = student.score_many(items)
    assert many == [student.score(*item) for item in items]
    arrays = student.score_arrays(texts, [np.array(e, dtype=np.int64) for e in ends])
    values = [[r.value for r in row if isinstance(r, Score)] for row in many]
    assert [array.tolist() for array in arrays] == values
    assert [len(row) for row in many] == [2, 0, 2, 2]


def test_segments_need_not_tile(student: Student) -> None:
    document = Document(id="d", text="one two three", source="")
    inner = student.score(document, [Segment(start=4, end=7), Segment(start=0, end=13)])
    alone = Document(id="e", text="two", source="")
    assert inner[0] == student.score(alone, [Segment(start=0, end=3)])[0]


def test_nothing_in_nothing_out(student: Student) -> None:
    assert student.score_many([]) == []
    assert student.score_arrays([], []) == []
    assert student.score(Document(id="d", text="", source=""), []) == []


def test_huge_weights_stay_finite(tmp_path: Path) -> None:
    folder = write_student(tmp_path / "s")
    table = np.full((1 << BITS, 2), 1e4, dtype=np.float32)
    save_file({"table": table}, folder / "weights.safetensors")
    scorer = Student(str(folder))
    text = "word " * 1000
    (result,) = scorer.score(
        Document(id="d", text=text, source=""), [Segment(start=0, end=len(text))]
    )
    assert result == Score(value=-1.0)


def test_calibration_interpolates(tmp_path: Path) -> None:
    scorer = Student(str(write_student(tmp_path / "s")))
    raw = np.array([-100, -20, 0, 40, 99], dtype=np.float32)
    assert scorer.calibrated(raw).tolist() == [-1.0, -0.625, -0.25, 0.0, 0.0]


def test_the_id_follows_both_files(tmp_path: Path) -> None:
    first = Student(str(write_student(tmp_path / "a"))).id
    assert first == Student(str(write_student(tmp_path / "b"))).id
    assert first != Student(str(write_student(tmp_path / "b", seed=1))).id
    card = tmp_path / "a" / "student.json"
    card.write_text(card.read_text().replace("made up", "other"))
    assert first != Student(str(tmp_path / "a")).id


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "weights.safetensors").write_bytes(b"no"), "damaged"),
        (lambda f: save_file({"table": np.zeros((4, 2))}, f / "weights.safetensors"), "shapes"),
        (lambda f: _change(f, format=99), "another kind"),
        (lambda f: _change(f, features=None), "another kind"),
        (lambda f: _change(f, features={"version": 99, "bits": BITS}), "another kind"),
        (lambda f: _change(f, calibration={"raw": [1, 0], "rewards": [0, 1]}), "ascend"),
        (lambda f: _change(f, calibration={}), "no calibration"),
        (lambda f: _change(f, kind="forest"), "forest"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, damage, said: str) -> None:
    folder = write_student(tmp_path / "s")
    damage(folder)
    with pytest.raises(ScorerError, match=said):
        Student(str(folder))


def _change(folder: Path, **values: object) -> None:
    card = json.loads((folder / "student.json").read_text())
    (folder / "student.json").write_text(json.dumps(card | values))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="valence distill"):
        Student(str(tmp_path))
    folder = write_student(tmp_path / "s")
    (folder / "weights.safetensors").unlink()
    with pytest.raises(MissingFileError, match="weights"):
        Student(str(folder))
