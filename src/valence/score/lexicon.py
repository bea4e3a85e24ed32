"""Words and patterns as a reward: minus what is found of them, per character.

A file of either holds one entry a line, "#" begins a comment, and a tab and a number after
an entry give its weight: how much one find counts. It is 1 if not given; below 0 the find
is welcome.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

from valence.data import Document, Mark, Result, ScorerId, Segment
from valence.errors import MissingFileError, ScorerError
from valence.score.density import per_character
from valence.store import digest

Entries = list[str] | dict[str, float]
"""Words or patterns, or each with its weight."""

_Found = tuple[int, int, str]
_ASCII_WORD = re.compile(r"\w+")


class Regex:
    """Matches of regular expressions (Python's `re`), minus their weight per character.

    Give `patterns`, as a list or with their weights, or a `file` of them, or both. Each
    pattern finds its own matches, from left to right, and none that is empty. `meaning` and
    marks as in `Lexicon`. Raises `ScorerError` for an invalid pattern, `MissingFileError`.
    """

    keeps_marks = True
    meaning = "minus (weighted) matches of the patterns per character; 0 is none"

    def __init__(
        self,
        patterns: Entries | None = None,
        file: Path | None = None,
        ignore_case: bool = False,
    ) -> None:
        self._weights = _entries(patterns, file, "regex", "patterns")
        flags = re.IGNORECASE if ignore_case else re.NOFLAG
        self._patterns = {pattern: _compiled(pattern, flags) for pattern in self._weights}
        self.id = _identify("regex", self._weights, ignore_case=ignore_case)

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """One reward per segment, in order; a match counts where it begins."""
        return _rewards(self.marks(document.text), segments, self._weights)

    def marks(self, text: str) -> list[Mark]:
        """Every match, in text order; its code is the pattern."""
        found = (
            (match.start(), match.end(), name)
            for name, pattern in self._patterns.items()
            for match in pattern.finditer(text)
            if match.end() > match.start()
        )
        return _marks(found, "matches the pattern")


class Lexicon:
    """Words and phrases of a list, minus their weight per character.

    Give `words`, as a list or with their weights, or a `file` of them, or both. Words are
    compared in Unicode's form NFKC, phrases and parts of words as they are written; with
    `ignore_case` case-folded, and any white space stands for any. With `whole_words` nothing
    inside a longer word is found; languages that put no blanks between words need it off.
    Where finds overlap, the leftmost and then the longest counts. Raises `ScorerError`,
    `MissingFileError`.
    """

    keeps_marks = True
    meaning = "minus (weighted) words of the list per character; 0 is none"

    def __init__(
        self,
        words: Entries | None = None,
        file: Path | None = None,
        ignore_case: bool = True,
        whole_words: bool = True,
    ) -> None:
        self._ignore_case = ignore_case
        self._fold = _folding(ignore_case)
        given = _entries(words, file, "lexicon", "words")
        self._weights = {self._fold(entry): weight for entry, weight in given.items()}
        word = _word()
        single = {entry for entry in self._weights if whole_words and word.fullmatch(entry)}
        self._single = frozenset(single)
        rest = [entry for entry in self._weights if entry not in single]
        self._rest = _any_of(rest, ignore_case, whole_words) if rest else None
        self.id = _identify(
            "lexicon",
            self._weights,
            ignore_case=ignore_case,
            whole_words=whole_words,
            unicode=unicodedata.unidata_version,
        )

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """One reward per segment, in order; a word counts where it begins."""
        return _rewards(self.marks(document.text), segments, self._weights)

    def marks(self, text: str) -> list[Mark]:
        """Every find, in text order; its code is the entry."""
        found = sorted([*self._words_in(text), *self._rest_in(text)], key=_leftmost_longest)
        return _marks(_apart(found), "is in the list")

    def _words_in(self, text: str) -> Iterator[_Found]:
        word, fold = _word(), self._fold
        if text.isascii():  # Folded, it has the same length, and words need no marks.
            text, word, fold = text.lower() if self._ignore_case else text, _ASCII_WORD, str
        if self._single.isdisjoint(map(fold, set(word.findall(text)))):
            return
        for match in word.finditer(text):
            entry = fold(match.group())
            if entry in self._single:
                yield match.start(), match.end(), entry

    def _rest_in(self, text: str) -> Iterator[_Found]:
        if self._rest is None:
            return
        for match in self._rest.finditer(text):
            entry = self._fold(match.group())
            if entry in self._weights:
                yield match.start(), match.end(), entry


def _entries(given: Entries | None, file: Path | None, scorer: str, key: str) -> dict[str, float]:
    """All entries with their weights, in the order given."""
    weights: dict[str, float] = {} if file is None else dict(_lines(file, scorer))
    if given is not None:
        weights |= dict.fromkeys(given, 1.0) if isinstance(given, list) else given
    if not weights or not all(map(str.strip, weights)):
        raise ScorerError(
            "an entry is empty" if weights else "there is nothing to look for",
            where=f"scorer `{scorer}`",
            fix=f"Give {{{scorer}: {{{key}: [...]}}}} or {{{scorer}: {{file: PATH}}}}.",
        )
    return {entry: float(weight) for entry, weight in weights.items()}


def _lines(file: Path, scorer: str) -> Iterator[tuple[str, float]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MissingFileError(
            "no such file", where=str(file), fix=f"`{scorer}` needs its list: one entry a line."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ScorerError(
            f"cannot be read as text ({error})", where=str(file), fix="Give a UTF-8 file."
        ) from None
    for number, line in enumerate(text.splitlines(), 1):
        entry, tab, weight = line.partition("\t")
        if not entry.strip() or entry.startswith("#"):
            continue
        try:
            yield entry.strip(), float(weight) if tab and weight.strip() else 1.0
        except ValueError:
            raise ScorerError(
                f"the weight {weight.strip()!r} is not a number",
                where=f"{file}, line {number}",
                fix="After a tab stands a number, or nothing.",
            ) from None


def _compiled(pattern: str, flags: re.RegexFlag) -> re.Pattern[str]:
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        raise ScorerError(
            f"`{pattern}` is not a regular expression ({error})",
            where="scorer `regex`",
            fix="Mend it, or look for the text itself with `lexicon`.",
        ) from None


def _folding(ignore_case: bool) -> Callable[[str], str]:
    def fold(text: str) -> str:
        if not text.isascii():
            text = unicodedata.normalize("NFKC", text)
        if ignore_case:
            text = text.lower() if text.isascii() else text.casefold()
        return " ".join(text.split())

    return fold


@cache
def _word() -> re.Pattern[str]:
    """Letters, digits and "_" with their marks, which `\\w` alone leaves out."""
    marks = [code for code in range(1 << 16) if unicodedata.category(chr(code))[0] == "M"]
    ranges = []
    for _, run in groupby(enumerate(marks), key=lambda item: item[1] - item[0]):
        codes = [code for _, code in run]
        ranges.append(f"\\u{codes[0]:04x}-\\u{codes[-1]:04x}")
    return re.compile(rf"\w[\w{''.join(ranges)}]*")


_Trie = dict[str, "_Trie"]


def _any_of(entries: Iterable[str], ignore_case: bool, whole_words: bool) -> re.Pattern[str]:
    """A pattern for the longest of many texts: shared beginnings are tried once."""
    trie: _Trie = {}
    for entry in entries:
        node = trie
        for sign in [*entry, ""]:
            node = node.setdefault(sign, {})
    body = _branches(trie)
    flags = re.IGNORECASE if ignore_case else re.NOFLAG
    return re.compile(rf"(?<!\w){body}(?!\w)" if whole_words else body, flags)


def _branches(trie: _Trie) -> str:
    chain = ""
    while len(trie) == 1:  # One way on needs no group, and a long entry no deep recursion.
        ((sign, trie),) = trie.items()
        chain += _literal(sign)
    inner = [_literal(sign) + _branches(trie[sign]) for sign in sorted(trie) if sign]
    if not inner:
        return chain
    # What may also end here is optional, and greedy: the longest is tried first.
    return f"{chain}(?:{'|'.join(inner)}){'?' if '' in trie else ''}"


def _literal(sign: str) -> str:
    return r"\s+" if sign == " " else re.escape(sign)


def _leftmost_longest(found: _Found) -> tuple[int, int]:
    return found[0], -found[1]


def _apart(found: Iterable[_Found]) -> Iterator[_Found]:
    """What does not overlap anything before it."""
    last = 0
    for item in found:
        if item[0] >= last:
            last = item[1]
            yield item


def _marks(found: Iterable[_Found], message: str) -> list[Mark]:
    return [
        Mark(start=start, end=end, code=code, message=message)
        for start, end, code in sorted(found, key=lambda item: item[:2])
    ]


def _rewards(
    marks: list[Mark], segments: Sequence[Segment], weights: Mapping[str, float]
) -> list[Result]:
    return per_character(marks, segments, [weights[mark.code] for mark in marks])


def _identify(name: str, weights: Mapping[str, float], **options: bool | str) -> ScorerId:
    return ScorerId(
        name=name, version="1", digest=digest({"weights": dict(weights), "options": options})
    )
