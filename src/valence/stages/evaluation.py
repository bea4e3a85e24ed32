"""The models of an evaluation, and the labelled text that they are given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from valence.annotate import Annotation
from valence.control import ControlScheme, read_scheme
from valence.errors import RecipeError
from valence.guide.modes import UNGUIDED, modes_of
from valence.guide.table import check_guides
from valence.measure.redteam import check_attacks
from valence.measure.scenario import Scenario, scenarios
from valence.model import check_checkpoint, load_tokenizer, start_ids
from valence.pack import tokenise
from valence.pack.marks import read_marks
from valence.recipe import ControlRecipe, EvaluationRecipe, MeasureRecipe
from valence.score.table import build_scorer
from valence.stages.annotation import some_documents, used_rewards
from valence.stages.asked import check_asked
from valence.stages.subject import UNBOUNDED, LabelledText, Subject, context_of, subject_of
from valence.store import digest

FITTED_CHARS = 600_000
"""Characters of labelled text on whose states read-outs are fitted."""


def check_models(recipe: EvaluationRecipe) -> None:
    """Raise for what cannot be measured, before any work: what is no checkpoint, unknown scorers
    and guides, modes that no model has, labelled text that is not there, attacks without what
    they need."""
    modes: list[str] = []
    asked = tuple(scenarios(recipe.sample, recipe.measure, recipe.seed))
    for _, _, path in recipe.checkpoints():
        check_checkpoint(path)
        own = modes_of(read_scheme(path))
        wanted = own if recipe.measure.modes is None else recipe.measure.modes
        _check_length(asked, path, load_tokenizer(path), [mode for mode in own if mode in wanted])
        modes += own
    check_asked(recipe.measure, modes)
    for metric in recipe.measure.metrics.values():
        build_scorer(metric.scorer)
    for guide in recipe.measure.guides.values():
        check_guides(guide)
    if recipe.measure.redteam is not None:
        check_attacks(recipe.measure.redteam)
    if recipe.measure.labelled is not None:
        annotation = Annotation(Path(recipe.measure.labelled.annotation))
        used_rewards(annotation, recipe.measure.labelled.rewards)


def _check_length(
    asked: Sequence[Scenario], path: Path, tokenizer: PreTrainedTokenizerFast, modes: Sequence[str]
) -> None:
    """Raise `RecipeError` for texts that a model cannot hold after what stands before them."""
    context = context_of(path, UNBOUNDED)
    band = any(mode not in UNGUIDED for mode in modes)
    for scenario in asked:
        start = start_ids(tokenizer)
        longest = max(len(ask.prompt(start, ())) for ask in scenario.asks(tokenizer, 0))
        room = context - band - longest
        tokens = scenario.settings.max_tokens
        if tokens > room:
            key = f"measure.scenarios.{scenario.name}.max_tokens" if scenario.name else ""
            raise RecipeError(
                f"is {tokens}, and {path} has a context of {context} tokens, of which"
                f" {context - room} are taken by the longest prompt and what is before it",
                where=key or "sample.max_tokens",
                fix="Give shorter prompts."
                if room < 1
                else f"Give {room} at the most, for instance --max-tokens {(room + 1) // 2}.",
            )


def subjects(recipe: EvaluationRecipe) -> Iterator[Subject]:
    """Every checkpoint of an evaluation, one after the other."""
    for name, seed, path in recipe.checkpoints():
        label = name if seed == recipe.seed else f"{name}-seed{seed}"
        yield subject_of(name, seed, path, label=label, window=recipe.measure.window)


def text_of(measure: MeasureRecipe, subject: Subject) -> LabelledText | None:
    """The labelled text of an evaluation in the tokens of a model; None if there is none."""
    if measure.labelled is None:
        return None
    annotation = Annotation(Path(measure.labelled.annotation))
    name = used_rewards(annotation, measure.labelled.rewards)
    scheme = subject.known or ControlScheme(
        tokens=ControlRecipe().tokens, bounds=measure.labelled.bounds
    )
    tokenizer = subject.tokenizer
    held_out, training = (
        tokenise(
            some_documents(annotation, name, chars, held_out=side, seed=subject.seed),
            tokenizer,
            marks=read_marks(annotation, name, held_out=side),
        )
        for side, chars in ((True, measure.loss_chars), (False, FITTED_CHARS))
    )
    return LabelledText(
        held_out=held_out,
        training=training,
        scheme=scheme,
        key=digest(
            [
                annotation.documents["digest"],
                annotation.rewards(name)["digest"],
                measure.loss_chars,
                scheme.to_json(),
                subject.seed,
            ]
        ),
    )
