"""Text and rewards: the corpus into shards, a reward per segment beside it, the bands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property

import numpy as np

from valence import __version__
from valence.annotate.run import Annotated, annotate, read_annotated, write_documents
from valence.control import ControlScheme, band_shares, resolve_bounds
from valence.corpus.readers import corpus_stamp, read_corpus
from valence.corpus.segment import SEGMENTERS
from valence.recipe import Quantile
from valence.score.table import build_scorer
from valence.stages.context import Context
from valence.store import write_json


class AnnotationStages:
    """The annotation of a run, and the control scheme that follows from it."""

    def __init__(self, context: Context) -> None:
        self.recipe = context.recipe
        self.context = context
        name = self.recipe.score.scorer
        self.scorer = build_scorer(name)
        self.documents = context.path / "annotation" / "documents"
        self.rewards = context.path / "annotation" / "rewards" / self.recipe.score.folder

    def annotate(self) -> None:
        """Corpus into shards, then one reward per segment beside it."""
        corpus = self.recipe.corpus
        inputs = {
            "corpus": corpus.model_dump(mode="json"),
            "files": corpus_stamp(corpus),
            "seed": self.recipe.seed,
            "version": __version__,
            "python": sys.version,
        }
        with self.context.stage("annotation/documents", inputs, "read the corpus") as stage:
            if stage is not None:
                stage.facts.update(
                    write_documents(
                        read_corpus(corpus, self.recipe.seed),
                        SEGMENTERS[corpus.segmenter],
                        stage.work,
                        max_chars=corpus.max_chars,
                        held_out_share=corpus.valid_share,
                        seed=self.recipe.seed,
                        on_progress=stage.progress,
                    )
                )
        name = f"annotation/rewards/{self.rewards.name}"
        inputs = {
            "documents": self.context.place.facts("annotation/documents")["digest"],
            "scorer": asdict(self.scorer.id),
        }
        with self.context.stage(name, inputs, f"score with {self.recipe.score.scorer}") as stage:
            if stage is not None:
                stage.facts.update(
                    annotate(
                        self.documents,
                        stage.work,
                        self.scorer,
                        self.recipe.score.scorer,
                        workers=self.recipe.score.workers,
                        on_progress=stage.progress,
                    )
                )

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
        """The documents of one split with their rewards, in corpus order."""
        return read_annotated(self.documents, self.rewards, held_out=held_out)

    @property
    def digest(self) -> str:
        """Digest of text and rewards; part of the inputs of whatever is made from them."""
        return str(self.context.place.facts(f"annotation/rewards/{self.rewards.name}")["digest"])
