"""Looking at a model while it trains: a few samples in every mode, scored like the final ones."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from valence.control import ControlScheme
from valence.data import Sample
from valence.guide.loop import asks_for, generate, modes_of
from valence.measure.rewards import measure_samples
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
    """A probe that samples `count` texts per mode and gives the recipe's metrics of them.

    It leaves no trace in the training: generators and dropout are as they were before.
    """
    plan = recipe.sample
    assert plan is not None, "checked early"
    checkpoint = Checkpoint(
        model=learner.model, tokenizer=tokenizer, scheme=scheme, segmenter=segmenter
    )

    asks = asks_for(tokenizer, [""], per_prompt=count, seed=recipe.seed)

    def probe(step: int) -> dict[str, float]:
        found: dict[str, float] = {}
        for mode in modes_of(scheme):
            written = generate(
                checkpoint,
                known,
                mode,
                asks,
                max_tokens=plan.max_tokens,
                temperature=plan.temperature,
                top_p=plan.top_p,
                batch=plan.batch,
            )
            samples = [
                Sample(
                    model="",
                    mode=mode,
                    seed=recipe.seed,
                    index=index,
                    prompt="",
                    text=each.text,
                    ended=each.ended,
                    tokens=each.tokens,
                )
                for index, each in sorted(written)
            ]
            for row in measure_samples(samples, recipe.measure):
                if row.value is not None:
                    found[f"{row.metric}/{mode}"] = row.value
        return found

    return probe
