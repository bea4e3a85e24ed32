"""What a packed row's tokens see: with a real model, exactly what they would see alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_stores import EOS, Told, make_store, plan_and_data, settings_of, verdict

from valence.model import create_model
from valence.pack import collate, positions_and_mask
from valence.recipe import ModelRecipe

RECIPE = ModelRecipe(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
    head_dim=16, intermediate_size=64, max_position_embeddings=64,
)  # fmt: skip
MODEL = create_model(RECIPE, 200, EOS, 0).eval()


def logits(ids: list[int], documents: list[int], forks: list[bool] | None = None) -> torch.Tensor:
    marked = None if forks is None else torch.tensor([forks])
    positions, mask = positions_and_mask(torch.tensor([documents]), marked)
    with torch.inference_mode():
        return MODEL(
            input_ids=torch.tensor([ids]), attention_mask=mask, position_ids=positions
        ).logits[0]


def alone(ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return MODEL(input_ids=torch.tensor([ids])).logits[0]


def test_a_second_document_is_as_if_it_were_alone() -> None:
    first, second = [EOS, 5, 6, 7], [EOS, 8, 9, 10, 11]
    found = logits(first + second, [0] * 4 + [1] * 5)
    torch.testing.assert_close(found[4:], alone(second), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:4], alone(first), atol=1e-5, rtol=0)


def test_what_stands_before_a_document_changes_nothing_after_it() -> None:
    second, documents = [EOS, 8, 9, 10], [0] * 4 + [1] * 4
    one = logits([EOS, 5, 6, 7, *second], documents)
    other = logits([EOS, 90, 91, 92, *second], documents)
    assert torch.equal(one[4:], other[4:])
    assert not torch.equal(one[:4], other[:4])


def test_forks_change_no_main_logits_and_see_their_prefix_and_themselves() -> None:
    main = [EOS, 5, 6, 7, 8, EOS, 9, 10]
    #          EOS 5  6  [F]  7  8  [F]  EOS 9 [F] 10
    ids = [EOS, 5, 6, EOS, 7, 8, EOS, EOS, 9, EOS, 10]
    forks = [at in (3, 6, 9) for at in range(len(ids))]
    found = logits(ids, [0] * 7 + [1] * 4, forks)
    without = logits(main, [0] * 5 + [1] * 3)
    torch.testing.assert_close(found[~torch.tensor(forks)], without, atol=1e-5, rtol=0)
    for place, prefix in ((3, [EOS, 5, 6]), (6, [EOS, 5, 6, 7, 8]), (9, [EOS, 9])):
        torch.testing.assert_close(found[place], alone([*prefix, EOS])[-1], atol=1e-5, rtol=0)


def test_rows_of_a_plan_are_seen_as_they_are_meant(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    docs = [[(4, 0.0), (5, -1.0), (3, 0.0)]] * 6
    store = make_store(tmp_path_factory.mktemp("mask"), docs)
    given = settings_of(60, 40, verdict=verdict())
    data = plan_and_data(store, Told(), given)[1]
    batch = collate([data[at] for at in range(len(data))])
    positions, mask = positions_and_mask(batch["documents"], batch["forks"])
    with torch.inference_mode():
        found = MODEL(
            input_ids=batch["input_ids"], attention_mask=mask, position_ids=positions
        ).logits
    assert found.isfinite().all()
    for row, ids in enumerate(batch["input_ids"].tolist()):
        for at in range(len(ids)):
            prefix = [
                ids[k]
                for k in range(at + 1)
                if batch["documents"][row, k] == batch["documents"][row, at]
                and (k == at or not batch["forks"][row, k])
            ]
            expected = alone(prefix)[-1]
            torch.testing.assert_close(found[row, at], expected, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_positions_count_main_tokens_and_nobody_sees_forks_or_other_documents(
    data: st.DataObject,
) -> None:
    length = data.draw(st.integers(1, 16))
    steps = data.draw(st.lists(st.booleans(), min_size=length, max_size=length))
    documents = np.cumsum(steps)
    forks = np.array(data.draw(st.lists(st.booleans(), min_size=length, max_size=length)))
    positions, mask = positions_and_mask(torch.tensor(documents)[None], torch.tensor(forks)[None])
    assert positions.dtype == torch.int64 and mask.shape == (1, 1, length, length)
    for q in range(length):
        before = [k for k in range(q) if documents[k] == documents[q] and not forks[k]]
        assert positions[0, q] == len(before)
        assert mask[0, 0, q].nonzero().flatten().tolist() == [*before, q]
    if not forks.any():
        plain = positions_and_mask(torch.tensor(documents)[None], None)
        assert torch.equal(plain[0], positions) and torch.equal(plain[1], mask)
