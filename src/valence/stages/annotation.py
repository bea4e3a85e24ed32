"""Text and rewards: the corpus into shards, a reward per segment beside it, the bands."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from valence.annotate import Annotated, Annotation, annotate
from valence.control import ControlScheme, band_shares, resolve_bounds
from valence.corpus.readers import rank
from valence.errors import CorpusError
from valence.recipe import Quantile
from valence.stages.context import Context
from valence.store import digest, write_json


class AnnotationStages:
    """The annotation of a run, and the control scheme that follows from it."""

    def __init__(self, context: Context) -> None:
        self.recipe = context.recipe
        self.context = context
        self.name = self.recipe.score.folder
        self.path = context.path / "annotation"

    def annotate(self) -> None:
        """Corpus into shards, then one reward per segment beside it.

        Raises `CorpusError` if a split is empty or nothing could be scored.
        """
        found = annotate(
            self.path,
            self.recipe.score,
            self.recipe.corpus,
            seed=self.recipe.seed,
            rebuild=True,
            display=self.context.display,
        )
        _check(found, self.name)

    @cached_property
    def annotation(self) -> Annotation:
        """The run's annotation, once it is finished."""
        return Annotation(self.path)

    @cached_property
    def scheme(self) -> ControlScheme:
        """The control scheme with its bounds as rewards, from the training segments."""
        control = self.recipe.control
        rewards = np.concatenate([item.rewards for item in self.read(held_out=False)])
        bounds = [
            ("quantile", bound.quantile) if isinstance(bound, Quantile) else bound
            for bound in control.bounds
        ]
        scheme = ControlScheme(
            tokens=control.tokens,
            bounds=tuple(resolve_bounds(bounds, rewards)),
            level=control.level,
            placement=control.placement,
            dropout=control.dropout,
            mask_loss=control.mask_loss,
        )
        shares = band_shares(scheme, scheme.bands(rewards))
        write_json(
            self.context.path / "scheme.json", {"scheme": scheme.to_json(), "shares": shares}
        )
        return scheme

    def read(self, *, held_out: bool) -> Iterator[Annotated]:
        """The documents of one split with their rewards, in the seeded order of training."""
        found = self.annotation.read(self.name, held_out=held_out)
        yield from sorted(found, key=lambda item: rank(item.document.id, self.recipe.seed))

    @property
    def digest(self) -> str:
        """Digest of text and rewards; part of the inputs of whatever is made from them."""
        text, rewards = self.annotation.documents, self.annotation.rewards(self.name)
        return digest([text["digest"], rewards["digest"]])


def _check(annotation: Annotation, name: str) -> None:
    text, rewards = annotation.documents, annotation.rewards(name)
    held_out, documents = text["held_out"], text["documents"]
    if held_out == 0 or held_out == documents:
        raise CorpusError(
            f"{documents} documents, {held_out} of them held out: training and measuring"
            " each need at least one",
            where="corpus",
            fix="Give more documents, or another corpus.valid_share.",
        )
    if rewards["scored_segments"] == 0:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in rewards["failures"].items())
        raise CorpusError(
            f"every document was dropped: {name} could not score one ({kinds})",
            where="score",
            fix="Choose a scorer that fits this text.",
        )
