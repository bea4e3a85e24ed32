"""Presidio's pattern recognisers, each applied to the text around its clues.

Their patterns are slow on whole texts (the one for URLs reads 0.7 MB/s, that for phone numbers
0.8 MB/s), and most text has nothing for them. What they find there is what they find in the
whole text, less phone numbers of under seven digits, and less the numbers in the addresses of
pages, which are mostly not those of persons.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from valence.errors import missing_extra

IN_ADDRESSES = ("EMAIL_ADDRESS", "IP_ADDRESS", "URL")
"""What counts inside the address of a page too; other numbers there are mostly of things."""

BOOST, BOOSTED = 0.35, 0.4
"""What a context word adds to a score, and the least that it makes of it: Presidio's own."""

CONTEXT_WORDS = 5
_CONTEXT = re.compile(r"\w{2,}")

# What must stand in an entity, upper or lower case; any digit, if it is not here.
_CLUES = {
    "CREDIT_CARD": r"(?:\d[- ]?){12}\d",
    "CRYPTO": r"[13][a-z0-9]{25}",
    "EMAIL_ADDRESS": "@",
    "IBAN_CODE": r"[a-z]{2}\d{2}[ -]?[a-z0-9]{4}",
    "IP_ADDRESS": r"::|[0-9a-f]:[0-9a-f]|\d\.\d{1,3}\.\d",
    "MAC_ADDRESS": r"[0-9a-f]{2}[:-][0-9a-f]{2}[:-]|[0-9a-f]{4}\.[0-9a-f]{4}\.",
    "PHONE_NUMBER": r"\d(?:[\Wx]{0,4}\d){6}",
    "UK_NHS": r"\d{3}[- ]?\d{3}",
    "URL": r"\.\w",
    "US_BANK_NUMBER": r"\d{8}",
    "US_DRIVER_LICENSE": r"\d{2}",
    "US_ITIN": r"9\d{2}",
    "US_PASSPORT": r"\d{8}",
    "US_SSN": r"\d{3}[- .]?\d{2}",
}
ANY = re.compile(r"[\d@:]")
"""What every entity has at least one of; `ANY_OR_DOT` for URLs too."""

ANY_OR_DOT = re.compile(r"[\d@:.]")
_NEAR = 50
_FAR = 2000
_ADDRESS = re.compile(r"(?:://|\bwww\.)\S*\Z")
_HEAD = re.compile(r"\S*")


class Find(NamedTuple):
    """An entity in a text, and how sure it is, from 0 to 1."""

    start: int
    end: int
    entity: str
    score: float


Range = tuple[int, int]
Finder = Callable[[str, Sequence[Range]], Iterator[Find]]
"""What finds entities in a text, with the ranges in which a clue can stand."""


def recognizers() -> dict[str, Any]:
    """Presidio's recogniser for each entity that has a pattern."""
    try:
        import tldextract
        from presidio_analyzer import PatternRecognizer, predefined_recognizers
        from presidio_analyzer.predefined_recognizers import EmailRecognizer, PhoneRecognizer
    except ImportError:
        raise missing_extra("presidio-analyzer", "pii") from None
    # The list of suffixes that came with tldextract: its default asks the network first.
    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class Email(EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return bool(extract(pattern_text).fqdn)

    patterns = {PatternRecognizer, PhoneRecognizer}
    found: dict[str, Any] = {}
    for name in sorted(vars(predefined_recognizers)):
        kind: Any = getattr(predefined_recognizers, name)
        if inspect.isclass(kind) and patterns & set(kind.__mro__):
            recognizer: Any = Email() if kind is EmailRecognizer else kind()
            found.setdefault(recognizer.supported_entities[0], recognizer)
    return found


def finders(chosen: Iterable[Any]) -> list[Finder]:
    """One finder for all recognisers with the same clue."""
    groups: dict[str, list[Any]] = {}
    for recognizer in chosen:
        clue = _CLUES.get(recognizer.supported_entities[0], r"\d")
        groups.setdefault(clue, []).append(recognizer)
    return [_finder(re.compile(clue, re.IGNORECASE), group) for clue, group in groups.items()]


def _finder(clue: re.Pattern[str], recognizers: list[Any]) -> Finder:
    contexts = [_context_words(recognizer) for recognizer in recognizers]

    def find(text: str, ranges: Sequence[Range]) -> Iterator[Find]:
        for start, end in windows(text, clue, ranges):
            window = text[start:end]
            for recognizer, context in zip(recognizers, contexts, strict=True):
                for result in recognizer.analyze(window, recognizer.supported_entities):
                    score, entity = result.score, result.entity_type
                    begin, stop = start + result.start, start + result.end
                    if entity not in IN_ADDRESSES and _in_address(text, begin):
                        continue
                    if context is not None and context.search(_before(text, begin)):
                        score = min(max(score + BOOST, BOOSTED), 1.0)
                    yield Find(begin, stop, entity, score)

    return find


def _context_words(recognizer: Any) -> re.Pattern[str] | None:
    words = [re.escape(word.strip()) for word in recognizer.context or ()]
    return re.compile(rf"\b(?:{'|'.join(words)})", re.IGNORECASE) if words else None


def _in_address(text: str, place: int) -> bool:
    far = max(place - _FAR, 0)
    return _ADDRESS.search(text, max(text.rfind(" ", far, place) + 1, far), place) is not None


def _before(text: str, place: int) -> str:
    """The words before a place, one blank between two."""
    return " ".join(_CONTEXT.findall(text[max(place - 100, 0) : place])[-CONTEXT_WORDS:])


def windows(text: str, clue: re.Pattern[str], ranges: Iterable[Range]) -> Iterator[Range]:
    """Disjoint ranges around the clues, each from white space to white space if it is near."""
    start = end = 0
    for match in (match for begin, stop in ranges for match in clue.finditer(text, begin, stop)):
        if match.end() + _NEAR <= end:
            continue
        left, right = max(match.start() - _NEAR, 0), match.end() + _NEAR
        far = max(left - _FAR, 0)
        left = max(text.rfind(" ", far, left), text.rfind("\n", far, left), far - 1) + 1
        right = _HEAD.match(text, right, right + _FAR).end()  # type: ignore[union-attr]
        if end and left > end:
            yield start, end
        if left > end or not end:
            start = left
        end = right
    if end:
        yield start, end
