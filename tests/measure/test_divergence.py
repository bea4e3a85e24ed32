"""KL from a reference: closed forms, enumeration of a tiny world, and other tokenizers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from tiny_checkpoints import SCHEME, TEXT, banned_by_hand, tiny_checkpoint

from valence.control import ControlScheme
from valence.data import Items, Sample
from valence.guide.loop import Ask, generate
from valence.guide.modes import hold
from valence.measure.ability.likelihood import passes
from valence.measure.divergence import LogLikelihoods, divergence, log_likelihoods
from valence.model import Checkpoint, text_ids


def sample(text: str, *, ended: bool = True, prompt: str = "") -> Sample:
    return Sample(
        model="r", mode="none", seed=0, index=0, prompt=prompt, text=text, ended=ended, tokens=1
    )


def likelihood(checkpoint: Checkpoint, mode: str, one: Sample, window: int = 128) -> float:
    found = log_likelihoods(checkpoint, SCHEME, mode, [one], window=window).nats[0]
    assert found is not None
    return found


def by_hand(checkpoint: Checkpoint, ids: list[int], counted: range) -> float:
    """log p of ids at the places, all special tokens but EOS banned."""
    control, eos = SCHEME.token_ids(checkpoint.tokenizer), checkpoint.tokenizer.eos_token_id
    with torch.no_grad():
        scores = checkpoint.model(torch.tensor([ids])).logits[0]
    return sum(
        float(banned_by_hand(scores[place - 1], control, eos)[ids[place]]) for place in counted
    )


def test_a_sample_counts_its_tokens_and_its_end() -> None:
    checkpoint = tiny_checkpoint()
    eos = checkpoint.tokenizer.eos_token_id
    ids = checkpoint.tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    whole = [eos, *ids, eos]
    ended = by_hand(checkpoint, whole, range(1, len(whole)))
    cut = by_hand(checkpoint, whole[:-1], range(1, len(whole) - 1))
    assert likelihood(checkpoint, "none", sample(TEXT)) == pytest.approx(ended, abs=1e-4)
    assert likelihood(checkpoint, "none", sample(TEXT, ended=False)) == pytest.approx(cut, abs=1e-4)
    empty = by_hand(checkpoint, [eos, eos], range(1, 2))
    assert likelihood(checkpoint, "none", sample("")) == pytest.approx(empty, abs=1e-5)
    assert likelihood(checkpoint, "none", sample("", ended=False)) == 0


def test_the_end_of_a_text_is_any_of_the_tokens_that_end_it() -> None:
    """A text does not tell by which of them it ended."""
    checkpoint = tiny_checkpoint()
    eos = checkpoint.tokenizer.eos_token_id
    _, good = SCHEME.token_ids(checkpoint.tokenizer)
    checkpoint.model.generation_config.eos_token_id = [eos, good]
    with torch.no_grad():
        first = checkpoint.model(torch.tensor([[eos]])).logits[0, 0].double().softmax(-1)
    (found,) = log_likelihoods(checkpoint, None, "none", [sample("")], window=128).nats
    assert found == pytest.approx(float((first[eos] + first[good]).log()), abs=1e-5)


def test_only_what_follows_the_prompt_is_counted() -> None:
    checkpoint = tiny_checkpoint()
    whole = likelihood(checkpoint, "none", sample(TEXT))
    head, tail = TEXT.splitlines(keepends=True)[0], TEXT.split("\n", 1)[1]
    first = likelihood(checkpoint, "none", sample(head, ended=False))
    rest = likelihood(checkpoint, "none", sample(tail, prompt=head))
    assert first + rest == pytest.approx(whole, abs=1e-4)


def test_in_a_mode_log_p_is_that_of_what_the_mode_samples() -> None:
    """All texts of a line-wise mode, followed step by step through the mode's own processor."""
    checkpoint = tiny_checkpoint(SCHEME)
    text = "The cat.\nA dog.\n"
    control = SCHEME.token_ids(checkpoint.tokenizer)
    forced, band = hold(checkpoint, control, "good")
    context = [checkpoint.tokenizer.eos_token_id, *forced]
    expected = 0.0
    steps: list[int] = []
    for line in text.splitlines(keepends=True):
        steps += [] if not steps else list(forced)
        steps += checkpoint.tokenizer(line, add_special_tokens=False)["input_ids"]
    for token in [*steps, checkpoint.tokenizer.eos_token_id]:
        with torch.no_grad():
            scores = checkpoint.model(torch.tensor([context])).logits[:, -1]
            expected += band(torch.tensor([context]), scores).log_softmax(-1)[0, token].item()
        context.append(token)
    assert likelihood(checkpoint, "good", sample(text)) == pytest.approx(expected, abs=1e-4)


def test_a_model_is_not_divergent_from_itself_and_another_is() -> None:
    one, other = tiny_checkpoint(seed=0), tiny_checkpoint(seed=1)
    samples = [sample(line) for line in TEXT.splitlines(keepends=True)]
    mine = log_likelihoods(one, SCHEME, "none", samples, window=128)
    theirs = log_likelihoods(other, SCHEME, "none", samples, window=128)
    options = {"data": "r", "model_name": "m", "mode": "none", "seed": 0, "resamples": 100}
    same = divergence(mine, mine, **options)  # type: ignore[arg-type]
    assert [row.metric for row in same.rows] == ["kl@r", "kl_per_token@r", "kl_per_byte@r"]
    assert all(row.value == 0 for row in same.rows)
    found = divergence(mine, theirs, **options)  # type: ignore[arg-type]
    steps = np.array(mine.nats, dtype=float) - np.array(theirs.nats, dtype=float)
    assert found.rows[0].value == pytest.approx(steps.mean())
    assert found.rows[1].value == pytest.approx(steps.sum() / sum(mine.tokens))
    assert found.rows[2].value == pytest.approx(steps.sum() / len(TEXT.encode()))
    items = found.evidence[0].items
    assert isinstance(items, Items) and items.tops == pytest.approx(steps)
    short = log_likelihoods(one, SCHEME, "none", samples[:1], window=128)
    with pytest.raises(ValueError, match="same samples"):
        divergence(short, theirs, **options)  # type: ignore[arg-type]


def test_the_estimate_covers_the_exact_divergence_of_two_one_token_worlds() -> None:
    """Samples of one token at the most: the sum over all texts is the exact divergence."""
    one, other = tiny_checkpoint(seed=0), tiny_checkpoint(seed=1)
    eos = one.tokenizer.eos_token_id
    control = SCHEME.token_ids(one.tokenizer)
    logs = []
    for checkpoint in (one, other):
        with torch.no_grad():
            scores = checkpoint.model(torch.tensor([[eos]])).logits[0, -1]
        logs.append(torch.from_numpy(banned_by_hand(scores, control, eos)))
    p, q = logs
    asks = [Ask(ids=(), seed=(0, number)) for number in range(1000)]
    written = dict(generate(one, SCHEME, "none", asks, max_tokens=1))
    kept = [written[n] for n in range(1000)]
    # A byte that is no text of its own cannot be read back, and is left out.
    samples = [sample(w.text, ended=w.ended) for w in kept if "�" not in w.text]
    mine = log_likelihoods(one, SCHEME, "none", samples, window=128)
    theirs = log_likelihoods(other, SCHEME, "none", samples, window=128)
    found = divergence(mine, theirs, data="r", model_name="m", mode="none", seed=0, resamples=500)
    spelt = torch.tensor(["�" not in one.tokenizer.decode([index]) for index in range(len(p))])
    weights = torch.where(spelt, p.exp(), 0.0)
    exact = float((weights * torch.where(p.isfinite(), p - q, 0.0)).sum() / weights.sum())
    row = found.rows[0]
    assert row.low is not None and row.high is not None
    assert row.low < exact < row.high


def test_what_a_tokenizer_cannot_spell_is_a_failure_and_not_a_number() -> None:
    reference = LogLikelihoods(nats=(-1.0, -2.0, None), tokens=(1, 2, 3), bytes=(4, 5, 6))
    model = LogLikelihoods(nats=(-3.0, None, -1.0), tokens=(1, 1, 1), bytes=(4, 5, 6))
    found = divergence(
        reference, model, data="r", model_name="m", mode="none", seed=0, resamples=100
    )
    assert [(r.value, r.count, r.failures) for r in found.rows] == [
        (2.0, 1, 2), (2.0, 1, 2), (0.5, 1, 2),
    ]  # fmt: skip
    assert LogLikelihoods.from_json(json.loads(json.dumps(asdict(reference)))) == reference


def test_placement_at_the_document_puts_one_token_at_the_start() -> None:
    scheme = ControlScheme(tokens=SCHEME.tokens, bounds=SCHEME.bounds, level="document")
    checkpoint = tiny_checkpoint(scheme)
    eos, good = checkpoint.tokenizer.eos_token_id, SCHEME.token_ids(checkpoint.tokenizer)[1]
    ids = checkpoint.tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    whole = [eos, good, *ids, eos]
    expected = by_hand(checkpoint, whole, range(2, len(whole)))
    assert likelihood(checkpoint, "good", sample(TEXT)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("window", [4, 7, 30])
@pytest.mark.parametrize("carried", [(), (99,)])
def test_passes_count_every_place_once_and_are_never_longer(
    window: int, carried: tuple[int, ...]
) -> None:
    ids = np.arange(100, 123)
    for counted in (np.arange(1, 23), np.array([3, 9, 22]), np.array([20, 22]), np.array([5])):
        found = passes(ids, counted, window=window, carried=carried)
        seen = np.concatenate([each.ids[each.counted] for each in found])
        assert sorted(seen.tolist()) == ids[counted].tolist()
        for each in found:
            assert len(each.ids) - 1 <= window and each.counted.min() >= 1


def test_a_mode_that_writes_no_tokens_between_sentences_can_say_several() -> None:
    """With control tokens that are not predicted, writing puts one at the start alone."""
    scheme = replace(SCHEME, mask_loss=True)
    checkpoint = tiny_checkpoint(scheme, segmenter="sentence")
    text = "The cat sat. A dog ran far."
    found = log_likelihoods(checkpoint, scheme, "good", [sample(text)], window=128)
    ids = text_ids(checkpoint.tokenizer, text)
    forced = scheme.token_ids(checkpoint.tokenizer)[-1]
    eos = checkpoint.tokenizer.eos_token_id
    with torch.no_grad():
        logits = checkpoint.model(torch.tensor([[eos, forced, *ids, eos]])).logits[0]
    control = scheme.token_ids(checkpoint.tokenizer)
    logs = [banned_by_hand(row, control, eos) for row in logits[1:-1]]
    expected = sum(row[token] for row, token in zip(logs, [*ids, eos], strict=True))
    assert found.nats[0] == pytest.approx(expected, rel=1e-4)
