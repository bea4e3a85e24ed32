"""Sums of scorers: the total, its parts, and what a failing part does."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valence.data import Document, Failure, Mark, Result, Score, ScorerId, Segment, tile
from valence.errors import NotFiniteError, ScorerError
from valence.score.protocol import BatchScorer, Item, flops_of, traits
from valence.score.table import build_scorer, canonical
from valence.score.total import Sum


class Given:
    """Scores that a document's column holds; None fails, a text is raised."""

    meaning = "what the column says"

    def __init__(self, *, column: str) -> None:
        self.id = ScorerId(name="given", version="1", digest=column)
        self.column = column

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        held = document.columns[self.column]
        if isinstance(held, str):
            raise RuntimeError(held)
        assert isinstance(held, list)
        return [
            Failure(stage="score", kind="absent", message="no number")
            if number is None
            else Score(
                value=number,
                marks=(Mark(start=s.start, end=s.end, code=self.column, message="here"),),
            )
            for number, s in zip(held, segments, strict=True)
        ]


class Many(Given):
    """The same for many documents at once, with traits of its own."""

    batch = 7
    device = "cuda:1"
    keeps_marks = True
    flops = 10.0
    calls = 0

    def score_many(self, items: Sequence[Item]) -> list[list[Result]]:
        Many.calls += 1
        return [self.score(*item) for item in items]


class Short(Given):
    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        return super().score(document, segments)[1:]


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    here = ModuleType("parts_for_sums")
    vars(here).update(Given=Given, Many=Many, Short=Short)
    monkeypatch.setitem(sys.modules, "parts_for_sums", here)


def part(column: str, weight: float, kind: str = "Given") -> dict[str, object]:
    return {"scorer": {f"parts_for_sums:{kind}": {"column": column}}, "weight": weight}


def item(**columns: object) -> Item:
    count = max(len(held) for held in columns.values() if isinstance(held, list))
    return Document(id="x", text="a" * count, source="x", columns=columns), tile(
        range(1, count + 1)
    )


NUMBERS = st.floats(-1e6, 1e6)


@settings(deadline=None, max_examples=50)
@given(
    weights=st.lists(NUMBERS, min_size=1, max_size=5),
    segments=st.integers(0, 6),
    data=st.data(),
)
def test_the_total_is_the_weighted_sum(
    weights: list[float], segments: int, data: st.DataObject
) -> None:
    many = st.lists(NUMBERS, min_size=segments, max_size=segments)
    held = {f"c{i}": data.draw(many) for i in range(len(weights))}
    here = ModuleType("parts_for_sums")
    vars(here)["Given"] = Given
    sys.modules["parts_for_sums"] = here
    names = [f"c{i}" for i in range(len(weights))]
    parts = {name: part(name, weight) for name, weight in zip(names, weights, strict=True)}
    total = build_scorer({"sum": {"parts": parts}})
    results = total.score(*item(**held)) if segments else total.score(item(c0=[0.0])[0], ())
    matrix = np.array([held[name] for name in names], dtype=np.float64).reshape(len(names), -1)
    # Left to right, one product after the other.
    expected = np.cumsum(np.array(weights)[:, None] * matrix, axis=0)[-1] + 0.0
    assert [r.value for r in results if isinstance(r, Score)] == expected.tolist()
    for result, column in zip(results, matrix.T, strict=True):
        assert isinstance(result, Score) and list(result.parts) == column.tolist()


def test_a_failing_part_is_named() -> None:
    total = Sum(parts={"b": part("b", 1.0), "a": part("a", 2.0)})  # type: ignore[dict-item]
    results = total.score(*item(a=[1.0, None, None], b=[0.5, 1.0, None]))
    assert results[0] == Score(
        value=2.5,
        parts=(1.0, 0.5),
        marks=(
            Mark(start=0, end=1, code="a", message="here"),
            Mark(start=0, end=1, code="b", message="here"),
        ),
    )
    messages = [result.message for result in results if isinstance(result, Failure)]
    assert messages == ["a: absent (no number)", "a: absent (no number); b: absent (no number)"]
    assert {result.kind for result in results[1:] if isinstance(result, Failure)} == {"part-failed"}


@pytest.mark.parametrize("kind", ["Given", "Many"])
def test_an_exception_fails_one_document(kind: str) -> None:
    total = Sum(parts={"a": part("a", 1.0, kind), "b": part("b", 1.0)})  # type: ignore[dict-item]
    fine, broken = item(a=[1.0], b=[2.0]), item(a="no luck", b=[2.0])
    first, second = total.score_many([fine, broken])
    assert first == total.score(*fine) and first[0] == total.score(*fine)[0]
    assert isinstance(second[0], Failure)
    assert second[0].message == "a: RuntimeError (no luck)"


def test_batches_and_traits_are_passed_on() -> None:
    total = Sum(parts={"a": part("a", 1.0, "Many"), "b": part("b", 1.0)})  # type: ignore[dict-item]
    assert isinstance(total, BatchScorer)
    known = traits(total)
    assert (known.parts, known.keeps_marks, known.device, known.batch) == (
        ("a", "b"),
        True,
        "cuda:1",
        7,
    )
    assert flops_of(total) == 10.0
    before = Many.calls
    total.score_many([item(a=[1.0], b=[2.0])] * 3)
    assert Many.calls == before + 1
    plain = Sum(parts={"b": part("b", 1.0)})  # type: ignore[dict-item]
    assert flops_of(plain) is None and traits(plain).device == "cpu"
    assert not traits(plain).keeps_marks and traits(plain).batch == 1


def test_the_short_form_and_the_order_of_names() -> None:
    spec = {"sum": {"parts": {"pep8-local": 2.0, "pep8": {"scorer": "pep8", "weight": 1}}}}
    total = build_scorer(spec)
    assert total.parts == ("pep8", "pep8-local")  # type: ignore[attr-defined]
    document = Document(id="x", text="x=1\n", source="x")
    result = total.score(document, tile([4]))[0]
    assert isinstance(result, Score)
    assert result.parts == (-0.25, -0.25) and result.value == -0.75
    import json

    assert build_scorer(json.loads(canonical(spec))).id == total.id
    other = build_scorer({"sum": {"parts": {"pep8-local": 2.0, "pep8": 1.5}}})
    assert other.id != total.id and "1.5 * pep8 (" in other.meaning


def test_a_sum_that_is_no_number() -> None:
    total = Sum(parts={"a": part("a", 1e300)})  # type: ignore[dict-item]
    result = total.score(*item(a=[1e300]))[0]
    assert isinstance(result, Failure) and result.kind == "not-finite"
    broken = total.score(*item(a=[math.nan]))[0]
    assert isinstance(broken, Failure) and NotFiniteError.__name__ in broken.message


def test_a_part_that_breaks_the_contract() -> None:
    total = Sum(parts={"a": part("a", 1.0, "Short")})  # type: ignore[dict-item]
    with pytest.raises(ScorerError, match="once per segment"):
        total.score(*item(a=[1.0, 2.0]))


def test_wrong_parts() -> None:
    with pytest.raises(ScorerError, match="no parts"):
        Sum(parts={})
    for parts in ({"pep8": math.inf}, {"a": {"scorer": "pep8", "wait": 1.0}}, {"a": {}}):
        with pytest.raises(ScorerError):
            build_scorer({"sum": {"parts": parts}})
        with pytest.raises(ScorerError, match="is not a part"):
            Sum(parts=parts)  # type: ignore[arg-type]
    with pytest.raises(ScorerError, match="did you mean `pep8`"):
        build_scorer({"sum": {"parts": {"pep9": 1.0}}})
