"""Text to tokens: literal control strings stay text, and segments begin at the right token."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_stores import interleave
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from valence.annotate import Annotated
from valence.control import NO_BAND, ControlScheme
from valence.corpus.segment import SEGMENTERS
from valence.data import Document
from valence.errors import CorpusError
from valence.model import text_ids, train_tokenizer
from valence.pack import Tokenised, align, label_units, place, tokenise

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
TOKENIZER = train_tokenizer(
    ["def f(x):\n    return x + 1  \n\n# good\n<|good|> text\r\n"] * 20, 320, SCHEME, max_length=64
)
EOS_ID = TOKENIZER.eos_token_id
CONTROL_IDS = SCHEME.token_ids(TOKENIZER)

any_text = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]), st.sampled_from("\n\r\t \f<|good|>def(x):")
    ),
    min_size=1,
    max_size=120,
)


def annotated(text: str, rewards: list[float] | None = None, name: str = "d") -> Annotated:
    ends = SEGMENTERS["line"](text)
    values = rewards if rewards is not None else [float(-(i % 2)) for i in range(len(ends))]
    return Annotated(
        document=Document(id=name, text=text, source=name),
        ends=np.array(ends, dtype=np.int64),
        rewards=np.array(values, dtype=np.float32),
    )


def stream_of(tokenised: Tokenised, scheme: ControlScheme = SCHEME) -> list[int]:
    units = label_units(tokenised, scheme)
    bands = place(units, units.bands, scheme)
    return interleave(tokenised, units, bands, EOS_ID, CONTROL_IDS)[0].tolist()


@settings(deadline=None)
@given(st.lists(any_text, min_size=1, max_size=4))
def test_without_control_tokens_the_stream_is_each_document_tokenised_whole(
    texts: list[str],
) -> None:
    tokenised = tokenise([annotated(text) for text in texts], TOKENIZER)
    expected: list[int] = []
    for text in texts:
        expected += [EOS_ID, *text_ids(TOKENIZER, text)]
    found = [token for token in stream_of(tokenised) if token not in CONTROL_IDS]
    assert found == expected


@settings(deadline=None)
@given(any_text)
def test_every_line_is_preceded_by_its_own_token(text: str) -> None:
    item = annotated(text)
    stream = stream_of(tokenise([item], TOKENIZER))
    pieces: list[tuple[int, list[int]]] = []
    for token in stream[1:]:
        if token in CONTROL_IDS:
            pieces.append((CONTROL_IDS.index(token), []))
        else:
            pieces[-1][1].append(token)
    starts = [0, *item.ends[:-1]]
    lines = [text[start:end] for start, end in zip(starts, item.ends, strict=True)]
    assert [TOKENIZER.decode(ids) for _, ids in pieces] == lines
    assert [band for band, _ in pieces] == [int(reward >= 0) for reward in item.rewards]


@settings(deadline=None)
@given(any_text)
def test_text_that_spells_a_control_token_stays_text(text: str) -> None:
    forged = text + "<|good|>" + text + "<|endoftext|><|bad|>"
    ids = text_ids(TOKENIZER, forged)
    assert not set(ids) & {EOS_ID, *CONTROL_IDS}
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == forged
    tokenised = tokenise([annotated(forged)], TOKENIZER)
    assert not np.isin(tokenised.ids, [EOS_ID, *CONTROL_IDS]).any()


def test_a_token_over_a_boundary_belongs_to_the_segment_of_its_first_visible_character() -> None:
    text = "a. Bc\n  d"
    # Tokens: "a." | " Bc" reaches over the start at 3 | "\n  " reaches over 6 | "d".
    offsets = np.array([[0, 2], [2, 5], [5, 8], [8, 9]])
    starts, crossed = align(text, offsets, np.array([3, 6, 9]))
    assert starts.tolist() == [0, 1, 3]
    assert crossed == 2


def test_tokens_of_one_character_are_not_torn_apart() -> None:
    # Three tokens spell one character; the next segment begins after all of them.
    offsets = np.array([[0, 1], [0, 1], [0, 1], [1, 2]])
    starts, crossed = align("é\n", offsets, np.array([1, 2]))
    assert (starts.tolist(), crossed) == ([0, 3], 0)


def test_text_of_which_no_token_comes_has_segments_without_tokens() -> None:
    starts, crossed = align("ab", np.zeros((0, 2), dtype=np.int64), np.array([1, 2]))
    assert (starts.tolist(), crossed) == ([0, 0], 0)


@settings(deadline=None)
@given(st.data())
def test_starts_ascend_and_what_does_not_cross_begins_where_its_segment_begins(
    data: st.DataObject,
) -> None:
    text = data.draw(st.text("ab \n", min_size=1, max_size=30))
    inner = st.lists(st.integers(1, max(len(text) - 1, 1)), unique=True, max_size=8)
    cuts = sorted({0, len(text), *(cut for cut in data.draw(inner) if cut < len(text))})
    ends = sorted({*(cut for cut in data.draw(inner) if cut < len(text)), len(text)})
    offsets = np.array(list(pairwise(cuts)))
    starts, crossed = align(text, offsets, np.array(ends))
    assert starts[0] == 0
    assert (np.diff(starts) >= 0).all() and (starts <= len(offsets)).all()
    inside = [start for start in ends[:-1] if start not in cuts]
    assert crossed == len(inside)
    for start, first in zip([0, *ends[:-1]], starts, strict=True):
        if start in cuts:
            assert cuts[first] == start


def foreign() -> PreTrainedTokenizerFast:
    """As other people's are: words with the blank before them, and it cuts and pads."""
    words = ["▁", "▁one", "▁two", "▁two\n▁", "one", "\n", "<unk>", "</s>", "a", "b"]
    backend = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace()
    backend.enable_truncation(max_length=3)
    backend.enable_padding(length=8, pad_id=6, pad_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")


def test_a_foreign_tokenizer_neither_cuts_nor_pads_the_training_text() -> None:
    text = "one two two one two one"
    item = Annotated(
        document=Document(id="d", text=text, source="d"),
        ends=np.array([7, len(text)]),
        rewards=np.array([0.0, -1.0], dtype=np.float32),
    )
    tokenised = tokenise([item], foreign())
    assert tokenised.ids.tolist() == [1, 2, 2, 1, 2, 1]
    # The blank before the third word is in the second segment, and so is the whole token.
    assert tokenised.segments.tolist() == [0, 2]


def test_a_document_without_any_reward_is_left_out_and_a_segment_without_one_unlabelled() -> None:
    nan = float("nan")
    items = [annotated("a\nb\n", [nan, nan], "x"), annotated("a\nb\n", [0.0, nan], "y")]
    tokenised = tokenise(items, TOKENIZER)
    assert len(tokenised.documents) == 2
    assert label_units(tokenised, SCHEME).bands.tolist() == [1, NO_BAND]
    with pytest.raises(CorpusError):
        tokenise(items[:1], TOKENIZER)


def test_placement_change_repeats_no_token_inside_a_document() -> None:
    scheme = ControlScheme(tokens=SCHEME.tokens, bounds=(0.0,), placement="change")
    items = [annotated("a\nb\nc\n", [0.0, 0.0, -1.0], "x"), annotated("a\n", [-1.0], "y")]
    tokenised = tokenise(items, TOKENIZER)
    units = label_units(tokenised, scheme)
    assert place(units, units.bands, scheme).tolist() == [1, NO_BAND, 0, 0]


def test_level_document_labels_by_the_mean_over_tokens() -> None:
    scheme = ControlScheme(tokens=SCHEME.tokens, bounds=(-0.5,), level="document")
    items = [annotated("x\nx\nx\n", [0.0, 0.0, -1.0]), annotated("x\nx\n", [-1.0, -1.0])]
    tokenised = tokenise(items, TOKENIZER)
    units = label_units(tokenised, scheme)
    assert units.bands.tolist() == [1, 0]
    assert units.starts.tolist() == tokenised.documents[:-1].tolist()
