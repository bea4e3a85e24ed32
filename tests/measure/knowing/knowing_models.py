"""A tiny model with a tokenizer of its own, and a world of facts for it."""

from __future__ import annotations

from functools import cache

from valence.control import ControlScheme
from valence.corpus.world import documents
from valence.measure.knowing.answering import Answered, graded
from valence.measure.knowing.questions import Question
from valence.model import Checkpoint, create_model, train_tokenizer
from valence.recipe import ModelRecipe
from valence.recipe.knowing import KnowingRecipe
from valence.recipe.world import WorldRecipe

WORLD = WorldRecipe(people=24, times=(1, 3))
SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,), level="document")
RECIPE = KnowingRecipe(
    world=WORLD,
    held_out=0.0,
    fit=0.3,
    taught=0.3,
    samples=3,
    shown=2,
    max_tokens=4,
    questions=12,
    teach=True,
)


@cache
def tiny_checkpoint(*, conditional: bool = False) -> Checkpoint:
    """A model with fresh weights, large enough that its answers differ."""
    texts = [document.text for document in documents(WORLD)]
    tokenizer = train_tokenizer(texts, 320, SCHEME, max_length=256)
    shape = ModelRecipe(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=32,
        max_position_embeddings=256,
    )
    model = create_model(shape, len(tokenizer), tokenizer.eos_token_id, 0)
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data *= 10
    return Checkpoint(
        model=model.eval(),
        tokenizer=tokenizer,
        scheme=SCHEME if conditional else None,
        segmenter="document",
    )


def question(name: str, *answers: str, times: int | None = None) -> Question:
    return Question(
        text=f"Who is {name}?",
        prompt=f"Q: Who is {name}?\nA:",
        answers=answers,
        times=times,
        group=name,
    )


def answered(name: str, said: str, *samples: str, times: int | None = None) -> Answered:
    """An answer to a question whose right one is `yes`."""
    return graded(question(name, "yes", times=times), said, samples, ["I don't know"])
