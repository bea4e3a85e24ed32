"""Segmenters tile any text, and lines end where Python's own lines end."""

from __future__ import annotations

import json
import sys
import time
import types
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from valence.corpus import sentence, window
from valence.corpus.segment import SEGMENTERS, Segmenter, build_segmenter, line_ends, source_lines
from valence.corpus.sentence import ends_of
from valence.data import tile
from valence.errors import MissingExtraError, MissingFileError, RecipeError
from valence.recipe import SegmentRecipe

AWKWARD = st.text(
    alphabet=st.one_of(
        st.sampled_from("a \t\r\n\f\v\x1c\x85\u2028\u2029\ufeff\0'\\#"),
        st.sampled_from(".!?…。।\"“”'()[]1*-•é\u0301😀👨\u200d👩ß中"),
        st.characters(exclude_categories=["Cs"]),
    )
)
PROSE = st.lists(
    st.sampled_from(
        [
            "Mr. X said: “No.” ",
            "Hi! ",
            "\n\n",
            "\r\n",
            "1) a ",
            "U.S. ",
            "\ufeff",
            " ",
            "и так.",
            "。",
        ]
    )
).map("".join)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A byte-level one, whose tokens cut characters, and one that folds and drops."""
    folder = tmp_path_factory.mktemp("tokenizers")
    byte_level = Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    byte_level.train_from_iterator(
        ["the theme of the thesis " * 9],
        trainers.BpeTrainer(
            vocab_size=270,
            special_tokens=["<|eos|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    byte_level.enable_truncation(8)
    folding = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    folding.normalizer = normalizers.BertNormalizer()
    folding.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    for name, tokenizer in (("byte", byte_level), ("fold", folding)):
        (folder / name).mkdir()
        tokenizer.save(str(folder / name / "tokenizer.json"))
    return {name: folder / name for name in ("byte", "fold")}


def built(kind: str, tokenizers: dict[str, Path]) -> Segmenter:
    name, _, tokenizer = kind.partition(":")
    path = str(tokenizers[tokenizer]) if tokenizer else None
    options = {"kind": name, "tokens": 3, "tokenizer": path}
    return build_segmenter(SegmentRecipe.model_validate(options))


KINDS = ("line", "document", "sentence", "window", "window:byte", "window:fold")


def pieces(text: str, ends: list[int]) -> list[str]:
    return [text[start:end] for start, end in pairwise([0, *ends])]


def check_tiling(text: str, ends: list[int]) -> None:
    assert "".join(pieces(text, ends)) == text
    assert all(segment.start < segment.end for segment in tile(ends))
    assert ends[-1:] == ([len(text)] if text else [])


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(text=st.one_of(AWKWARD, PROSE))
def test_segments_tile_the_text(kind: str, tokenizers: dict[str, Path], text: str) -> None:
    segmenter = built(kind, tokenizers)
    ends = segmenter(text)
    check_tiling(text, ends)
    assert segmenter(text) == ends


@pytest.mark.parametrize("kind", ["sentence", "window:byte"])
@settings(deadline=None)
@given(text=st.one_of(AWKWARD, PROSE))
def test_segments_tile_what_is_cut_into_pieces(
    kind: str, tokenizers: dict[str, Path], text: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentence, "PIECE", 7)
        patch.setattr(window, "PIECE", 7)
        check_tiling(text, built(kind, tokenizers)(text))


@pytest.mark.parametrize("kind", ["line", "sentence", "window"])
@pytest.mark.parametrize("unit", ["“a. B ", " ", "a", "\n", "a. ", "😀", "Hi there. ", '"a." '])
def test_time_does_not_grow_with_the_square(
    kind: str, unit: str, tokenizers: dict[str, Path]
) -> None:
    text = unit * (200_000 // len(unit))
    started = time.process_time()
    ends = built(kind, tokenizers)(text)
    assert time.process_time() - started < 2
    check_tiling(text, ends)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_line_of_50_mb(kind: str, tokenizers: dict[str, Path]) -> None:
    text = (
        "It was late, and nobody came. She waited for Mr. Smith (no answer) until 5 p.m. " * 650_000
    )
    if kind == "window:byte":
        text = text[:5_000_000]
    ends = built(kind, tokenizers)(text)
    assert ends == sorted(set(ends))
    assert ends[-1] == len(text)


@given(text=AWKWARD)
def test_a_line_has_its_break_at_its_end_only(text: str) -> None:
    lines = pieces(text, line_ends(text))
    for line in lines:
        body = line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
        assert not set(body.removesuffix("\r")) & set("\r\n")
    assert all(line.endswith(("\r", "\n")) for line in lines[:-1])


@given(text=AWKWARD)
def test_source_lines_are_the_lines_with_breaks_translated(text: str) -> None:
    bare = text.removeprefix("\ufeff")
    expected = [
        line.removesuffix("\n").removesuffix("\r") + "\n" if line.endswith(("\r", "\n")) else line
        for line in pieces(bare, line_ends(bare))
    ]
    assert source_lines(text) == expected


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("", []),
        ("a", [1]),
        ("a\n", [2]),
        ("a\r\nb\rc\n\n", [3, 5, 7, 8]),
        ("a\x0cb\u2028c\x85d", [7]),
        ("\ufeffa\n", [3]),
        ("\n\r", [1, 2]),
    ],
)
def test_line_ends(text: str, ends: list[int]) -> None:
    assert line_ends(text) == ends


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("en", ["  Dr. Smith came.  ", "He left at 5 p.m. yesterday!\n\n", "Why? ", "“So.”"]),
        ("en", ["Hi there.\r\n\r\n", "\ufeffMe too."]),
        ("en", [" \n "]),
        ("pt-BR", ["O Sr. Silva chegou. ", "Foi embora."]),
        ("de", ["Das ist z. B. gut. ", "Ja!"]),
        ("ja", ["これは本です。", "それも。"]),
        ("hi", ["यह एक है। ", "वह दो है।"]),
        ("xx", ["As in English. ", "Yes."]),
    ],
)
def test_sentences(language: str, sentences: list[str]) -> None:
    text = "".join(sentences)
    segmenter = build_segmenter(SegmentRecipe(kind="sentence", language=language))
    assert pieces(text, segmenter(text)) == sentences


def test_long_texts_are_cut_as_short_ones_are() -> None:
    segmenter = build_segmenter(SegmentRecipe(kind="sentence"))
    unit = "It was 5 p.m. in the U.S. already. “Who is there?” she asked. Nobody knew it.\n"
    short, long = segmenter(unit), segmenter(unit * 1000)
    assert len(short) == 3
    assert long == [len(unit) * row + end for row in range(1000) for end in short]
    assert segmenter("a" * 25_000) == [10_000, 20_000, 25_000]
    assert segmenter(("a" * 9 + " ") * 1500) == [10_000, 15_000]


@pytest.mark.parametrize("language", ["", "english", "e", "en us", "../x"])
def test_no_language(language: str) -> None:
    with pytest.raises(RecipeError, match="is not a language code"):
        build_segmenter(SegmentRecipe(kind="sentence", language=language))


@pytest.mark.parametrize(
    ("given_pieces", "expected"),
    [
        (["ab. ", "cd."], ["ab. ", "cd."]),
        (["ab.", "cd."], ["ab. ", "cd."]),
        (["ab."], ["ab. ", "cd."]),
        (["ab.", " ", "", "cd."], ["ab. ", "cd."]),
        (["AB.", "cd."], ["ab. cd."]),
        (["ab. cd.", "cd."], ["ab. cd."]),
        ([], ["ab. cd."]),
    ],
)
def test_ends_from_strings_that_lack_repeat_or_change_something(
    given_pieces: list[str], expected: list[str]
) -> None:
    text = "ab. cd."
    assert pieces(text, ends_of(given_pieces, text)) == expected
    assert pieces("\n" + text, ends_of(given_pieces, "\n" + text))[0].startswith("\nab.")


def test_windows_of_words() -> None:
    segmenter = build_segmenter(SegmentRecipe(kind="window", tokens=3))
    text = " One two, three\n\nfour-five. Six"
    assert pieces(text, segmenter(text)) == [" One two, ", "three\n\nfour-", "five. Six"]
    assert segmenter(" \n") == [2]
    assert segmenter("") == []


def test_windows_of_tokens(tokenizers: dict[str, Path]) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizers["byte"] / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    text = "the theme <|eos|> of the thesis, the theme of 5 theses\n" * 20
    tokens = tokenizer.encode(text).tokens
    for size in (1, 5, 10_000):
        recipe = SegmentRecipe(kind="window", tokens=size, tokenizer=str(tokenizers["byte"]))
        ends = build_segmenter(recipe)(text)
        assert len(ends) == -(-len(tokens) // size)
        joined = ["".join(tokens[place : place + size]) for place in range(0, len(tokens), size)]
        assert [
            piece.replace(" ", "Ġ").replace("\n", "Ċ") for piece in pieces(text, ends)
        ] == joined


def test_windows_end_between_characters_and_go_on_over_pieces(
    tokenizers: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = SegmentRecipe(
        kind="window", tokens=3, tokenizer=str(tokenizers["byte"] / "tokenizer.json")
    )
    assert build_segmenter(recipe)("😀😀😀") == [1, 2, 3]  # four tokens each
    text = "the theme of the thesis\n" * 50
    whole = build_segmenter(recipe)(text)
    monkeypatch.setattr(window, "PIECE", 60)
    assert build_segmenter(recipe)(text) == whole


def test_no_tokenizer(tmp_path: Path) -> None:
    recipe = SegmentRecipe(kind="window", tokenizer=str(tmp_path))
    with pytest.raises(MissingFileError, match=r"tokenizer\.json"):
        build_segmenter(recipe)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": 3}))
    with pytest.raises(RecipeError, match="not a tokenizer"):
        build_segmenter(recipe)


def fake_wtpsplit(split: Callable[[str], list[str]], calls: list[object]) -> types.ModuleType:
    class SaT:
        def __init__(self, model: str, **options: object) -> None:
            if model == "absent":
                raise OSError("no such model")
            calls.append((model, options))

        def split(self, text: str) -> list[str]:
            assert text.strip()
            return split(text)

    module = types.ModuleType("wtpsplit")
    module.SaT = SaT  # type: ignore[attr-defined]
    return module


def test_wtpsplit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[object] = []
    # As the library does, with line breaks left out.
    module = fake_wtpsplit(lambda text: text.replace(". ", ". \n").split("\n"), calls)
    monkeypatch.setitem(sys.modules, "wtpsplit", module)
    segmenter = build_segmenter(SegmentRecipe(kind="wtpsplit"))
    text = " So it is. Yes\nit is\n\n\nso\n"
    assert pieces(text, segmenter(text)) == [" So it is. ", "Yes\n", "it is\n\n\n", "so\n"]
    assert segmenter(" \n") == [2]
    assert segmenter("") == []
    (tmp_path / "tokenizer.json").write_text("{}")
    build_segmenter(SegmentRecipe(kind="wtpsplit", model=str(tmp_path)))
    safe = {"from_pretrained_kwargs": {"use_safetensors": True}}
    local = {**safe, "tokenizer_name_or_path": str(tmp_path)}
    assert calls == [("sat-3l-sm", safe), (str(tmp_path), local)]
    with pytest.raises(RecipeError, match="cannot load `absent`"):
        build_segmenter(SegmentRecipe(kind="wtpsplit", model="absent"))
    monkeypatch.setitem(sys.modules, "wtpsplit", None)
    with pytest.raises(MissingExtraError, match=r"valence\[wtpsplit\]"):
        build_segmenter(SegmentRecipe(kind="wtpsplit"))


@settings(deadline=None)
@given(text=AWKWARD, cuts=st.lists(st.booleans()))
def test_wtpsplit_tiles_whatever_the_model_says(text: str, cuts: list[bool]) -> None:
    def split(whole: str) -> list[str]:
        ends = [place for place, cut in enumerate(cuts, 1) if cut and place < len(whole)]
        return pieces(whole, [*ends, len(whole)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "wtpsplit", fake_wtpsplit(split, []))
        check_tiling(text, build_segmenter(SegmentRecipe(kind="wtpsplit"))(text))


def test_every_kind_has_a_segmenter(tokenizers: dict[str, Path]) -> None:
    kinds = SegmentRecipe.model_json_schema()["properties"]["kind"]["enum"]
    assert set(kinds) == {kind.partition(":")[0] for kind in KINDS} | {"wtpsplit"}
    assert built("line", tokenizers) is SEGMENTERS["line"]
