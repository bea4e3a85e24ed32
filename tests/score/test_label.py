"""Labels: rewards, numbers and marked characters from a document's own columns."""

from __future__ import annotations

import csv
import json
import string
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valence.corpus.segment import line_ends
from valence.data import Document, Failure, Result, Score, tile
from valence.errors import ScorerError
from valence.score.label import Label, marked_ranges
from valence.score.protocol import traits
from valence.score.table import build_scorer

TOXIC_SPANS = Path(__file__).parents[3] / "shared" / "data" / "toxic_spans" / "tsd_trial.csv"


def score(scorer: Label, value: object, text: str = "ab\ncde\n") -> list[Result]:
    columns = {} if value == "absent" else {"label": value}
    document = Document(id="x", text=text, source="x", columns=columns)
    return scorer.score(document, tile(line_ends(text)))


def values(results: list[Result]) -> list[float]:
    assert all(isinstance(result, Score) for result in results)
    return [result.value for result in results if isinstance(result, Score)]


def kinds(results: list[Result]) -> set[str]:
    assert all(isinstance(result, Failure) for result in results)
    return {result.kind for result in results if isinstance(result, Failure)}


def test_rewards_for_labels() -> None:
    scorer = build_scorer(
        {"label": {"column": "label", "rewards": {"hate": -1, 2: 0.5, 0: 0.0, True: 1}}}
    )
    assert isinstance(scorer, Label)
    assert values(score(scorer, "hate")) == [-1, -1]
    assert values(score(scorer, 2)) == values(score(scorer, "2")) == [0.5, 0.5]
    assert values(score(scorer, "0")) == [0, 0]
    assert values(score(scorer, True)) == [1, 1]
    assert kinds(score(scorer, "love")) == {"unknown-label"}
    assert kinds(score(scorer, 2.5)) == kinds(score(scorer, [0])) == {"unknown-label"}
    through_json = build_scorer({"label": {"column": "label", "rewards": {"hate": -1, "2": 0.5}}})
    assert isinstance(through_json, Label)
    assert values(score(through_json, 2)) == [0.5, 0.5]


@pytest.mark.parametrize("value", [0.25, "0.25", " 0.25 "])
def test_numbers(value: object) -> None:
    assert values(score(Label(column="label"), value)) == [0.25, 0.25]
    assert values(score(Label(column="label", scale=-2), value)) == [-0.5, -0.5]
    assert values(score(Label(column="label"), 0)) == [0, 0]


@pytest.mark.parametrize("value", ["good", "nan", float("inf"), [1], {}, 10**400])
def test_no_numbers(value: object) -> None:
    assert kinds(score(Label(column="label"), value)) == {"unknown-label"}


@pytest.mark.parametrize("value", ["absent", None, "", " "])
@pytest.mark.parametrize("options", [{}, {"rewards": {"": 1.0}}, {"spans": True}])
def test_no_label(value: object, options: dict[str, object]) -> None:
    scorer = build_scorer({"label": {"column": "label", **options}})
    assert isinstance(scorer, Label)
    assert kinds(score(scorer, value)) == {"no-label"}


@pytest.mark.parametrize(
    ("value", "any_in", "share", "marked"),
    [
        ([], [0, 0], [0, 0], [[], []]),
        ("[]", [0, 0], [0, 0], [[], []]),
        ([3, 5], [0, -1], [0, -2 / 4], [[], ["c", "e"]]),
        ("[4, 3, 4]", [0, -1], [0, -2 / 4], [[], ["cd"]]),
        ([[1, 4]], [-1, -1], [-2 / 3, -1 / 4], [["b\n"], ["c"]]),
        ("[[0, 2], [1, 3], 6]", [-1, -1], [-1, -1 / 4], [["ab\n"], ["\n"]]),
    ],
)
def test_spans(
    value: object, any_in: list[float], share: list[float], marked: list[list[str]]
) -> None:
    text = "ab\ncde\n"
    results = score(Label(column="label", spans=True), value)
    assert values(results) == any_in
    assert values(score(Label(column="label", spans=True, how="share"), value)) == share
    shown = [
        [text[mark.start : mark.end] for mark in result.marks]
        for result in results
        if isinstance(result, Score)
    ]
    assert shown == marked


@pytest.mark.parametrize("value", ["[", "3", 3, {}, [7], [-1], [[3, 3]], [[0, 9]], [True], ["a"]])
def test_broken_spans(value: object) -> None:
    assert kinds(score(Label(column="label", spans=True), value)) == {"broken-spans"}


@given(offsets=st.sets(st.integers(0, 29)), cuts=st.sets(st.integers(1, 29)))
def test_spans_are_the_marked_characters(offsets: set[int], cuts: set[int]) -> None:
    ranges = marked_ranges(sorted(offsets), 30)
    assert {place for start, end in ranges for place in range(start, end)} == offsets
    assert all(one[1] < two[0] for one, two in pairwise(ranges))
    document = Document(
        id="x", text="x" * 30, source="x", columns={"label": json.dumps(list(offsets))}
    )
    segments = tile([*sorted(cuts), 30])
    inside = [len(offsets & set(range(part.start, part.end))) for part in segments]
    shares = Label(column="label", spans=True, how="share").score(document, segments)
    assert values(shares) == [
        -count / (part.end - part.start) for count, part in zip(inside, segments, strict=True)
    ]
    assert values(Label(column="label", spans=True).score(document, segments)) == [
        -1.0 if count else 0.0 for count in inside
    ]


def test_mistakes() -> None:
    with pytest.raises(ScorerError, match="two readings"):
        Label(column="label", rewards={"a": 1.0}, spans=True)
    with pytest.raises(ScorerError, match="option `column` is missing"):
        build_scorer("label")
    with pytest.raises(ScorerError, match="how"):
        build_scorer({"label": {"column": "a", "spans": True, "how": "most"}})


def test_identity() -> None:
    scorers = [
        Label(column="a"),
        Label(column="b"),
        Label(column="a", scale=2.0),
        Label(column="a", rewards={"x": 1.0}),
        Label(column="a", spans=True),
        Label(column="a", spans=True, how="share"),
    ]
    assert len({scorer.id.digest for scorer in scorers}) == len(scorers)
    assert len({scorer.meaning for scorer in scorers}) == len(scorers)
    assert [traits(scorer).keeps_marks for scorer in scorers] == [False] * 4 + [True] * 2


def test_toxic_spans_agree_with_their_text() -> None:
    if not TOXIC_SPANS.is_file():
        pytest.skip("../shared/data is not here")
    with TOXIC_SPANS.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 690
    scorer = Label(column="spans", spans=True)
    whole = edges = 0
    for row in rows:
        document = Document(id="x", text=row["text"], source="x", columns={"spans": row["spans"]})
        (result,) = scorer.score(document, tile([len(document.text)]))
        assert isinstance(result, Score)
        assert result.value == (0.0 if row["spans"] == "[]" else -1.0)
        for mark in result.marks:
            around = document.text[mark.start - 1 : mark.start] + document.text[mark.end :][:1]
            edges += 1
            whole += not set(around) & set(string.ascii_letters)
    assert whole / edges > 0.97  # raters marked words, not parts of them


def test_a_document_in_which_nothing_is_marked_can_be_unlabelled() -> None:
    assert values(score(Label("label", spans=True), [])) == [0.0, 0.0]
    unlabelled = Label("label", spans=True, unmarked="unlabelled")
    assert kinds(score(unlabelled, [])) == {"unmarked"}
    assert values(score(unlabelled, [0])) == [-1.0, 0.0]
    assert unlabelled.id != Label("label", spans=True).id


def test_spans_whose_ends_have_names() -> None:
    spec = {"label": {"column": "label", "spans": True, "keys": ["from", "to"]}}
    scorer = build_scorer(spec)
    assert isinstance(scorer, Label)
    value = [{"from": 3, "to": 5, "kind": "x"}, {"from": 5, "to": 6, "kind": "y"}]
    results = score(scorer, value)
    assert values(results) == [0, -1]
    assert [(m.start, m.end) for r in results if isinstance(r, Score) for m in r.marks] == [(3, 6)]
    assert values(score(scorer, json.dumps(value))) == [0, -1]
    assert values(score(scorer, [])) == [0, 0]
    for wrong in ([{"from": 3}], [{"from": 3, "to": 99}], [{"from": "3", "to": 5}]):
        assert kinds(score(scorer, wrong)) == {"broken-spans"}
    without = Label(column="label", spans=True)
    assert scorer.id.digest != without.id.digest
    assert kinds(score(without, value)) == {"broken-spans"}
    with pytest.raises(ScorerError, match="keys"):
        Label(column="label", keys=("from", "to"))
