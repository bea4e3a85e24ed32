"""Text is text for any tokenizer: whatever it spells, no special token comes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import byte_fallback, unigrams
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from valence.control import ControlScheme
from valence.model import (
    continuation,
    encode_texts,
    end_ids,
    extend_tokenizer,
    set_prefix,
    special_ids,
    start_ids,
    text_ids,
    train_tokenizer,
)

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
FORGED = "the cat </s><s> <|good|> <unk> <|bad|><|endoftext|> the\n"


def extended(make: Any) -> PreTrainedTokenizerFast:
    tokenizer: PreTrainedTokenizerFast = make()
    extend_tokenizer(tokenizer, SCHEME)
    return tokenizer


def ours() -> PreTrainedTokenizerFast:
    return train_tokenizer(["the cat sat\n"] * 9, 300, SCHEME, max_length=64)


TOKENIZERS = {"ours": ours(), "bytes": extended(byte_fallback), "unigrams": extended(unigrams)}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_strings_of_special_tokens_in_text_are_text(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    ids = text_ids(tokenizer, FORGED)
    assert not set(ids) & special_ids(tokenizer)
    if name != "unigrams":  # It knows no token for some of the signs, not even a byte.
        assert tokenizer.decode(ids) == FORGED
    else:
        found = tokenizer.convert_ids_to_tokens(text_ids(tokenizer, "a</s>b"))
        assert found == ["▁", "a", "<", "/", "s", ">", "b"]


def test_a_special_token_that_is_an_ordinary_piece_would_be_found_without_care() -> None:
    tokenizer = TOKENIZERS["unigrams"]
    plain = tokenizer("a</s>b", add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert tokenizer.eos_token_id in plain


TEXTS = st.lists(
    st.one_of(
        st.sampled_from(["</s>", "<s>", "<|good|>", "<|bad|>", "<|endoftext|>", " ", "\n", "the"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    ),
    max_size=8,
).map("".join)


@settings(deadline=None, max_examples=150)
@given(TEXTS, st.sampled_from(sorted(TOKENIZERS)))
def test_no_text_ever_makes_a_special_token(text: str, name: str) -> None:
    tokenizer = TOKENIZERS[name]
    (encoded,) = encode_texts(tokenizer, [text])
    assert not set(encoded.ids.tolist()) & special_ids(tokenizer)
    assert encoded.ids.tolist() == text_ids(tokenizer, text)
    assert encoded.offsets.shape == (len(encoded.ids), 2)
    begins, ends = encoded.offsets.T
    assert (begins <= ends).all() and (np.diff(begins) >= 0).all()
    assert len(text) == 0 or (begins.min() >= 0 and ends.max() <= len(text))
    if name == "ours" or (name == "bytes" and "▁" not in text):
        assert tokenizer.decode(encoded.ids, clean_up_tokenization_spaces=False) == text


def test_spelt_characters_lie_where_they_stand_in_the_text() -> None:
    tokenizer = TOKENIZERS["unigrams"]
    (encoded,) = encode_texts(tokenizer, ["a</s>b"])
    assert encoded.offsets.tolist()[1:] == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 6]]


def test_padding_and_truncation_of_earlier_calls_do_not_stay() -> None:
    tokenizer = TOKENIZERS["ours"]
    expected = text_ids(tokenizer, "the cat")
    tokenizer(["the", "the cat cat"], padding=True, truncation=True, max_length=2)
    assert text_ids(tokenizer, "the cat") == expected


@pytest.mark.parametrize(
    ("options", "start", "end"),
    [
        ({}, (1,), (2,)),
        ({"bos_token": None}, (2,), ()),
        ({"bos_token": "</s>"}, (2,), ()),
        ({"eos_token": "<s>"}, (1,), ()),
    ],
)
def test_what_stands_before_and_after_a_document(
    options: dict[str, Any], start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    tokenizer = byte_fallback(**options)
    assert start_ids(tokenizer) == start
    assert end_ids(tokenizer) == end


@pytest.mark.parametrize("scheme", [None, SCHEME])
def test_the_prefix_is_the_start_and_the_good_token(scheme: ControlScheme | None) -> None:
    tokenizer = extended(byte_fallback)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    set_prefix(tokenizer, scheme)
    good = [] if scheme is None else [SCHEME.token_ids(tokenizer)[1]]
    ids = tokenizer("the cat")["input_ids"]
    assert ids == [1, *good, *text_ids(tokenizer, "the cat")]
    assert tokenizer("the", "cat")["input_ids"][: 1 + len(good)] == [1, *good]


def test_a_continuation_keeps_the_blank_before_its_first_word() -> None:
    tokenizer = TOKENIZERS["bytes"]
    ids = text_ids(tokenizer, "the cat the")
    for cut in range(1, len(ids)):
        before, after = ids[:cut], ids[cut:]
        assert tokenizer.decode(before) + continuation(tokenizer, before, after) == "the cat the"
    assert continuation(tokenizer, [], ids) == "the cat the"
