"""The models of an evaluation, and the labelled text that they are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from transformers import AutoConfig

from valence.annotate import Annotation
from valence.control import ControlScheme
from valence.errors import MissingFileError
from valence.model import load_tokenizer
from valence.pack import tokenise
from valence.recipe import ControlRecipe, EvaluationRecipe, MeasureRecipe
from valence.stages.annotation import some_documents, used_rewards
from valence.stages.measures import LabelledText
from valence.stages.subject import READOUT, Subject
from valence.store import digest, digest_files

LONGEST_WINDOW = 1024
"""Tokens of context that a loss is measured with, if nothing else is said."""

FITTED_CHARS = 600_000
"""Characters of labelled text on whose states read-outs are fitted."""

UNBOUNDED = 10**9
"""A context that a model without position embeddings would have."""


def check_models(recipe: EvaluationRecipe) -> None:
    """Raise `MissingFileError` or `ModelError` for what is no checkpoint, before any work."""
    for _, _, path in recipe.checkpoints():
        if not (path / "config.json").is_file():
            raise MissingFileError(
                "not a model directory (no config.json)",
                where=str(path),
                fix="Give a checkpoint directory, for instance runs/demo/models/conditional.",
            )
        load_tokenizer(path)
    if recipe.measure.labelled is not None:
        annotation = Annotation(Path(recipe.measure.labelled.annotation))
        used_rewards(annotation, recipe.measure.labelled.rewards)


def subjects(recipe: EvaluationRecipe) -> Iterator[Subject]:
    """Every checkpoint of an evaluation, one after the other."""
    for name, seed, path in recipe.checkpoints():
        yield Subject(
            name=name,
            seed=seed,
            label=name if seed == recipe.seed else f"{name}-seed{seed}",
            path=path,
            key=checkpoint_digest(path),
            window=recipe.measure.window or context_of(path),
        )


def checkpoint_digest(path: Path) -> str:
    """A digest of all that a model's answers depend on."""
    names = ["config.json", "tokenizer.json", "tokenizer_config.json", "valence.json", READOUT]
    files = [path / name for name in names if (path / name).is_file()]
    return digest_files([*files, *sorted(path.glob("*.safetensors"))])


def context_of(path: Path) -> int:
    """How many tokens of context a loss is measured with."""
    config = AutoConfig.from_pretrained(path, local_files_only=True).get_text_config()
    return min(getattr(config, "max_position_embeddings", None) or UNBOUNDED, LONGEST_WINDOW)


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
            some_documents(annotation, name, chars, held_out=side, seed=subject.seed), tokenizer
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
