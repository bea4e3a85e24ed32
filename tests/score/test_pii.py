"""Pii against Presidio's recognisers on whole texts, and where its finds count."""

from __future__ import annotations

import json
import logging
import re
import socket
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valence.data import Document, Failure, Mark, Score, tile
from valence.errors import MissingExtraError, ScorerError
from valence.score.protocol import Marker, traits
from valence.score.table import build_scorer

pytest.importorskip("presidio_analyzer")

from valence.score import recognizers as source
from valence.score.pii import ENTITIES, Pii
from valence.score.recognizers import ANY_OR_DOT, finders, recognizers, windows

SYNTHETIC = Path(__file__).parents[3] / "shared" / "data" / "pii" / "synth_dataset_v2.json"

PARTS = {
    "EMAIL_ADDRESS": "jane.doe@example.co.uk",
    "PHONE_NUMBER": "+1 (212) 555-0123",
    "CREDIT_CARD": "4111 1111 1111 1111",
    "IBAN_CODE": "DE89 3704 0044 0532 0130 00",
    "IP_ADDRESS": "192.168.10.7",
    "MAC_ADDRESS": "00:1b:44:11:3a:b7",
    "CRYPTO": "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ",
    "US_SSN": "078-05-1121",
    "URL": "www.example.com/a?b=c",
    "DATE_TIME": "2024-05-17",
}


@cache
def scorer() -> Pii:
    return Pii()


@cache
def known() -> dict[str, Any]:
    return recognizers()


def found(text: str, pii: Pii | None = None) -> list[tuple[str, str]]:
    return [(text[mark.start : mark.end], mark.code) for mark in (pii or scorer()).marks(text)]


@pytest.mark.parametrize("entity", [entity for entity in PARTS if entity in ENTITIES])
def test_each_default_entity_is_found(entity: str) -> None:
    assert found(f"She wrote {PARTS[entity]} down.") == [(PARTS[entity], entity)]


def test_harmless_text_has_none() -> None:
    text = (
        "In 2013, 3 of 10 cats (see https://example.com/p/2125550123 :: a:b) slept 12:30-14:45.\n"
    )
    assert found(text) == []
    assert found("") == []
    (result,) = scorer().score(Document(id="x", text=text, source="x"), tile([len(text)]))
    assert result == Score(value=0.0)


def test_entities_count_where_they_begin_and_marks_end_with_the_segment() -> None:
    text = "Mail a@b.com\nor c@d.org, e@f.net\n"
    document = Document(id="x", text=text, source="x")
    ends = [13, 25, len(text)]
    results = scorer().score(document, tile([13, 18, len(text)]))
    assert [result.value for result in results if isinstance(result, Score)] == [
        -1 / 13,
        -1 / 5,
        -1 / (len(text) - 18),
    ]
    marks = [result.marks for result in results if isinstance(result, Score)]
    assert [[text[mark.start : mark.end] for mark in part] for part in marks] == [
        ["a@b.com"],
        ["c@"],
        ["e@f.net"],
    ]
    assert marks[0][0].code == "EMAIL_ADDRESS"
    whole = scorer().score(document, tile(ends))
    assert len(whole) == 3
    assert traits(scorer()).keeps_marks
    assert isinstance(scorer(), Marker)


def test_context_words_make_surer() -> None:
    number = "523456781"
    assert found(f"It has {number} of them.") == []
    assert found(f"My social security number: {number}.") == [(number, "US_SSN")]
    assert found(f"social {'so it is ' * 3} {number}") == []
    card = Pii(entities=["PHONE_NUMBER"], min_score=0.7)
    assert found("It is 212 555 0123.", card) == []
    assert found("Call 212 555 0123.", card) == [("212 555 0123", "PHONE_NUMBER")]


def test_what_overlaps_counts_once() -> None:
    pii = Pii(entities=["EMAIL_ADDRESS", "URL", "PHONE_NUMBER", "US_SSN", "UK_NHS"])
    text = "jane@example.com, https://x.example.com/a and 943-476-5919"
    assert found(text, pii) == [
        ("jane@example.com", "EMAIL_ADDRESS"),
        ("https://x.example.com/a", "URL"),
        ("943-476-5919", "UK_NHS"),
    ]


def plain(text: str, entity: str) -> set[tuple[int, int]]:
    """What Presidio's own recogniser finds in the whole text; too short numbers left out."""
    return {
        (result.start, result.end)
        for result in known()[entity].analyze(text, [entity])
        if entity in source.IN_ADDRESSES or not source._in_address(text, result.start)
        if entity != "PHONE_NUMBER" or len(re.findall(r"\d", text[result.start : result.end])) > 6
    }


def ours(text: str, entity: str) -> set[tuple[int, int]]:
    (finder,) = finders([known()[entity]])
    ranges = list(windows(text, ANY_OR_DOT, [(0, len(text))]))
    return {(find.start, find.end) for find in finder(text, ranges)}


FILLER = st.sampled_from(["It was ", "so\n", "(", ") ", ", ", "\t", "7 ", "é ", "x" * 60 + " "])


@pytest.mark.parametrize("entity", sorted({*ENTITIES, "URL", "DATE_TIME"} - {"PHONE_NUMBER"}))
@settings(deadline=None, max_examples=30)
@given(text=st.lists(st.one_of(FILLER, st.sampled_from(list(PARTS.values())))).map("".join))
def test_windows_lose_nothing(entity: str, text: str) -> None:
    assert ours(text, entity) == plain(text, entity)


@settings(deadline=None)
@given(text=st.text(alphabet="12 @:.-a\n", max_size=200))
def test_marks_ascend_and_do_not_overlap(text: str) -> None:
    last = 0
    for mark in scorer().marks(text):
        assert last <= mark.start < mark.end <= len(text)
        last = mark.end


@pytest.mark.parametrize("unit", ["1", "a@", "a1", ": ", "x@y.com ", "no digits here "])
def test_time_does_not_grow_with_the_square(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    started = time.process_time()
    scorer().marks(text)
    assert time.process_time() - started < 5


def test_no_network_and_no_noise(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with caplog.at_level(logging.WARNING):
        pii = Pii(entities=["EMAIL_ADDRESS", "IBAN_CODE", "URL"])
    with caplog.at_level(logging.DEBUG):
        text = "a@b.com DE00 1234 5678 9012 3456 78 a@b.nosuchtld"
        pii.score(Document(id="x", text=text, source="x"), tile([len(text)]))
    assert caplog.text == ""


def test_a_pattern_that_gives_up_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    pii = Pii(entities=["EMAIL_ADDRESS"])

    def give_up(*_: object) -> list[Mark]:
        logging.getLogger("presidio-analyzer").warning("Regex pattern '%s' timed out", "Email")
        return []

    monkeypatch.setattr(pii, "marks", give_up)
    results = pii.score(Document(id="x", text="ab", source="x"), tile([1, 2]))
    failure = Failure(
        stage="score", kind="pattern-timeout", message="Regex pattern 'Email' timed out"
    )
    assert results == [failure, failure]


def test_other_languages_have_their_own_identifiers() -> None:
    spanish = Pii(language="es")
    text = "NIF 12345678Z, jane@example.com"
    assert found(text, spanish) == [("12345678Z", "ES_NIF"), ("jane@example.com", "EMAIL_ADDRESS")]
    assert "US_SSN" not in spanish.meaning


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns(
        [
            {"label": "PERSON", "pattern": "Ada Lovelace"},
            {"label": "GPE", "pattern": "London"},
            {"label": "ORG", "pattern": "Acme"},
        ]
    )
    path = tmp_path_factory.mktemp("model") / "tiny"
    nlp.to_disk(path)
    return path


def test_names_by_a_spacy_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pii = Pii(ner=str(model))
    text = "Ada Lovelace of Acme, London: ada@example.com"
    assert found(text, pii) == [
        ("Ada Lovelace", "PERSON"),
        ("London", "LOCATION"),
        ("ada@example.com", "EMAIL_ADDRESS"),
    ]
    assert found(text, Pii(ner=str(model), entities=["LOCATION"])) == [("London", "LOCATION")]
    assert pii.id != scorer().id
    monkeypatch.setattr("valence.corpus.window.PIECE", 30)
    long = "Ada Lovelace was there.\n" * 5
    assert [mark.start for mark in pii.marks(long)] == [24 * row for row in range(5)]


def test_mistakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ScorerError, match=r"no entity `PERSON` \(it needs `ner`\)"):
        build_scorer({"pii": {"entities": ["PERSON"]}})
    with pytest.raises(ScorerError, match="no entity `EMAIL`"):
        Pii(entities=["EMAIL"])
    with pytest.raises(ScorerError, match="cannot load the spaCy model"):
        Pii(ner=str(tmp_path))
    with pytest.raises(ScorerError, match="min_score"):
        build_scorer({"pii": {"min_score": "high"}})
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingExtraError, match=r"valence\[pii\]"):
        Pii()


def test_identity() -> None:
    assert Pii().id == scorer().id
    options: list[dict[str, Any]] = [{}, {"min_score": 0.5}, {"entities": ["URL"]}]
    assert len({Pii(**chosen).id.digest for chosen in options}) == len(options)
    assert "EMAIL_ADDRESS" in scorer().meaning


def test_synthetic_sentences() -> None:
    if not SYNTHETIC.is_file():
        pytest.skip("../shared/data is not here")
    rows = json.loads(SYNTHETIC.read_text(encoding="utf-8"))[:500]
    spans = hits = finds = right = 0
    for row in rows:
        truth = [
            (span["entity_type"], span["start_position"], span["end_position"])
            for span in row["spans"]
            if span["entity_type"] in ("EMAIL_ADDRESS", "IP_ADDRESS", "US_SSN", "CREDIT_CARD")
        ]
        marks = [
            mark for mark in scorer().marks(row["full_text"]) if mark.code in {t[0] for t in truth}
        ]
        spans, finds = spans + len(truth), finds + len(marks)
        pairs = [
            (span, mark)
            for span in truth
            for mark in marks
            if mark.code == span[0] and mark.start < span[2] and span[1] < mark.end
        ]
        hits, right = hits + len({span for span, _ in pairs}), right + len(pairs)
    assert hits / spans > 0.8
    assert right / finds > 0.97
