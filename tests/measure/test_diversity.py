"""Diversity and repetition against slow definitions written again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valence.measure.diversity import (
    distinct,
    distinct_corpus,
    ends_in_loop,
    repetition,
    self_bleu,
)

TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "."]), max_size=12).map(" ".join), max_size=6
)


def test_distinct_counts_word_pairs_within_a_text() -> None:
    assert distinct("a b a b", 2) == 2 / 3
    assert distinct("one", 2) is None


def test_distinct_over_a_corpus_counts_a_fixed_number_of_words() -> None:
    assert distinct_corpus(["a b a b", "a b"], 2, words=6, seed=0) == 2 / 4
    assert distinct_corpus(["a b", "c d"], 2, words=4, seed=0) == 1.0
    assert distinct_corpus(["a b"], 2, words=3, seed=0) is None
    assert distinct_corpus([], 1, words=1, seed=0) is None
    assert distinct_corpus(["a"], 2, words=1, seed=0) is None


def test_distinct_over_a_corpus_does_not_depend_on_how_much_text_there_is() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefgh"), 20)) for _ in range(200)]
    few = [distinct_corpus(texts[:20], 2, words=200, seed=seed) for seed in range(10)]
    many = [distinct_corpus(texts, 2, words=200, seed=seed) for seed in range(10)]
    assert np.mean([x for x in few if x]) == pytest.approx(
        np.mean([x for x in many if x]), abs=0.02
    )
    # Of more words fewer are new.
    assert (distinct_corpus(texts, 2, words=2000, seed=0) or 1) < min(x for x in many if x)


def slow_bleu(words: list[str], others: list[list[str]], n: int) -> float:
    """BLEU of one text against references, count by count (Papineni et al. 2002)."""
    logs = []
    for size in range(1, n + 1):
        mine = [words[i : i + size] for i in range(len(words) - size + 1)]
        if not mine:
            continue
        hits = 0
        for gram in {tuple(gram) for gram in mine}:
            most = 0
            for other in others:
                theirs = [tuple(other[i : i + size]) for i in range(len(other) - size + 1)]
                most = max(most, theirs.count(gram))
            hits += min(mine.count(list(gram)), most)
        logs.append(math.log((hits or 0.5) / len(mine)))
    nearest = sorted((abs(len(other) - len(words)), len(other)) for other in others)[0][1]
    penalty = 1 if len(words) >= nearest else math.exp(1 - nearest / len(words))
    return penalty * math.exp(sum(logs) / len(logs))


@given(texts=TEXTS, n=st.integers(1, 5))
def test_self_bleu_is_bleu_of_each_text_against_all_others(texts: list[str], n: int) -> None:
    split = [text.split() for text in texts if text]
    value = self_bleu(texts, n)
    if len(split) < 2:
        assert value is None
        return
    each = [slow_bleu(words, split[:i] + split[i + 1 :], n) for i, words in enumerate(split)]
    assert value == pytest.approx(np.mean(each))
    assert 0 < value <= 1


def test_self_bleu_of_equal_texts_is_one_and_of_different_ones_small() -> None:
    assert self_bleu(["the cat sat on the mat"] * 3) == pytest.approx(1.0)
    assert (self_bleu(["a b c d e f", "u v w x y z"]) or 1) < 0.2
    many = [f"{i} {i + 1} {i + 2}" for i in range(50)]
    assert self_bleu(many, most=10, seed=1) == self_bleu(many, most=10, seed=1)


def test_repetition_is_the_share_of_n_grams_seen_before() -> None:
    assert repetition("a b c d e f") == 0.0
    assert repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert repetition("a " * 20) == pytest.approx(16 / 17)
    assert repetition("a b c") is None


def test_a_loop_at_the_end() -> None:
    assert ends_in_loop("Once upon a time " + "he said that " * 6) is True
    assert ends_in_loop("Once upon a time " + "he said that " * 6 + "he said") is True
    assert ends_in_loop("he said that " * 6 + "and then it was over") is False
    assert ends_in_loop("ha ha ha") is False
    assert ends_in_loop("ha " * 12) is True
    assert ends_in_loop("") is None
    assert ends_in_loop("word " * 5000) is True
