"""How varied texts are: within each, among all, and whether they loop.

Words are runs of letters and digits, and single signs. A measure of texts that are too short
for it is None.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

WORDS = re.compile(r"\w+|[^\w\s]")
LOOP_WORDS = 200
"""Longest part of a text's end, in words, that is searched for a loop."""

Gram = tuple[str, ...]


def distinct(text: str, n: int) -> float | None:
    """Share of a text's n-grams of words and signs that are distinct; None if it has none.

    Source: Li et al. 2016 (arXiv 1510.03055), here within each text, so that the number
    does not depend on how many texts there are.
    """
    grams = _grams(WORDS.findall(text), n)
    return len(set(grams)) / len(grams) if grams else None


def distinct_corpus(texts: Sequence[str], n: int, *, words: int, seed: int) -> float | None:
    """Share of the n-grams of `words` words of all texts that are distinct.

    Texts are taken in a random order of the seed until they have that many words, the last
    one cut; no n-gram goes from one text into the next. The share falls as text grows, so
    only numbers at the same `words` compare: None where all texts together have fewer.

    Source: distinct-n of Li et al. 2016 (arXiv 1510.03055), section 5.2.
    """
    seen: list[Gram] = []
    left = words
    for index in np.random.default_rng(seed).permutation(len(texts)):
        found = WORDS.findall(texts[index])[:left]
        seen += _grams(found, n)
        left -= len(found)
        if left == 0:
            return len(set(seen)) / len(seen) if seen else None
    return None


def self_bleu(texts: Sequence[str], n: int = 5, *, most: int = 500, seed: int = 0) -> float | None:
    """Mean BLEU of each text against the others, of 1 to `n`-grams: 1 where all are alike.

    Lower is more varied. It grows with the number of texts; of more than `most`, so many are
    drawn with the seed, and only numbers of equally many texts compare. Texts without words
    are left out; None for fewer than two. No match counts as half a match, and n-grams
    longer than the text not at all.

    Source: Zhu et al. 2018, Texygen (arXiv 1802.01886); BLEU of Papineni et al. 2002.
    """
    split = [words for text in texts if (words := WORDS.findall(text))]
    if len(split) < 2:
        return None
    if len(split) > most:
        drawn = np.random.default_rng(seed).choice(len(split), most, replace=False)
        split = [split[index] for index in sorted(drawn)]
    counts = [[Counter(_grams(words, size)) for size in range(1, n + 1)] for words in split]
    tops = [_two_largest([each[size] for each in counts]) for size in range(n)]
    lengths = [len(words) for words in split]
    scores = []
    for index, mine in enumerate(counts):
        logs = [
            math.log(precision)
            for size in range(n)
            if (precision := _precision(mine[size], tops[size], index)) is not None
        ]
        scores.append(_brevity(lengths, index) * math.exp(sum(logs) / len(logs)))
    return sum(scores) / len(scores)


def repetition(text: str, n: int = 4) -> float | None:
    """Share of a text's n-grams of words that came before in it; None if it has none.

    Source: seq-rep-n of Welleck et al. 2020 (arXiv 1908.04319), 1 - distinct n-grams over
    all n-grams.
    """
    value = distinct(text, n)
    return None if value is None else 1 - value


def ends_in_loop(text: str, *, times: int = 3, words: int = 12) -> bool | None:
    """Whether a text ends in the same words over and over; None for a text without words.

    The same run of words stands at least `times` times at the end, and the repeats make up
    at least `words` words. The last run may be cut. In a loop a model leaves it only by
    chance: Holtzman et al. 2020 (arXiv 1904.09751), figure 4.
    """
    found = WORDS.findall(text)[-LOOP_WORDS:]
    if not found:
        return None
    for period in range(1, len(found) // times + 1):
        length = period
        while length < len(found) and found[-length - 1] == found[-length - 1 + period]:
            length += 1
        if length >= max(times * period, words):
            return True
    return False


def _grams(words: Sequence[str], n: int) -> list[Gram]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _two_largest(counts: Sequence[Counter[Gram]]) -> dict[Gram, tuple[int, int, int]]:
    """For each n-gram its largest count in a text, which text that is, the next largest."""
    found: dict[Gram, tuple[int, int, int]] = {}
    for index, each in enumerate(counts):
        for gram, count in each.items():
            largest, at, second = found.get(gram, (0, -1, 0))
            if count > largest:
                found[gram] = (count, index, largest)
            elif count > second:
                found[gram] = (largest, at, count)
    return found


def _precision(
    mine: Counter[Gram], tops: dict[Gram, tuple[int, int, int]], index: int
) -> float | None:
    """Share of a text's n-grams that stand in another one, each as often as there."""
    total = mine.total()
    if total == 0:
        return None
    hits = 0
    for gram, count in mine.items():
        largest, at, second = tops[gram]
        hits += min(count, second if at == index else largest)
    return max(hits, 0.5) / total


def _brevity(lengths: Sequence[int], index: int) -> float:
    """BLEU's penalty for a text shorter than the reference nearest to it in length."""
    mine = lengths[index]
    others = (length for at, length in enumerate(lengths) if at != index)
    nearest = min(others, key=lambda length: (abs(length - mine), length))
    return 1.0 if mine >= nearest else math.exp(1 - nearest / mine)
