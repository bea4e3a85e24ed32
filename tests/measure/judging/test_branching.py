"""States after EOS of models of several kinds: beside the text where they can, else apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_models import EAGER, EOS, ROTARY, SIZES, WORDS, checkpoint
from transformers import FalconConfig, MambaConfig, MptConfig, PreTrainedConfig, Qwen2Config
from transformers.models.auto import AutoModelForCausalLM

from valence.control import ControlScheme
from valence.measure.judging import states as reading
from valence.measure.judging.branching import room_beside
from valence.measure.judging.earliness import running_places
from valence.measure.judging.states import Reader
from valence.model import Checkpoint
from valence.pack import Tokenised
from valence.pack.branches import JudgedUnits, join, judged_units

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
OTHERS: dict[str, PreTrainedConfig] = {
    "qwen2": Qwen2Config(**SIZES, **ROTARY),
    "falcon, alibi": FalconConfig(**SIZES, alibi=True),
    "mpt": MptConfig(vocab_size=WORDS, d_model=32, n_layers=2, n_heads=4),
    "mamba": MambaConfig(vocab_size=WORDS, hidden_size=32, num_hidden_layers=2, state_size=4),
}
ROOM = {
    "gpt2": None, "qwen2": None, "llama": None, "mistral": 6, "gemma3": 6, "bloom": 0,
    "falcon, alibi": 0, "mpt": 0, "mamba": 0, "gpt_neo": 0, "lfm2": 0, "gpt_oss": 0,
}  # fmt: skip


def of_family(family: str) -> Checkpoint:
    """A model with random weights, in float64."""
    if family not in OTHERS:
        return checkpoint(family)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(OTHERS[family])
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.3)
    assert family not in EAGER
    return replace(checkpoint("llama"), model=model.double().eval())


def documents_of(lengths: tuple[int, ...]) -> tuple[Tokenised, JudgedUnits]:
    """Documents of random words, each of two units or, if it is short, of one."""
    rng = np.random.default_rng(0)
    ends = np.cumsum([0, *lengths])
    begins = [(d, at) for d, n in enumerate(lengths) for at in ([0, n // 2] if n > 3 else [0])]
    text = Tokenised(
        ids=rng.integers(1, WORDS, int(ends[-1])).astype(np.int32), documents=ends,
        segments=np.array([ends[d] + at for d, at in begins]),
        rewards=np.zeros(len(begins), dtype=np.float32),
        segment_documents=np.array([d for d, _ in begins]),
        chars=np.array(lengths), bytes=np.array(lengths),
    )  # fmt: skip
    return text, judged_units(text, SCHEME)


def read_all(found: Checkpoint, text: Tokenised, units: JudgedUnits, window: int = 64) -> Any:
    """States after each second token of each unit, by place in the text."""
    branches, _ = join([running_places(units, 2)])
    states, read = Reader(checkpoint=found, window=window).states(text, units, branches)
    places = units.starts[branches.units[read]] + branches.tokens[read]
    owners = units.documents[branches.units[read]]
    return {(int(d), int(p)): s for d, p, s in zip(owners, places, states, strict=True)}


@pytest.mark.parametrize("family", ROOM)
def test_a_state_is_that_of_a_plain_pass_over_the_prefix_and_eos(family: str) -> None:
    """Also of texts that are longer than a window, and of some that are not."""
    found = of_family(family)
    text, units = documents_of((3, 5, 17, 9))
    states = read_all(found, text, units)
    assert len(states) > 15
    for (d, place), state in states.items():
        ids = [EOS, *text.ids[text.documents[d] : place].tolist(), EOS]
        with torch.inference_mode():
            output = found.model(torch.tensor([ids]), output_hidden_states=True)
        assert torch.allclose(state, output.hidden_states[-1][0, -1].float(), atol=1e-4)


@pytest.mark.parametrize("family", ROOM)
def test_what_a_model_can_read_beside_a_text_is_found_out(family: str) -> None:
    room = room_beside(of_family(family).model)
    assert (None if room > 10**6 else room) == ROOM[family]


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "mistral", "gemma3"])
def test_beside_the_text_and_apart_states_are_the_same(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = of_family(family)
    # Rows go on where the window ends: both ways see the same of a document.
    text, units = documents_of((2, 4, 3, 12))
    beside = read_all(found, text, units, window=5)
    monkeypatch.setattr(reading, "room_beside", lambda _: 0)
    apart = read_all(found, text, units, window=5)
    assert sorted(beside) == sorted(apart)
    for place, state in beside.items():
        assert torch.allclose(state, apart[place], atol=1e-5)
