"""Packing: text tokens never change, control tokens stand where segments begin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valence.annotate import Annotated
from valence.control import NO_BAND, ControlScheme
from valence.corpus.segment import SEGMENTERS
from valence.data import Document
from valence.errors import CorpusError
from valence.model import text_ids, train_tokenizer
from valence.objective.protocol import IGNORED
from valence.pack import (
    PackedDataset,
    Tokenised,
    align,
    label_units,
    place,
    render,
    tokenise,
    write_pack,
)

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
    return render(tokenised, units, bands, EOS_ID, CONTROL_IDS)[0].tolist()


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


@settings(deadline=None)
@given(budget=st.integers(1, 400), block=st.integers(8, 40), labelled=st.booleans())
def test_a_pack_holds_exactly_the_text_tokens_it_was_asked_for(
    tmp_path_factory: pytest.TempPathFactory, budget: int, block: int, labelled: bool
) -> None:
    folder = tmp_path_factory.mktemp("pack")
    tokenised = tokenise([annotated("ab = 1\ncd\n", name="x"), annotated("ef\n")], TOKENIZER)
    units = label_units(tokenised, SCHEME)
    bands = units.bands.copy()
    if not labelled:
        bands[:] = NO_BAND
    manifest = write_pack(
        folder, tokenised, units, bands, SCHEME,
        eos_id=EOS_ID, control_ids=CONTROL_IDS, text_tokens=budget, block=block,
    )  # fmt: skip
    data = PackedDataset(folder)
    labels = np.concatenate([data[i]["labels"] for i in range(len(data))])
    kept = labels[labels != IGNORED]
    text = kept[~np.isin(kept, [EOS_ID, *CONTROL_IDS])]
    assert len(text) == budget == manifest["text_tokens"]
    assert text.tolist() == np.resize(tokenised.ids, budget).tolist()
    assert np.isin(kept, CONTROL_IDS).sum() == manifest["control_tokens"]


def test_masked_control_tokens_are_seen_and_not_trained(tmp_path: Path) -> None:
    scheme = ControlScheme(tokens=SCHEME.tokens, bounds=(0.0,), mask_loss=True)
    tokenised = tokenise([annotated("ab = 1\ncd\n" * 8)], TOKENIZER)
    units = label_units(tokenised, scheme)
    write_pack(
        tmp_path, tokenised, units, units.bands, scheme,
        eos_id=EOS_ID, control_ids=CONTROL_IDS, text_tokens=30, block=16,
    )  # fmt: skip
    first = PackedDataset(tmp_path)[0]
    control = np.isin(first["input_ids"], CONTROL_IDS)
    assert control.any()
    assert (first["labels"][control] == IGNORED).all()
    assert (first["labels"][~control] == first["input_ids"][~control]).all()
