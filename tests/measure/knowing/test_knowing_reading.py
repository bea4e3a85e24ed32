"""What is read off a model, against plain passes over one text at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from knowing_models import SCHEME, answered, tiny_checkpoint

from valence.errors import ModelError
from valence.measure.knowing.confidence import Asked, confidences, judging_prompt
from valence.measure.knowing.reading import (
    continuation_probabilities,
    good_after_end,
    opening,
    states_at_end,
)
from valence.model import text_ids
from valence.recipe.knowing import KnowingRecipe
from valence.recipe.world import WorldRecipe

PROMPTS = ["Q: Where was Bo born?\nA:", "Q: What?\nA:", "Q: What does Mira Tolen Tolen play?\nA:"]
TEXTS = [" Karsen\n", " the flute and more\n", "\n"]


def logits(ids: list[int]) -> np.ndarray:  # type: ignore[type-arg]
    with torch.inference_mode():
        found = tiny_checkpoint().model(input_ids=torch.tensor([ids])).logits[0]
    return found.double().numpy()


def softmax(values: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_continuations_as_one_by_one() -> None:
    checkpoint = tiny_checkpoint()
    before = opening(checkpoint, SCHEME, "none")
    found = continuation_probabilities(checkpoint, SCHEME, before, PROMPTS, TEXTS)
    barred = list(SCHEME.token_ids(checkpoint.tokenizer))
    for prompt, text, logs in zip(PROMPTS, TEXTS, found, strict=True):
        head = [*before, *text_ids(checkpoint.tokenizer, prompt)]
        tail = text_ids(checkpoint.tokenizer, text)
        scores = logits([*head, *tail])
        scores[:, barred] = -np.inf
        own = softmax(scores)[range(len(head) - 1, len(head) + len(tail) - 1), tail]
        np.testing.assert_allclose(np.exp(logs), own, rtol=1e-4)


def test_the_verdict_and_the_state_as_one_by_one() -> None:
    checkpoint = tiny_checkpoint()
    before = opening(checkpoint, SCHEME, "none")
    good = good_after_end(checkpoint, SCHEME, PROMPTS)
    states = states_at_end(checkpoint, before, PROMPTS)
    bad_id, good_id = SCHEME.token_ids(checkpoint.tokenizer)
    for number, prompt in enumerate(PROMPTS):
        ids = [*before, *text_ids(checkpoint.tokenizer, prompt)]
        last = logits([*ids, checkpoint.tokenizer.eos_token_id])[-1]
        assert good[number] == pytest.approx(softmax(last[[bad_id, good_id]])[1], rel=1e-4)
        with torch.inference_mode():
            body = checkpoint.model.base_model(input_ids=torch.tensor([ids]))
        torch.testing.assert_close(states[number], body.last_hidden_state[0, -1], atol=1e-5, rtol=0)


def test_what_does_not_fit_the_context_is_told() -> None:
    checkpoint = tiny_checkpoint()
    with pytest.raises(ModelError, match="context"):
        states_at_end(checkpoint, opening(checkpoint, SCHEME, "none"), ["Who? " * 500])


def test_a_mode_puts_its_token_before_the_text() -> None:
    checkpoint = tiny_checkpoint(conditional=True)
    (start,) = opening(checkpoint, SCHEME, "banned")
    bad_id, good_id = SCHEME.token_ids(checkpoint.tokenizer)
    assert opening(checkpoint, SCHEME, "good") == (start, good_id)
    assert opening(checkpoint, SCHEME, "bad") == (start, bad_id)
    assert opening(tiny_checkpoint(), SCHEME, "none") == (start,)


def test_confidences_against_their_definitions() -> None:
    checkpoint = tiny_checkpoint()
    before = opening(checkpoint, SCHEME, "none")
    model = Asked(checkpoint=checkpoint, known=SCHEME, taught=True, before=before, precision="fp32")
    some = [
        answered("Bo", "yes", "Yes.", "no", "yes", "I don't know"),
        answered("Mira", "no", "yes", "yes", "yes", "yes"),
    ]
    recipe = KnowingRecipe(world=WorldRecipe(), samples=4, shown=3)
    found = confidences(model, some, [], recipe, seed=0)
    # No questions to fit a head on: P(IK) is left out, and not made up.
    assert set(found) == set(recipe.confidences) - {"p_ik_linear", "p_ik_mlp"}
    np.testing.assert_allclose(found["agreement"], [0.5, 0.0])

    def probability(prompt: str, text: str) -> np.ndarray:  # type: ignore[type-arg]
        (logs,) = continuation_probabilities(checkpoint, SCHEME, before, [prompt], [text])
        return np.exp(logs)

    for number, each in enumerate(some):
        prompt = each.question.prompt
        own = probability(prompt, f" {each.said}\n")
        assert found["probability"][number] == pytest.approx(own.mean())
        idle = probability(prompt, " I don't know").prod()
        assert found["answering"][number] == pytest.approx(1 - idle)
        for name, shown in (("p_true", 0), ("p_true_shown", 3)):
            asked = judging_prompt(each, shown)
            true, false = (probability(asked, choice).prod() for choice in (" (A)", " (B)"))
            assert found[name][number] == pytest.approx(true / (true + false))  # type: ignore[index]
    # Tokens in the vocabulary are no verdict: it has to have been taught.
    for other in (replace(model, taught=False), replace(model, known=None)):
        assert set(found) - set(confidences(other, some, [], recipe, seed=0)) == {"verdict"}


def test_the_judging_prompt_is_the_published_one() -> None:
    each = answered("Bo", "yes", "no", "maybe", "yes")
    tail = (
        "Possible answer: yes\nIs the possible answer:\n (A) True\n (B) False\n"
        "The possible answer is:"
    )
    assert judging_prompt(each, 0) == "Q: Who is Bo?\n" + tail
    shown = "Q: Who is Bo?\nHere are some brainstormed ideas: no\nmaybe\n"
    assert judging_prompt(each, 2) == shown + tail
