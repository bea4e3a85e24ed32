"""A reader's states are those of each text alone, however the texts grew and shrank."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lettered import lettered, words
from small_models import checkpoint

from valence.errors import ControlError
from valence.guide.reader import Reader
from valence.model import backbone

TOKENS = st.lists(st.integers(5, 60), max_size=12)


@torch.no_grad()
def alone(tokens: list[int], window: int | None) -> torch.Tensor:
    used, eos = lettered(window=window), words().eos_token_id
    ids = torch.tensor([[eos, *tokens, eos]])
    return backbone(used.model)(input_ids=ids).last_hidden_state[0, -1]


@pytest.mark.parametrize("window", [None, 5])
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_states_are_those_of_each_text_alone(window: int | None, data: st.DataObject) -> None:
    reader = Reader(lettered(window=window))
    texts: dict[str, list[int]] = {}
    for _ in range(data.draw(st.integers(1, 6))):
        for key in data.draw(st.sets(st.sampled_from("abcd"), max_size=3)):
            known = texts.get(key, [])
            kept = data.draw(st.integers(0, len(known)))
            texts[key] = known[:kept] + data.draw(TOKENS)
        gone = data.draw(st.sets(st.sampled_from("abcd"), max_size=1)) & set(texts)
        with torch.inference_mode():
            reader.forget(sorted(gone))
        for key in gone:
            del texts[key]
        asked = {key: texts[key] for key in texts if data.draw(st.booleans())}
        if not asked:
            continue
        ends = {
            key: sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=1, max_size=3)))
            for key, text in asked.items()
        }
        with torch.inference_mode():
            found = reader.states(asked, ends)
        for states, (key, text) in zip(found, asked.items(), strict=True):
            for state, end in zip(states, ends[key], strict=True):
                expected = alone(text[:end], window)
                torch.testing.assert_close(state, expected, rtol=1e-9, atol=1e-9)


def test_only_what_is_new_is_read() -> None:
    reader = Reader(lettered())
    with torch.inference_mode():
        reader.states({"a": [7, 8, 9]}, {"a": [3]})
        first = reader.steps
        reader.states({"a": [7, 8, 9, 10]}, {"a": [4]})
    assert (first, reader.steps - first) == (3 + 1, 1 + 1)


def test_a_model_that_cannot_step_back_is_refused() -> None:
    with pytest.raises(ControlError, match="cannot take back"):
        Reader(checkpoint("lfm2"))
