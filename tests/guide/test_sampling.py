"""Our sampling parts against transformers' own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache, TemperatureLogitsWarper, TopPLogitsWarper

from valence.guide.band import NucleusProcessor
from valence.guide.cache import GrowingLayer, growing_cache
from valence.model import load_checkpoint
from valence.run import Result

IDS = torch.zeros(3, 1, dtype=torch.long)


@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([0.01, 1.0, 5.0]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    few=st.sampled_from([1, 8, 500]),
)
def test_the_nucleus_is_that_of_transformers_warpers(
    seed: int, spread: float, top_p: float, temperature: float, few: int
) -> None:
    scores = spread * torch.randn(3, 400, generator=torch.Generator().manual_seed(seed))
    scores[0, 7] = -torch.inf
    expected = TopPLogitsWarper(top_p)(IDS, TemperatureLogitsWarper(temperature)(IDS, scores))
    found = NucleusProcessor(temperature, top_p, few)(IDS, scores)
    # Where a sum meets top_p but for rounding, a token more or less may stay, or several
    # that weigh nothing.
    differing = expected.isfinite() ^ found.isfinite()
    mass = ((scores / temperature).softmax(-1) * differing).sum(-1)
    assert ((differing.sum(-1) <= 1) | (mass < 1e-5)).all()
    both = expected.isfinite() & found.isfinite()
    torch.testing.assert_close(found[both], expected[both])
    assert found.isfinite().any(-1).all()


def test_a_growing_cache_holds_what_a_concatenating_one_holds(tiny_run: Result) -> None:
    model = load_checkpoint(tiny_run.path / "models" / "mle").model
    ids = torch.randint(0, 300, (2, 90), generator=torch.Generator().manual_seed(0))
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


@pytest.mark.parametrize("batch", [2, 5])
def test_every_sample_is_written_whatever_the_batch_size(tiny_run: Result, batch: int) -> None:
    from valence.guide.loop import generate

    checkpoint = load_checkpoint(tiny_run.path / "models" / "conditional")
    assert checkpoint.scheme is not None
    found = generate(
        checkpoint, checkpoint.scheme, "good", count=5, max_tokens=6, batch=batch, top_p=0.9
    )
    assert len(list(found)) == 5
