"""The growing cache: it holds what a plain one holds, whatever its rows do."""

from __future__ import annotations

import torch
from small_models import CONFIGS, WORDS, checkpoint
from transformers import DynamicCache

from valence.guide.cache import GrowingLayer, growing_cache


def test_a_growing_cache_holds_what_a_concatenating_one_holds() -> None:
    model = checkpoint("qwen3").model
    ids = torch.randint(0, WORDS, (2, 90), generator=torch.Generator().manual_seed(0))
    plain, growing = DynamicCache(config=model.config), growing_cache(model)
    assert all(type(layer) is GrowingLayer for layer in growing.layers)
    with torch.inference_mode():
        for start, end in ((0, 5), (5, 6), (6, 80), (80, 81)):
            one, two = (
                model(input_ids=ids[:, start:end], past_key_values=cache).logits
                for cache in (plain, growing)
            )
            torch.testing.assert_close(one, two)
        for cache in (plain, growing):
            cache.crop(-30)
            cache.batch_select_indices(torch.tensor([1]))
        assert growing.get_seq_length() == 51
        one, two = (
            model(input_ids=ids[1:, 81:], past_key_values=cache).logits
            for cache in (plain, growing)
        )
    torch.testing.assert_close(one, two)
    for left, right in zip(plain.layers, growing.layers, strict=True):
        torch.testing.assert_close(left.keys, right.keys)


def test_layers_that_are_not_plain_stay_as_they_are() -> None:
    kinds = [type(layer) for layer in growing_cache(checkpoint("gemma3").model).layers]
    plain = [type(layer) for layer in DynamicCache(config=CONFIGS["gemma3"]).layers]
    assert kinds[0] is plain[0] is not GrowingLayer
    assert kinds[1] is GrowingLayer is not plain[1]


def states(rows: int, columns: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.randn(2, rows, 2, columns, 3, generator=torch.Generator().manual_seed(seed))
    return made[0], made[1]


def test_rows_join_at_the_right_and_leave() -> None:
    first, other = GrowingLayer(), GrowingLayer()
    first.update(*states(3, 40, 0))
    other.update(*states(2, 10, 1))
    layer = GrowingLayer()
    layer.join(first, torch.tensor([0, 2, 2, 1]))
    kept = first.keys[[0, 2, 2, 1]]
    assert (layer.keys == kept).all()
    # The last row takes the place of the second.
    layer.keep_rows(torch.tensor([1]), torch.tensor([3]), 3)
    layer.drop_columns(28)
    assert (layer.keys == kept[[0, 3, 2], :, 28:]).all()
    layer.join(other, torch.tensor([1]))
    assert layer.keys.shape == (4, 2, 12, 3)
    assert (layer.keys[3, :, 2:] == other.keys[1]).all()
    assert (layer.values[3, :, 2:] == other.values[1]).all()
    assert layer.values.isfinite().all()
    # On and on, over the end of the buffers.
    before = layer.keys.clone()
    new = states(4, 1, 2)
    for count in range(1, 100):
        keys, _ = layer.update(*new)
        assert keys.shape[-2] == 12 + count
    assert (layer.keys[:, :, :12] == before).all()
    assert (layer.keys[:, :, 12:] == new[0]).all()
