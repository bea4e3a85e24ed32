"""Text and rewards: the corpus into shards, a reward per segment beside it, the bands."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from transformers import PreTrainedTokenizerFast

from valence.annotate import Annotated, Annotation, annotate
from valence.annotate.run import CORPUS
from valence.control import ControlScheme, Rewards, band_shares, resolve_bounds
from valence.corpus.readers import rank
from valence.display import shown_stage
from valence.errors import CorpusError, MissingFileError, RunExistsError
from valence.pack.tokens import TokenStore, write_tokens
from valence.recipe import ControlRecipe, Quantile
from valence.stages.context import Context
from valence.store import RunDirectory, digest, digest_files, read_json, write_json


class AnnotationStages:
    """The annotation of a run, its own or one made before, and what follows from it."""

    def __init__(self, context: Context) -> None:
        self.recipe = context.recipe
        self.context = context
        given = self.recipe.annotation
        self.path = context.path / "annotation" if given is None else Annotation(Path(given)).path

    def annotate(self) -> None:
        """Corpus into shards, then one reward per segment beside it, if it is the run's own.

        Raises `CorpusError` if a split is empty or nothing could be scored,
        `MissingFileError` if rewards are asked for that are not there.
        """
        if self.recipe.annotation is None and self.context.crew.leads:
            found = annotate(
                self.path,
                self.recipe.score,
                self.recipe.corpus,
                seed=self.recipe.seed,
                rebuild=True,
                display=self.context.display,
            )
            _check(found, self.recipe.score.folder)
        self.context.crew.wait()
        _check(self.annotation, self.name)

    @cached_property
    def annotation(self) -> Annotation:
        """The annotation, once it is finished."""
        return Annotation(self.path)

    @cached_property
    def name(self) -> str:
        """Which rewards of the annotation the run uses."""
        if self.recipe.annotation is None:
            return self.recipe.score.folder
        return used_rewards(self.annotation, self.recipe.rewards)

    @property
    def segmenter(self) -> str:
        """What one reward belongs to: the kind of segment."""
        described = yaml.safe_load((self.path / CORPUS).read_text(encoding="utf-8"))
        return str(described["segmenter"]["kind"])

    @cached_property
    def _training_rewards(self) -> Rewards:
        return np.concatenate(
            [item.rewards for item in self.annotation.read(self.name, held_out=False)]
        )

    def scheme(self, control: ControlRecipe) -> ControlScheme:
        """A control scheme with its bounds as rewards, from the training segments.

        Raises `BoundError` if a band would be empty.
        """
        bounds = [
            ("quantile", bound.quantile) if isinstance(bound, Quantile) else bound
            for bound in control.bounds
        ]
        scheme = ControlScheme(
            tokens=control.tokens,
            bounds=tuple(resolve_bounds(bounds, self._training_rewards)),
            level=control.level,
            placement=control.placement,
            share=control.share,
            dropout=control.dropout,
            mask_loss=control.mask_loss,
            cooldown=control.cooldown,
        )
        self._shares(scheme)
        return scheme

    def _shares(self, scheme: ControlScheme) -> dict[str, float]:
        return band_shares(scheme, scheme.bands(self._training_rewards))

    @cached_property
    def shared_scheme(self) -> ControlScheme:
        """The scheme of the recipe, which its models may vary; kept in scheme.json."""
        scheme = self.scheme(self.recipe.control)
        if self.context.crew.leads:
            said = {"scheme": scheme.to_json(), "shares": self._shares(scheme)}
            write_json(self.context.path / "scheme.json", said)
        return scheme

    def training_texts(self, max_chars: int) -> Iterator[str]:
        """Texts of training documents, a seeded share of them if they are more than that."""
        chars = self.annotation.documents["chars"]
        share = min(1.0, max_chars / max(chars, 1))
        lots = np.random.default_rng(self.recipe.seed)
        for item in self.annotation.read(self.name, held_out=False):
            if lots.random() < share:
                yield item.document.text

    def held_out(self, max_chars: int) -> list[Annotated]:
        """Held-out documents in seeded order, about so many characters of them."""
        return some_documents(
            self.annotation, self.name, max_chars, held_out=True, seed=self.recipe.seed
        )

    def tokens(self, tokenizer_path: Path, tokenizer: PreTrainedTokenizerFast) -> TokenStore:
        """The training text as tokens: beside the annotation, made once for each tokenizer."""
        key = digest_files([tokenizer_path / "tokenizer.json"])
        name = f"tokens/{self.name}-{key[:12]}"
        inputs = {"rewards": self.digest, "tokenizer": key}
        if self.context.crew.leads and _holds(self.path / name, inputs):
            self.context.display.skipped("tokenise")
        elif self.context.crew.leads:
            with (
                self._directory() as place,
                shown_stage(place, self.context.display, name, inputs, "tokenise") as stage,
            ):
                if stage is not None:
                    training = self.annotation.read(self.name, held_out=False)
                    facts = write_tokens(
                        stage.work,
                        training,
                        tokenizer,
                        expected=self.annotation.documents["documents"],
                        on_progress=stage.progress,
                    )
                    stage.facts.update(facts)
                    write_json(stage.work / "inputs.json", inputs)
        self.context.crew.wait()
        return TokenStore(self.path / name)

    def _directory(self) -> RunDirectory:
        try:
            return RunDirectory.open(self.path, None, marker_name=CORPUS, noun="annotation")
        except RunExistsError as error:
            raise RunExistsError(
                error.what,
                where=error.where,
                fix="It may be a run that tokenises the same text: give this command again when"
                " it has ended.",
            ) from None

    @property
    def digest(self) -> str:
        """Digest of text and rewards; part of the inputs of whatever is made from them."""
        text, rewards = self.annotation.documents, self.annotation.rewards(self.name)
        return digest([text["digest"], rewards["digest"]])


def some_documents(
    annotation: Annotation, name: str, max_chars: int, *, held_out: bool, seed: int
) -> list[Annotated]:
    """Documents of one split that have a reward, in seeded order, about so many characters."""
    kept: list[tuple[float, int, Annotated]] = []
    chars = 0
    for number, item in enumerate(annotation.read(name, held_out=held_out)):
        if np.isnan(item.rewards).all():
            continue
        order = rank(item.document.id, seed)
        heapq.heappush(kept, (-order, number, item))
        chars += len(item.document.text)
        # The last in order leave as long as enough is left without them.
        while chars - len(kept[0][2].document.text) >= max_chars:
            chars -= len(heapq.heappop(kept)[2].document.text)
    return [item for _, _, item in sorted(kept, key=lambda entry: -entry[0])]


def used_rewards(annotation: Annotation, named: str | None) -> str:
    """Which rewards of an annotation that was made before are used: those named, or its only
    ones. Raises `MissingFileError` if it does not have them for the text that is there.
    """
    known, stale = annotation.scorers, annotation.stale
    if named in stale or (named is None and not known and stale):
        raise MissingFileError(
            f"its rewards {', '.join([named] if named else stale)} are of another text",
            where=str(annotation.path),
            fix="Score it again: valence annotate DIR --scorer NAME.",
        )
    if named is not None:
        annotation.rewards(named)
        return named
    if len(known) != 1:
        raise MissingFileError(
            f"the annotation has {len(known)} finished rewards: {', '.join(known) or 'none'}",
            where=str(annotation.path),
            fix="Name one in the recipe: `rewards: NAME`."
            if known
            else "Score it first: valence annotate DIR --scorer NAME.",
        )
    return known[0]


def _holds(path: Path, inputs: dict[str, Any]) -> bool:
    """Whether a finished token store was made from these inputs; then no lock is needed."""
    made = path / "inputs.json"
    return made.is_file() and read_json(made) == inputs


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
