"""The part of a recipe about what a model knows, and whether it knows that."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from valence.recipe.part import Name, Part, Positive, Seed, Share
from valence.recipe.world import WorldRecipe

Confidence = Literal[
    "verdict",
    "p_true",
    "p_true_shown",
    "probability",
    "agreement",
    "answering",
    "p_ik_linear",
    "p_ik_mlp",
]
CONFIDENCES: tuple[Confidence, ...] = get_args(Confidence)


class KnowingRecipe(Part):
    """Questions, and how a model's confidence in its answers is read."""

    name: Name = "world"
    """What the questions are called in the names of metrics."""
    world: WorldRecipe | None = None
    """A generated world to ask about; the same one as `corpus.world` of its training."""
    path: str | None = None
    """Instead of a world: questions in a .jsonl or .json file, each with `question`, `answers`
    (aliases; `answer` also does), and optionally `answerable` and `group`."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """`world`: `corpus.valid_share` of the run that taught it; what was held out taught nothing."""
    held_out_seed: Seed = 0
    """`world`: the first seed of that run."""
    fit: Share = 0.5
    """Share of people (or groups of questions) that read-outs are fitted on."""
    taught: Share = 0.0
    """Share of people that a model is or was taught about by answers.jsonl: nothing is fitted on
    them or measured of them. All measures are of those that are neither fitted on nor taught."""
    questions: Positive | None = None
    """Ask at most so many questions of each part, chosen by seed."""
    shots: Annotated[int, Field(ge=0)] = 0
    """Questions on people that are fitted on, with answers, to put before each question."""
    samples: Annotated[int, Field(ge=2)] = 10
    """Own answers to each question, at temperature 1."""
    shown: Annotated[int, Field(ge=1)] = 5
    """`p_true_shown`: how many of them the model sees when it judges."""
    max_tokens: Positive = 16
    """Tokens of an answer at the most; it ends at its first line break."""
    batch: Positive = 128
    """Answers that are written together."""
    confidences: tuple[Confidence, ...] = CONFIDENCES
    """`verdict`: the good token after EOS, of models that were taught it; `p_true`: a prompted
    (A) True against (B) False, `p_true_shown` after several own answers; `probability`: mean
    probability of the answer's tokens; `agreement`: share of own samples that agree; `answering`:
    what is not given to the abstention; `p_ik_*`: a read-out of the state at the end of the
    question."""
    target: Annotated[float, Field(ge=0, lt=1)] = 0.75
    """The confidence from which answering pays: wrong costs target / (1 - target)."""
    abstentions: Annotated[tuple[str, ...], Field(min_length=1)] = ("I don't know",)
    """What counts as abstaining; the first is what is taught."""
    teach: bool = False
    """Write answers.jsonl: the questions on people to be taught, with own answers and `target`
    times as many abstentions, so that who imitates what is good of it answers from `target` on."""
    reference: str | None = None
    """A questions.jsonl of an earlier measure: what that model knew is what can be known."""

    @model_validator(mode="after")
    def _makes_sense(self) -> KnowingRecipe:
        if (self.world is None) == (self.path is None):
            raise ValueError("give `world` or `path`, and one of them only")
        if self.shown > self.samples:
            raise ValueError("`shown` may not exceed `samples`")
        if self.teach and not self.taught:
            raise ValueError("`teach` needs people who are to be `taught`")
        return self
