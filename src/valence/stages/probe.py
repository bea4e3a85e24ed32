"""Looking at a model of a run while it trains, with the run's own metrics."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from valence.control import ControlScheme
from valence.measure.callback import logged
from valence.measure.look import look
from valence.measure.scenario import FREE, Scenario
from valence.model import Checkpoint
from valence.recipe import Recipe
from valence.train import Learner
from valence.train.watch import Probe


def make_probe(
    learner: Learner,
    tokenizer: PreTrainedTokenizerFast,
    scheme: ControlScheme | None,
    known: ControlScheme,
    recipe: Recipe,
    count: int,
    segmenter: str,
) -> Probe:
    """A probe that samples `count` texts per mode and gives the recipe's metrics of them."""
    assert recipe.sample is not None, "checked early"
    checkpoint = Checkpoint(
        model=learner.model, tokenizer=tokenizer, scheme=scheme, segmenter=segmenter
    )
    free = Scenario(name=FREE, prompts=("",), per_prompt=count, settings=recipe.sample)

    def probe(step: int) -> dict[str, float]:
        return logged(
            look(checkpoint, known, [free], recipe.measure, model_name="", seed=recipe.seed)
        )

    return probe
