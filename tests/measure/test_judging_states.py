"""A side branch at a prefix sees what a fresh pass over the prefix and EOS sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from judged_texts import TEXTS, alone, annotated, with_a_bias

from valence.control import read_known_scheme
from valence.guide.verdict import verdict_of
from valence.measure.judging import states as reading
from valence.measure.judging.earliness import running_places
from valence.measure.judging.prefixes import tokens_at
from valence.measure.judging.states import Reader
from valence.model import load_checkpoint, start_ids
from valence.pack import tokenise
from valence.pack.branches import join, judged_units
from valence.run import Result


@pytest.mark.parametrize("level", ["segment", "document"])
@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("row_tokens", [1, 10_000])
def test_a_branch_at_any_place_is_a_fresh_pass_over_the_prefix_and_eos(
    tiny_run: Result, level: Any, other: bool, row_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ROW_TOKENS", row_tokens)
    directory = tiny_run.path / "models" / "conditional"
    checkpoint, known = load_checkpoint(directory), read_known_scheme(directory)
    assert known is not None
    scheme = replace(known, level=level)
    checkpoint = with_a_bias(checkpoint) if other else checkpoint
    text = tokenise([annotated(each) for each in TEXTS], checkpoint.tokenizer)
    units = judged_units(text, scheme)
    numbers = np.arange(len(units.starts), dtype=np.int64)
    asked = [(numbers, tokens_at(share, units.sizes)) for share in (0.1, 0.5, 1.0)]
    branches, _ = join([*asked, running_places(units, 3)])
    reader = Reader(checkpoint=checkpoint, window=64)
    states, read = reader.states(text, units, branches)
    judges = {"verdict": verdict_of(checkpoint, scheme)}
    said = reader.probabilities(text, units, branches, judges)["verdict"]
    assert sorted(read.tolist()) == list(range(len(branches.units)))
    control_ids = scheme.token_ids(checkpoint.tokenizer)
    for state, number in zip(states, read, strict=True):
        unit = branches.units[number]
        begin = int(text.documents[units.documents[unit]])
        end = int(units.starts[unit] + branches.tokens[number])
        prefix = [*start_ids(checkpoint.tokenizer), *text.ids[begin:end].tolist()]
        expected, probability = alone(checkpoint, prefix, control_ids)
        assert torch.allclose(state, expected, atol=1e-4)
        assert said[number] == pytest.approx(probability, abs=1e-5)


def test_what_does_not_fit_into_a_row_is_not_a_number(tiny_run: Result) -> None:
    directory = tiny_run.path / "models" / "conditional"
    checkpoint, scheme = load_checkpoint(directory), read_known_scheme(directory)
    assert scheme is not None
    text = tokenise([annotated(each) for each in TEXTS], checkpoint.tokenizer)
    units = judged_units(text, replace(scheme, level="document"))
    numbers = np.arange(len(units.starts), dtype=np.int64)
    branches, (early, late) = join([(numbers, np.ones_like(numbers)), (numbers, units.sizes)])
    seen: list[tuple[int, int]] = []
    reader = Reader(checkpoint=checkpoint, window=16, on_progress=lambda *done: seen.append(done))
    judges = {"sum": lambda states: states.sum(-1).double().numpy()}
    said = reader.probabilities(text, units, branches, judges)["sum"]
    assert not np.isnan(said[early]).any()
    assert np.isnan(said[late]).tolist() == (units.sizes > 15).tolist()
    assert seen[-1][0] == seen[-1][1]
