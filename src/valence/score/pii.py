"""Personal identifiers as a reward: minus what Presidio finds of them, per character.

The measure is that of Korbak et al. (2023, "Pretraining language models with human
preferences", PII per character), with Presidio's recognisers in the place of scrubadub's.
Nothing is downloaded, and no model is needed.
"""

from __future__ import annotations

import bisect
import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from valence.corpus.window import pieces
from valence.data import Document, Failure, Mark, Result, ScorerId, Segment
from valence.errors import ScorerError, missing_extra
from valence.score.density import per_character
from valence.score.recognizers import (
    ANY,
    ANY_OR_DOT,
    Find,
    Finder,
    Range,
    finders,
    recognizers,
    windows,
)
from valence.store import digest, digest_files

ENTITIES = (
    "CREDIT_CARD",
    "CRYPTO",
    "EMAIL_ADDRESS",
    "IBAN_CODE",
    "IP_ADDRESS",
    "MAC_ADDRESS",
    "PHONE_NUMBER",
    "US_BANK_NUMBER",
    "US_DRIVER_LICENSE",
    "US_ITIN",
    "US_PASSPORT",
    "US_SSN",
)
"""What is looked for if nothing is named: identifiers of a person that have a pattern. Dates
and addresses of pages have one too, but identify few people: name DATE_TIME or URL for them.
UK_NHS is left out because its checksum is that of ISBN-10."""

NAMED = {
    "PERSON": "PERSON",
    "PER": "PERSON",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "NORP": "NRP",
}
"""Labels of spaCy's models and Presidio's names for them (nationality, religion, politics)."""

NER_SCORE = 0.85
"""What Presidio believes a spaCy model's entity."""

_LOGGER = logging.getLogger("presidio-analyzer")


class Pii:
    """Personal identifiers by Presidio's pattern recognisers, per character.

    `entities` are Presidio's names (default: `ENTITIES`, for another `language` than "en" its
    identifiers in the place of the American and British ones). An entity counts once its
    score is `min_score`: how sure its pattern is, 1 if a checksum agrees, more if one of the
    recogniser's context words begins one of the five words before it. (Presidio looks for them
    in the lemmas of a spaCy model, which the patterns do not need otherwise.) Where two
    overlap, the surer and then the longer counts. It counts, whole, where it begins. What
    stands in the address of a page counts for `IN_ADDRESSES` only.

    `ner` names an installed spaCy model or its directory: then its persons, places and groups
    (`NAMED`) count too. Raises `MissingExtraError`, and `ScorerError` for an unknown entity or
    model. A pattern that gives up on a document makes it a failure of kind "pattern-timeout".
    """

    keeps_marks = True

    def __init__(
        self,
        entities: list[str] | None = None,
        language: str = "en",
        min_score: float = 0.4,
        ner: str | None = None,
    ) -> None:
        known = recognizers()
        named = {*NAMED.values()} if ner is not None else set()
        wanted = sorted(set(_default(known, language) | named if entities is None else entities))
        _check(wanted, {*known, *named})
        self._finders = finders([known[entity] for entity in wanted if entity in known])
        self._any = ANY_OR_DOT if "URL" in wanted else ANY
        facts: dict[str, Any] = {"ner": None}
        if ner is not None:
            finder, facts["ner"] = _model(ner, set(wanted))
            self._finders.append(finder)
        self._min_score = min_score
        self.meaning = f"minus identifiers ({', '.join(wanted)}) per character; 0 is none found"
        for package in ("presidio-analyzer", "phonenumbers", "tldextract"):
            facts[package] = version(package)
        options = {"entities": wanted, "min_score": min_score}
        self.id = ScorerId(name="pii", version="1", digest=digest({**facts, **options}))

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """One reward per segment, in order."""
        with _given_up() as complaints:
            found = self.marks(document.text)
        if complaints:
            failure = Failure(stage="score", kind="pattern-timeout", message=complaints[0])
            return [failure] * len(segments)
        return per_character(found, segments)

    def marks(self, text: str) -> list[Mark]:
        """Every identifier, in text order; its code is the entity, its message the score."""
        ranges = list(windows(text, self._any, [(0, len(text))]))
        found = (find for finder in self._finders for find in finder(text, ranges))
        sure = [find for find in found if find.score >= self._min_score - 1e-9]
        return [
            Mark(start=find.start, end=find.end, code=find.entity, message=f"{find.score:.2f}")
            for find in _apart(sure)
        ]


def _default(known: dict[str, Any], language: str) -> set[str]:
    if language == "en":
        return set(ENTITIES)
    general = {entity for entity in ENTITIES if entity[:3] not in ("UK_", "US_")}
    return general | {
        entity for entity, found in known.items() if found.supported_language == language
    }


def _check(wanted: Iterable[str], known: set[str]) -> None:
    unknown = [entity for entity in wanted if entity not in known]
    if unknown:
        needs = " (it needs `ner`)" if unknown[0] in NAMED.values() else ""
        raise ScorerError(
            f"there is no entity `{unknown[0]}`{needs}",
            where="scorer `pii`",
            fix=f"Known: {', '.join(sorted(known))}.",
        )


def _apart(found: Iterable[Find]) -> list[Find]:
    """The surest, then longest, then first of what overlaps, in text order."""
    kept: list[Find] = []
    starts: list[int] = []
    for find in sorted(set(found), key=lambda f: (-f.score, f.start - f.end, f.start, f.entity)):
        place = bisect.bisect_left(starts, find.end)
        if place and kept[place - 1].end > find.start:
            continue
        starts.insert(place, find.start)
        kept.insert(place, find)
    return kept


@contextlib.contextmanager
def _given_up() -> Iterator[list[str]]:
    """Presidio only logs that a pattern ran out of time; it is collected here instead."""
    complaints: list[str] = []

    def collect(record: logging.LogRecord) -> bool:
        if "timed out" in str(record.msg):
            complaints.append(record.getMessage())
        return False  # Its messages may quote the text.

    _LOGGER.addFilter(collect)
    try:
        yield complaints
    finally:
        _LOGGER.removeFilter(collect)


def _model(name: str, wanted: set[str]) -> tuple[Finder, str]:
    """A spaCy model's entities, and a digest of its files."""
    try:
        import spacy
    except ImportError:
        raise missing_extra("spacy", "pii-ner") from None
    try:
        nlp = spacy.load(name)
    except Exception as error:  # Whatever a damaged or foreign model raises.
        raise ScorerError(
            f"cannot load the spaCy model `{name}` ({error})",
            where="scorer `pii`",
            fix="Give `ner` the directory of a model, or install one: spacy download NAME.",
        ) from None

    def find(text: str, _: Sequence[Range]) -> Iterator[Find]:
        for start, end in pieces(text):
            for entity in nlp(text[start:end]).ents:
                label = NAMED.get(entity.label_)
                if label in wanted:
                    yield Find(start + entity.start_char, start + entity.end_char, label, NER_SCORE)

    files = sorted(path for path in Path(nlp.path).rglob("*") if path.is_file())
    return find, digest_files(files)
