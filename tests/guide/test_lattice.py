"""A lattice after any history says what the model says of each row's text alone."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import EOS, ROTARY, SIZES, WORDS, checkpoint
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from valence.guide.lattice import Lattice
from valence.model import backbone

FAMILIES = ["qwen3", "llama", "gpt2", "mistral", "gemma3", "qwen3, sliding", "gpt_oss"]
ready = cache(checkpoint)


class Texts:
    """A lattice, and beside it the tokens that each row has read."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.rows = model, []  # type: ignore[var-annotated]
        self.lattice = Lattice(model, context=64, eos_id=EOS)
        self.rng = torch.Generator().manual_seed(0)

    def words(self, count: int) -> list[int]:
        return torch.randint(1, WORDS, (count,), generator=self.rng).tolist()

    def begin(self, lengths: list[int]) -> None:
        prompts = [self.words(length) for length in lengths]
        width = max(map(len, prompts))
        padded = [[EOS] * (width - len(each)) + each for each in prompts]
        index = torch.arange(len(prompts))
        found = self.lattice.begin(torch.tensor(padded), [*map(len, prompts)], index)
        self.rows += prompts
        self.compare(found, list(range(len(self.rows) - len(prompts), len(self.rows))))

    def read(self, active: list[bool]) -> None:
        new = self.words(len(self.rows))
        mask = None if all(active) else torch.tensor(active)
        found = self.lattice.read(torch.tensor(new), mask)
        going = [row for row, goes in enumerate(active) if goes]
        for row in going:
            self.rows[row].append(new[row])
        self.compare(found[going], going)

    def compare(self, found: torch.Tensor, rows: list[int]) -> None:
        for scores, row in zip(found, rows, strict=True):
            torch.testing.assert_close(scores, self.alone(self.rows[row]), rtol=1e-9, atol=1e-9)

    @torch.no_grad()
    def alone(self, ids: list[int]) -> torch.Tensor:
        return self.model(input_ids=torch.tensor([ids])).logits[0, -1]

    @torch.no_grad()
    def state(self, ids: list[int]) -> torch.Tensor:
        return backbone(self.model)(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_whatever_happened_each_row_is_read_as_it_is_alone(
    family: str, data: st.DataObject
) -> None:
    with torch.inference_mode():
        texts = Texts(ready(family).model)
        texts.begin(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
        for _ in range(data.draw(st.integers(1, 12))):
            act(texts, data)
            seen = texts.lattice.ids_PT
            # The padding of gaps is EOS, and tokens stand in order.
            assert [[t for t in row if t != EOS] for row in seen.tolist()] == texts.rows


def act(texts: Texts, data: st.DataObject) -> None:
    lattice, count = texts.lattice, len(texts.rows)
    rows = st.integers(0, count - 1)
    kind = data.draw(
        st.sampled_from(["read", "wait", "keep", "copy", "leave", "join", "fork", "feed"])
    )
    if kind == "read":
        for _ in range(data.draw(st.integers(1, 6))):
            texts.read([True] * count)
    elif kind == "wait":
        texts.read(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    elif kind == "keep":
        row = data.draw(rows)
        length = data.draw(st.integers(1, len(texts.rows[row])))
        lattice.keep([row], [length])
        del texts.rows[row][length:]
        if data.draw(st.booleans()):
            lattice.tidy(max(map(len, texts.rows)))
    elif kind == "copy":
        source, to = data.draw(rows), data.draw(st.lists(rows, min_size=1, unique=True))
        lattice.copy(source, to)
        for row in to:
            texts.rows[row] = list(texts.rows[source])
    elif kind == "leave" and count > 1:
        gone = data.draw(rows.filter(lambda row: row < count - 1))
        lattice.leave(torch.tensor([gone]), torch.tensor([count - 1]), count - 1)
        texts.rows[gone] = texts.rows.pop()
        lattice.tidy(max(map(len, texts.rows)))
    elif kind == "join":
        texts.begin(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=2)))
    elif kind == "fork":
        fork(texts, data)
    elif kind == "feed":
        feed(texts, data)


def feed(texts: Texts, data: st.DataObject) -> None:
    """Several tokens at once, of each row as many as it likes."""
    width = data.draw(st.integers(1, 4))
    active = [
        data.draw(st.lists(st.booleans(), min_size=width, max_size=width)) for _ in texts.rows
    ]
    ids = torch.randint(1, WORDS, (len(texts.rows), width), generator=texts.rng)
    texts.lattice.feed(ids, torch.tensor(active))
    for row, tokens, goes in zip(texts.rows, ids.tolist(), active, strict=True):
        row += [token for token, own in zip(tokens, goes, strict=True) if own]


def fork(texts: Texts, data: st.DataObject) -> None:
    shape = len(texts.rows), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    tries = torch.randint(1, WORDS, shape, generator=texts.rng)
    lengths = None
    if data.draw(st.booleans()):
        lengths = [
            [data.draw(st.integers(0, len(row))) for _ in range(shape[1])] for row in texts.rows
        ]
    before = texts.lattice.columns
    found = texts.lattice.fork(tries, None if lengths is None else torch.tensor(lengths))
    assert texts.lattice.columns == before
    for row, text in enumerate(texts.rows):
        for place, own in enumerate(tries[row].tolist()):
            seen = text if lengths is None else text[: lengths[row][place]]
            torch.testing.assert_close(
                found[row, place], texts.state([*seen, *own]), rtol=1e-9, atol=1e-9
            )


@pytest.mark.parametrize("family", ["lfm2", "llama4", "bloom", "gpt_neo"])
def test_models_that_cannot_step_back_say_so(family: str) -> None:
    assert not Lattice(ready(family).model, context=64, eos_id=EOS).flexible


def test_a_window_that_no_layer_looks_at_is_not_taken_for_one() -> None:
    """transformers' cache would forget what its layers still look at."""
    shape = LlamaConfig(**SIZES, **ROTARY)
    shape.sliding_window = 6
    model = LlamaForCausalLM(shape).eval()
    assert not Lattice(model, context=64, eos_id=EOS).flexible


@pytest.mark.parametrize("family", ["mistral", "gemma3"])
def test_looking_for_windows_leaves_a_model_as_it_was(family: str) -> None:
    model = checkpoint(family).model.train()
    state = torch.random.get_rng_state()
    assert Lattice(model, context=64, eos_id=EOS).flexible
    assert all(module.training and not module._forward_pre_hooks for module in model.modules())
    assert (torch.random.get_rng_state() == state).all()


def test_gaps_do_not_pile_up() -> None:
    """Taken back again and again, a row keeps about as many columns as tokens."""
    with torch.inference_mode():
        texts = Texts(ready("qwen3").model)
        texts.begin([3, 5])
        for _ in range(30):
            for _ in range(4):
                texts.read([True, True])
            for row in (0, 1):
                texts.lattice.keep([row], [len(texts.rows[row]) - (3 + row % 2)])
                del texts.rows[row][-(3 + row % 2) :]
            texts.lattice.tidy(max(map(len, texts.rows)))
            assert texts.lattice.columns <= 1.5 * max(map(len, texts.rows))
