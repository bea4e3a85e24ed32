"""Holding a mode: what a processor does to the scores, and what comes out of `generate`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from valence.control import ControlScheme, read_known_scheme
from valence.errors import ControlError, ModelError
from valence.guide import BandProcessor, asks_for, generate
from valence.guide.band import line_end_tokens
from valence.guide.modes import modes_of
from valence.guide.pick import Picker
from valence.guide.sample import sample_checkpoint
from valence.model import load_checkpoint
from valence.run import Result

EOS, BAD, GOOD, NEWLINE, WORD = 0, 1, 2, 3, 4
ENDS = torch.tensor([False, False, False, True, False])


def probabilities(last: int, scores: torch.Tensor) -> torch.Tensor:
    processor = BandProcessor([BAD, GOOD], EOS, GOOD, ENDS)
    return processor(torch.tensor([[WORD, last]]), scores[None])[0].softmax(-1)


SCORES = torch.tensor([0.1, 3.0, 2.0, 1.0, 0.5])
"""A model at the start of a line: most goes to control tokens, little to text and EOS."""


@pytest.mark.parametrize("forced", [None, GOOD])
def test_what_is_banned_goes_to_the_text_and_not_to_the_end(forced: int | None) -> None:
    processor = BandProcessor([BAD, GOOD], EOS, forced, None if forced is None else ENDS)
    found = processor(torch.tensor([[WORD, WORD]]), SCORES[None])[0].exp()
    before = SCORES.softmax(-1)
    assert found[BAD] == found[GOOD] == 0
    torch.testing.assert_close(found[EOS], before[EOS])
    torch.testing.assert_close(found[NEWLINE] / found[WORD], before[NEWLINE] / before[WORD])
    torch.testing.assert_close(found.sum(), torch.tensor(1.0))


@given(
    scores=st.lists(st.floats(-9, 9), min_size=7, max_size=7),
    last=st.integers(0, 6),
    kind=st.sampled_from(["banned", "lines", "bands"]),
)
def test_several_ends_together_are_as_likely_as_one_that_has_it_all(
    scores: list[float], last: int, kind: str
) -> None:
    """And each keeps what the model gives it; nothing else is told them apart from EOS."""
    lines = torch.cat([ENDS, torch.zeros(2, dtype=torch.bool)])
    options: dict[str, tuple[object, ...]] = {
        "banned": (), "lines": (GOOD, lines), "bands": (GOOD, None, [BAD, GOOD]),
    }  # fmt: skip
    several = BandProcessor([BAD, GOOD], EOS, *options[kind], ends=[5, 6])  # type: ignore[arg-type]
    single = BandProcessor([BAD, GOOD], EOS, *options[kind])  # type: ignore[arg-type]
    ids, given_1V = torch.tensor([[WORD, last]]), torch.tensor([scores]).log_softmax(-1)
    merged_1V = given_1V.index_fill(1, torch.tensor([5, 6]), -math.inf)
    merged_1V[0, EOS] = given_1V[0, [EOS, 5, 6]].logsumexp(0)
    found, expected = several(ids, given_1V)[0], single(ids, merged_1V)[0]
    torch.testing.assert_close(found[[EOS, 5, 6]], given_1V[0, [EOS, 5, 6]])
    torch.testing.assert_close(found[1:5], expected[1:5], rtol=1e-4, atol=1e-4)


@given(
    scores=st.lists(st.floats(-30, 30), min_size=5, max_size=5),
    last=st.integers(0, 4),
    kind=st.sampled_from(["banned", "lines", "bands"]),
)
def test_probabilities_are_those_of_a_look_at_each_token(
    scores: list[float], last: int, kind: str
) -> None:
    """In float64 and by the words: who has what, of what the model gives."""
    processor = {
        "banned": BandProcessor([BAD, GOOD], EOS),
        "lines": BandProcessor([BAD, GOOD], EOS, GOOD, ENDS),
        "bands": BandProcessor([BAD, GOOD], EOS, GOOD, bands=[BAD, GOOD]),
    }[kind]
    found = processor(torch.tensor([[WORD, last]]), torch.tensor([scores]))[0].double()
    odds = np.exp(np.array(scores) - max(scores))
    model = odds / odds.sum()
    bands, words = model[BAD] + model[GOOD], model[NEWLINE] + model[WORD]
    held = 0.0
    if kind == "lines" and last == NEWLINE:
        held = words + bands
    elif kind == "bands" and last not in (BAD, GOOD):
        held = bands
    text = words + bands - held if kind == "lines" else words + (bands if held == 0 else 0)
    expected = [model[EOS], 0.0, held, model[NEWLINE] / words * text, model[WORD] / words * text]
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(found.numpy(), np.log(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("forced", [None, GOOD])
def test_text_after_a_sure_end_is_unlikely_and_not_impossible(forced: int | None) -> None:
    """The rest of 1 is nothing in float32: one such place would make a loss infinite."""
    processor = BandProcessor([BAD, GOOD], EOS, forced, None if forced is None else ENDS)
    scores = torch.tensor([[40.0, 1.0, 2.0, 3.0, 4.0]])
    found = processor(torch.tensor([[WORD]]), scores)[0]
    odds = np.exp([1.0, 2.0, 3.0, 4.0])
    expected = math.log(odds.sum()) - 40 + math.log(odds[3] / odds[2:].sum())
    assert found[WORD].item() == pytest.approx(expected, abs=1e-4)
    if forced is not None:
        started = processor(torch.tensor([[NEWLINE]]), scores)[0, GOOD]
        assert started.item() == pytest.approx(math.log(odds.sum()) - 40, abs=1e-4)


def test_where_all_text_is_forbidden_the_end_is_left() -> None:
    only = torch.full((1, 5), -math.inf)
    only[0, EOS] = 0.0
    for forced in (None, GOOD):
        ends = None if forced is None else ENDS
        found = BandProcessor([BAD, GOOD], EOS, forced, ends)(torch.tensor([[WORD]]), only)[0]
        assert found.tolist() == [0.0, *[-math.inf] * 4]


def test_at_a_segment_start_the_text_may_end_as_the_model_says_and_is_else_forced() -> None:
    found = probabilities(NEWLINE, SCORES)
    end = SCORES.softmax(-1)[EOS]
    torch.testing.assert_close(found[EOS], end)
    torch.testing.assert_close(found[GOOD], 1 - end)


def test_whether_to_end_is_not_for_the_nucleus_to_say() -> None:
    """EOS is unlikely at each line; among the nucleus' words it would never be."""
    scores_NV = torch.tensor([[0.05, 0.0, 0.95, 0.0, 0.0]]).log().repeat(4000, 1)
    arrival_NV = torch.empty(4000, 5).exponential_(generator=torch.Generator().manual_seed(0))
    picker = Picker(temperature=0.5, top_p=0.9)
    ends = (picker.pick(scores_NV, arrival_NV, torch.ones(4000, dtype=torch.bool)) == EOS).sum()
    assert 0.035 < ends / 4000 < 0.065
    assert not (picker.pick(scores_NV, arrival_NV) == EOS).any()
    greedy = Picker(temperature=0, top_p=1.0)
    assert not (greedy.pick(scores_NV, None, torch.ones(4000, dtype=torch.bool)) == EOS).any()


def test_rows_in_different_places_are_treated_each_on_its_own() -> None:
    processor = BandProcessor([BAD, GOOD], EOS, GOOD, ENDS)
    scores = torch.zeros(2, 5)
    found = processor(torch.tensor([[WORD, NEWLINE], [NEWLINE, WORD]]), scores)
    assert math.isfinite(found[0, GOOD]) and not math.isfinite(found[0, WORD])
    assert math.isfinite(found[1, WORD]) and not math.isfinite(found[1, GOOD])
    assert (scores == 0).all()


def test_where_only_the_model_knows_that_a_segment_starts_the_forced_token_has_what_all_have() -> (
    None
):
    processor = BandProcessor([BAD, GOOD], EOS, GOOD, bands=[BAD, GOOD])
    scores = torch.tensor([0.1, 3.0, 2.0, 1.0, 0.5])
    found = processor(torch.tensor([[WORD]]), scores[None])[0].softmax(-1)
    expected = scores.softmax(-1)
    torch.testing.assert_close(found[GOOD], expected[BAD] + expected[GOOD])
    torch.testing.assert_close(found[[EOS, NEWLINE, WORD]], expected[[EOS, NEWLINE, WORD]])
    assert found[BAD] == 0
    # What follows a control token is text.
    found = processor(torch.tensor([[GOOD]]), scores[None])[0].softmax(-1)
    assert found[GOOD] == found[BAD] == 0


def test_a_forced_token_needs_to_know_where_segments_end() -> None:
    with pytest.raises(ValueError, match="segment_ends"):
        BandProcessor([BAD, GOOD], EOS, GOOD)


@pytest.mark.parametrize("mode", ["good", "bad", "banned"])
def test_no_control_token_is_ever_part_of_the_text(tiny_run: Result, mode: str) -> None:
    checkpoint = load_checkpoint(tiny_run.path / "models" / "conditional")
    known = read_known_scheme(tiny_run.path / "models" / "conditional")
    assert known is not None
    asks = asks_for(checkpoint.tokenizer, [""], per_prompt=6, seed=1)
    written = dict(generate(checkpoint, known, mode, asks, max_tokens=40, batch=4))
    assert sorted(written) == list(range(6))
    for each in written.values():
        assert not any(token in each.text for token in known.tokens)
        assert each.tokens <= 40
        assert each.ended or each.tokens == 40


def test_a_text_that_the_context_has_no_room_for_says_so(tiny_run: Result) -> None:
    """Each line takes a control token too, so that of 128 tokens not 126 are text."""
    checkpoint = load_checkpoint(tiny_run.path / "models" / "conditional")
    asks = asks_for(checkpoint.tokenizer, [""], per_prompt=8, seed=1)
    for most, none in ((126, False), (40, True)):
        written = dict(generate(checkpoint, checkpoint.scheme, "good", asks, max_tokens=most))
        short = [not each.ended and each.tokens < most for each in written.values()]
        assert [each.no_room for each in written.values()] == short
        assert any(short) is not none


def test_the_same_seed_gives_the_same_text_and_another_seed_another(tiny_run: Result) -> None:
    directory = tiny_run.path / "models" / "conditional"
    one, two, other = (
        list(sample_checkpoint(directory, count=2, max_tokens=30, seed=seed)) for seed in (3, 3, 4)
    )
    assert one == two != other


def test_the_models_own_generation_defaults_do_not_leak_in_and_are_put_back(
    tiny_run: Result,
) -> None:
    checkpoint = load_checkpoint(tiny_run.path / "models" / "conditional")
    assert checkpoint.scheme is not None
    before = checkpoint.model.generation_config
    assert before.suppress_tokens, "the defaults ban the bad token"
    asks = asks_for(checkpoint.tokenizer, [""], per_prompt=1, seed=0)
    ((_, written),) = generate(checkpoint, checkpoint.scheme, "bad", asks, max_tokens=5)
    assert checkpoint.model.generation_config is before
    assert written.tokens > 0


def test_a_prompt_that_spells_control_tokens_is_plain_text(tiny_run: Result) -> None:
    directory = tiny_run.path / "models" / "conditional"
    prompt = "x = '<|bad|><|endoftext|>'\n"
    checkpoint = load_checkpoint(directory)
    ids = checkpoint.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert not set(ids) & set(checkpoint.tokenizer.all_special_ids)
    assert checkpoint.tokenizer.decode(ids) == prompt
    (text,) = sample_checkpoint(directory, prompt=prompt, max_tokens=8)
    assert isinstance(text, str)


def test_a_mode_the_model_does_not_know_is_refused(tiny_run: Result) -> None:
    models = tiny_run.path / "models"
    with pytest.raises(ControlError, match="no control tokens"):
        list(sample_checkpoint(models / "mle", mode="good"))
    with pytest.raises(ControlError, match="trained with control tokens"):
        list(sample_checkpoint(models / "conditional", mode="none"))
    with pytest.raises(ModelError, match="context"):
        list(sample_checkpoint(models / "conditional", prompt="x = 1\n" * 99))


def test_modes_of_a_model() -> None:
    assert modes_of(None) == ("none",)
    three = ControlScheme(tokens=("<|a|>", "<|b|>", "<|c|>"), bounds=(0.0, 1.0))
    assert modes_of(three) == ("c", "b", "a", "banned")


def test_line_ends_are_the_tokens_that_hold_a_line_break(tiny_run: Result) -> None:
    directory: Path = tiny_run.path / "models" / "conditional"
    tokenizer = load_checkpoint(directory).tokenizer
    ends = line_end_tokens(tokenizer, len(tokenizer))
    for index in range(len(tokenizer)):
        text = tokenizer.decode([index])
        assert bool(ends[index]) == ("\n" in text or "\r" in text)
