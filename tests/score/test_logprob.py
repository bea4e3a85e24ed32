"""LogProb against a loop over prefixes, and against what packing puts between the tokens."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import save_decoder
from transformers import AutoModelForCausalLM, AutoTokenizer

from valence.control import ControlScheme
from valence.corpus.segment import line_ends
from valence.data import Document, Failure, Result, Score, Segment, tile
from valence.errors import ControlError, ScorerError
from valence.model import create_model, save_checkpoint, train_tokenizer
from valence.pack import align
from valence.recipe import ModelRecipe
from valence.score.logprob import LogProb, begins, owners_of, stretches
from valence.score.protocol import flops_of
from valence.score.table import build_scorer

TEXT = "the cat sat\non the mat\n\nand a dog ran"
SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_decoder(tmp_path_factory.mktemp("plain"))


def checkpoint(directory: Path, scheme: ControlScheme | None) -> Path:
    known = scheme or SCHEME
    tokenizer = train_tokenizer([TEXT] * 5, 280, known, max_length=48)
    recipe = ModelRecipe(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=32,
        max_position_embeddings=48,
    )
    model = create_model(recipe, len(tokenizer), tokenizer.eos_token_id, seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    save_checkpoint(directory, model, tokenizer, scheme, known, {"segmenter": "line"})
    return directory


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("conditional"), SCHEME)


def document(text: str) -> Document:
    return Document(id="x", text=text, source="x")


def lines(text: str) -> tuple[Document, tuple[Segment, ...]]:
    return document(text), tile(line_ends(text))


def naive(
    directory: Path, stream: list[int], is_text: list[bool], banned: list[int]
) -> list[float]:
    """log p of each text token in a stream, one prefix at a time."""
    model = AutoModelForCausalLM.from_pretrained(directory).eval()
    found = []
    for index, text in enumerate(is_text):
        if text:
            with torch.inference_mode():
                logits = model(torch.tensor([stream[:index]])).logits[0, -1].double()
                logits[banned] = -torch.inf
            found.append(float(torch.log_softmax(logits, -1)[stream[index]]))
    return found


def by_segment(gains: list[float], owners: np.ndarray, count: int, per: str) -> list[float]:
    found = []
    for index in range(count):
        own = [gain for gain, owner in zip(gains, owners, strict=True) if owner == index]
        found.append(sum(own) / (len(own) if per == "token" else 1))
    return found


def values(results: list[Result]) -> list[float]:
    assert all(isinstance(result, Score) for result in results), results
    return [result.value for result in results if isinstance(result, Score)]


@pytest.mark.parametrize("per", ["token", "segment"])
def test_prompts_against_a_loop_over_prefixes(plain: Path, per: str) -> None:
    options = {"good_prompt": "you are kind:", "bad_prompt": "", "per": per, "device": "cpu"}
    scorer = build_scorer({"logprob": {"model": str(plain), **options}})
    tokenizer = AutoTokenizer.from_pretrained(plain)
    found = tokenizer(TEXT, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = found["input_ids"], np.array(found["offset_mapping"])
    logs = []
    for prompt in ("you are kind:", ""):
        prefix = tokenizer(prompt)["input_ids"]  # With the <s> that it begins with.
        logs.append(naive(plain, prefix + ids, [False] * len(prefix) + [True] * len(ids), []))
    item = lines(TEXT)
    gains = [good - bad for good, bad in zip(*logs, strict=True)]
    expected = by_segment(gains, owners_of(TEXT, offsets, item[1]), len(item[1]), per)
    assert values(scorer.score(*item)) == pytest.approx(expected, abs=1e-4)
    assert flops_of(scorer) and "nats" in scorer.meaning


def test_one_prompt_alone_is_the_log_probability_after_it(plain: Path) -> None:
    alone, empty, both = (
        build_scorer({"logprob": {"model": str(plain), "device": "cpu", **options}})
        for options in (
            {"good_prompt": "you are kind:"},
            {"good_prompt": ""},
            {"good_prompt": "you are kind:", "bad_prompt": ""},
        )
    )
    kind, bare, less = (values(each.score(*lines(TEXT))) for each in (alone, empty, both))
    assert all(value < 0 for value in kind + bare)
    assert [a - b for a, b in zip(kind, bare, strict=True)] == pytest.approx(less, abs=1e-4)
    assert " - " not in alone.meaning


@pytest.mark.parametrize(
    ("level", "placement"), [("segment", "every"), ("segment", "change"), ("document", "every")]
)
@pytest.mark.parametrize("bad", ["bad", "none"])
def test_modes_against_a_loop_over_prefixes(
    tmp_path: Path, level: str, placement: str, bad: str
) -> None:
    scheme = ControlScheme(
        tokens=SCHEME.tokens,
        bounds=SCHEME.bounds,
        level=level,  # type: ignore[arg-type]
        placement=placement,  # type: ignore[arg-type]
    )
    directory = checkpoint(tmp_path, scheme)
    scorer = LogProb(model=str(directory), good="good", bad=bad, device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    item = lines(TEXT)
    pieces = [
        tokenizer(TEXT[s.start : s.end], add_special_tokens=False)["input_ids"] for s in item[1]
    ]  # For lines, packing and tokenising in pieces are the same.
    control_ids = list(scheme.token_ids(tokenizer))
    logs = []
    for mode in ("good", bad):
        stream, is_text = [tokenizer.eos_token_id], [False]
        for index, piece in enumerate(pieces):
            every = level == "segment" and placement == "every"
            if mode != "none" and (index == 0 or every):
                stream.append(control_ids[scheme.band_of_mode(mode)])
                is_text.append(False)
            stream += piece
            is_text += [True] * len(piece)
        logs.append(naive(directory, stream, is_text, control_ids))
    owners = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    gains = [good - worse for good, worse in zip(*logs, strict=True)]
    expected = by_segment(gains, owners, len(pieces), "token")
    assert values(scorer.score(*item)) == pytest.approx(expected, abs=1e-4)


def test_long_documents_are_read_in_windows(conditional: Path) -> None:
    text = TEXT * 12
    tokenizer = AutoTokenizer.from_pretrained(conditional)
    scorer = LogProb(model=str(conditional), good="good", bad="bad", device="cpu")
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    assert len(found["input_ids"]) > 3 * 48
    item = lines(text)
    results = values(scorer.score(*item))
    owners = owners_of(text, np.array(found["offset_mapping"]), item[1])
    control_ids = list(SCHEME.token_ids(tokenizer))
    # The same windows, each read by itself and with its own loop.
    gains = np.full(len(owners), np.nan)
    for part in stretches(1 + begins(owners), 46):
        logs = []
        for control in (control_ids[1], control_ids[0]):
            stream, scored = [tokenizer.eos_token_id, control], [False, False]
            for index in range(part.context, part.end):
                if index > part.context and owners[index] != owners[index - 1]:
                    stream.append(control)
                    scored.append(False)
                stream.append(found["input_ids"][index])
                scored.append(index >= part.start)
            assert len(stream) <= 48
            logs.append(naive(conditional, stream, scored, control_ids))
        gains[part.start : part.end] = np.subtract(*logs)
    expected = by_segment(gains.tolist(), owners, len(item[1]), "token")
    assert results == pytest.approx(expected, abs=1e-4)


@settings(deadline=None)
@given(costs=st.lists(st.integers(1, 2), max_size=300), room=st.integers(8, 64))
def test_windows_score_each_token_once(costs: list[int], room: int) -> None:
    found = stretches(np.array(costs, dtype=np.int64), room)
    assert [i for part in found for i in range(part.start, part.end)] == list(range(len(costs)))
    for part in found:
        assert sum(costs[part.context : part.end]) <= room
        if part.start:
            assert sum(costs[part.context : part.start]) >= room // 2


@settings(deadline=None)
@given(text=st.text(st.sampled_from("ab \n\té😀"), min_size=1), data=st.data())
def test_tokens_belong_where_packing_puts_them(text: str, data: st.DataObject) -> None:
    places = st.integers(1, len(text))
    ends = sorted({*data.draw(st.lists(places)), len(text)})
    # Cut into tokens that may reach over one boundary, not several.
    cuts = sorted({0, *data.draw(st.lists(places)), *ends[::2], len(text)})
    offsets = np.array(list(pairwise(cuts)), dtype=np.int64)
    starts, _ = align(text, offsets, np.array(ends))
    owners = owners_of(text, offsets, tile(ends))
    expected = np.searchsorted(starts, np.arange(len(offsets)), side="right") - 1
    assert owners.tolist() == expected.tolist()


def test_a_segment_may_have_no_token(conditional: Path) -> None:
    scorer = LogProb(model=str(conditional), good="good", bad="bad", device="cpu")
    results = scorer.score(document("the cat"), (Segment(start=1, end=2), Segment(start=2, end=2)))
    assert [type(result) for result in results][1] is Failure
    assert isinstance(results[1], Failure) and results[1].kind == "no-tokens"
    assert scorer.score_many([]) == []
    assert scorer.score_many([(document(""), ())]) == [[]]


def test_a_batch_changes_nothing_but_rounding(conditional: Path) -> None:
    scorer = LogProb(model=str(conditional), good="good", bad="bad", device="cpu")
    items = [lines(TEXT), lines("a dog"), lines(TEXT * 5), lines("<|good|><|endoftext|>")]
    together = scorer.score_many(items)
    assert together == scorer.score_many(items)
    for one, item in zip(together, items, strict=True):
        assert values(one) == pytest.approx(values(scorer.score(*item)), abs=1e-5)


def test_text_never_becomes_a_control_token(conditional: Path) -> None:
    scorer = LogProb(model=str(conditional), good="good", bad="bad", device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(conditional)
    ids, _ = scorer._network.token_offsets("<|good|> a<|endoftext|>")
    assert not {*SCHEME.token_ids(tokenizer), tokenizer.eos_token_id} & set(ids)
    assert tokenizer.decode(ids) == "<|good|> a<|endoftext|>"


def test_wrong_options(plain: Path, conditional: Path, tmp_path: Path) -> None:
    wrong = [
        {},
        {"good": "good"},
        {"good": "good", "bad": "good"},
        {"good": "good", "bad": "bad", "good_prompt": "a"},
        {"good_prompt": "a", "bad_prompt": "a"},
    ]
    for options in wrong:
        with pytest.raises(ScorerError, match="two different"):
            build_scorer({"logprob": {"model": str(conditional), **options}})
    with pytest.raises(ScorerError, match="not trained with control tokens"):
        LogProb(model=str(plain), good="good", bad="bad")
    with pytest.raises(ScorerError, match="not trained with control tokens"):
        LogProb(model=str(checkpoint(tmp_path, None)), good="good", bad="bad")
    with pytest.raises(ControlError, match="no mode `great`"):
        LogProb(model=str(conditional), good="great", bad="bad")
    with pytest.raises(ScorerError, match="no room"):
        LogProb(model=str(plain), good_prompt="a cat " * 30, bad_prompt="")


def test_options_are_part_of_the_identity(conditional: Path) -> None:
    def digest(**options: object) -> str:
        return build_scorer({"logprob": {"model": str(conditional), **options}}).id.digest

    modes = {"good": "good", "bad": "bad"}
    others = [
        modes,
        {"good": "bad", "bad": "good"},
        {"good_prompt": "a", "bad_prompt": "b"},
        {**modes, "per": "segment"},
        {**modes, "max_tokens": 24},
    ]
    assert len({digest(**options) for options in others}) == len(others)
    assert digest(**modes) == digest(**modes)
