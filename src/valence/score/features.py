"""Hashed n-grams of many short texts at once, in NumPy: words, pairs of words, parts of words.

Texts are taken as UTF-8 bytes. ASCII letters are folded to lower case, others are not; a
word is a run of letters, digits, bytes above 127 and `'*@$`, so that "sh*t" is one word. Any
other visible byte is a token of its own, and every text begins with an empty token. A token
has one feature for itself, one for itself after the token before it, and one for every 3, 4
and 5 bytes of it, a boundary before and after included. Features are hashed into buckets
(Weinberger et al. 2009, "Feature hashing for large scale multitask learning"); bucket 0 is
kept for "none". What a text gets never depends on the texts beside it.

Training and scoring both call `grams`; there is no second way to make features.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]
Indices = npt.NDArray[np.int64]

VERSION = 1
"""Changes whenever a text could get other features."""

CHUNK = 1 << 16
"""Bytes that are worked on at once: what is made of them fits into a core's cache."""

_PRIME = 0x01000193
_MIX = (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F, 0x165667B1, 0x2545F491)


def _tables() -> tuple[Bytes, Bytes]:
    """By byte: its folded form (0 for blanks), and the same for bytes of words only."""
    folded = np.arange(256, dtype=np.uint8)
    folded[ord("A") : ord("Z") + 1] += 32
    folded[:33] = folded[127] = 0
    inside = np.zeros(256, dtype=np.uint8)
    kept = np.frombuffer(
        b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'*@$", "u1"
    )
    inside[kept] = folded[kept]
    inside[128:] = folded[128:]
    return folded, inside


_FOLDED, _INSIDE = _tables()


@dataclass(frozen=True, slots=True)
class Grams:
    """The features of a chunk of texts, as buckets; 0 stands for none.

    `starts` [T] are the places where tokens start, `first` [N] the first token of each text;
    `words` and `pairs` [T] belong to the tokens, `parts` (each [L]) to the places: a place
    belongs to the last token that starts not later than just after it.
    """

    starts: Indices
    first: Indices
    words: Words
    pairs: Words
    parts: tuple[Words, Words, Words]

    def tokens(self) -> Indices:
        """How many tokens each text has, the empty one included: [N], at least 1."""
        return np.diff(self.first, append=len(self.starts))


def chunks(texts: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The texts in runs of about `CHUNK` bytes, at least one text each."""
    begin = size = 0
    for at, text in enumerate(texts):
        size += len(text)
        if size >= CHUNK:
            yield texts[begin : at + 1]
            begin, size = at + 1, 0
    if begin < len(texts):
        yield texts[begin:]


def grams(texts: Sequence[bytes], bits: int) -> Grams:
    """The features of the texts [N], hashed into 2**bits buckets (4 to 24 bits)."""
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    heads = np.cumsum(lengths + 1) - lengths  # One byte stands before each text, one first of all.
    raw = np.frombuffer(b"\n\n" + b"\n".join(texts) + b"\n\n\n\n", dtype=np.uint8)
    folded, inside = _FOLDED[raw], _INSIDE[raw]
    in_word = inside != 0
    begins = folded != 0
    begins[1:] &= ~(in_word[1:] & in_word[:-1])
    begins[heads] = True
    starts = np.flatnonzero(begins)
    first = np.searchsorted(starts, heads)
    words, pairs = _token_buckets(folded, starts, first, bits)
    return Grams(starts, first, words, pairs, _part_buckets(inside, in_word, bits))


def _token_buckets(
    folded: Bytes, starts: Indices, first: Indices, bits: int
) -> tuple[Words, Words]:
    powers, inverse = _powers(len(folded))
    sums = np.add.reduceat(folded * powers, starts, dtype=np.uint32)
    names = sums * inverse[starts]
    before = np.empty_like(names)
    before[1:] = names[:-1]
    pairs = _bucket(before * np.uint32(_MIX[0]) + names * np.uint32(_MIX[2]), 1, bits)
    pairs[first] = 0
    return _bucket(names, 0, bits), pairs


def _part_buckets(
    inside: Bytes, in_word: npt.NDArray[np.bool_], bits: int
) -> tuple[Words, Words, Words]:
    """Three to five bytes from each place on, where all but the outer ones are in a word."""
    size = len(inside) - 5  # As many places for the last text as it would have before another.
    one = inside.astype(np.uint32)
    two = one[:-1] | (one[1:] << np.uint32(8))
    three = two[:size] | (one[2 : size + 2] << np.uint32(16))
    four = two[:size] | (two[2 : size + 2] << np.uint32(16))
    five = four * np.uint32(_MIX[1]) ^ one[4 : size + 4] * np.uint32(_MIX[3])
    allowed = in_word[1 : size + 1].astype(np.uint32)
    parts = []
    for at, gram in enumerate((three, four, five)):
        if at:
            allowed &= in_word[at + 1 : size + at + 1]
        parts.append(_bucket(gram, 2 + at, bits) * allowed)
    return parts[0], parts[1], parts[2]


def _bucket(names: Words, kind: int, bits: int) -> Words:
    mixed = (names + np.uint32(_MIX[5] * (kind + 1) & 0xFFFFFFFF)) * np.uint32(_MIX[4])
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(_MIX[0])
    return mixed >> np.uint32(32 - bits)


def _powers(size: int) -> tuple[Words, Words]:
    """_PRIME**k and its inverse modulo 2**32, for k below `size`; kept for usual chunks."""
    if size > 2 * CHUNK:
        return _power(_PRIME, size), _power(pow(_PRIME, -1, 1 << 32), size)
    powers, inverse = _usual()
    return powers[:size], inverse


@functools.cache
def _usual() -> tuple[Words, Words]:
    return _power(_PRIME, 2 * CHUNK), _power(pow(_PRIME, -1, 1 << 32), 2 * CHUNK)


def _power(base: int, size: int) -> Words:
    factors = np.full(size, base, dtype=np.uint32)
    factors[0] = 1
    return np.multiply.accumulate(factors, dtype=np.uint32)
