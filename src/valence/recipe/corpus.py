"""The parts of a recipe about text and its rewards: where they come from, how text is cut."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from valence.recipe.part import Name, Options, Part, Positive, Share
from valence.recipe.world import WorldRecipe


class Unformat(Part):
    """Deliberate style noise on Python text; the program stays the same."""

    shares: tuple[Share, ...] = (0.1, 0.4, 0.7)
    """Each file gets one of these shares of its lines messed up."""


class SegmentRecipe(Part):
    """What one reward belongs to: how a document is cut. A kind alone may stand for it."""

    kind: Literal["line", "sentence", "window", "document", "wtpsplit"] = "line"
    """`window`: a fixed number of tokens; `wtpsplit`: sentences found by a neural model."""
    language: str = "en"
    """`sentence`: the language's code, for its abbreviations."""
    tokens: Positive = 128
    """`window`: how many tokens each segment has."""
    tokenizer: str | None = None
    """`window`: a tokenizer.json or the directory of one; words and signs if not given."""
    model: str = "sat-3l-sm"
    """`wtpsplit`: a model by name, or its directory."""

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, data: Any) -> Any:
        return {"kind": data} if isinstance(data, str) else data


class CorpusRecipe(Part):
    """Which text, and how it is cut."""

    reader: Literal["stdlib", "files", "datasets", "world"] = "stdlib"
    """`stdlib`: the running Python's own library; `files`: what `paths` names; `datasets`: a
    data set of the Hugging Face hub, or a local one, streamed; `world`: generated facts."""
    paths: tuple[str, ...] = ()
    """Files, folders or globs for `files`: .jsonl, .csv, .parquet, .json with a list of objects,
    also .gz and .zst; any other file is one document of text. For `datasets` its name or path,
    alone."""
    config: str | None = None
    """`datasets`: which configuration."""
    split: str = "train"
    """`datasets`: which split."""
    revision: str | None = None
    """`datasets`: which revision, for input that stays the same."""
    text_column: str = "text"
    """The column or key that holds the text."""
    pair: tuple[str, str] | None = None
    """Two columns that hold text in place of `text_column`, the preferred one first: each row
    gives two documents, `ROW#chosen` and `ROW#rejected`, with the columns `pair` (the row's id)
    and `preferred`. Both are held out, or neither is."""
    id_column: str | None = None
    """The column that names a document; its file and row number if not given."""
    keep: tuple[str, ...] | None = None
    """Other columns to keep beside the text; all of them if not given, none for []."""
    max_document_chars: Positive = 10_000_000
    """A longer document is a failure, not a document."""
    max_chars: Positive | None = None
    """Take a seeded random part of the documents, of about this many characters."""
    valid_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of documents held out, chosen by a hash of their id."""
    segmenter: SegmentRecipe = SegmentRecipe()
    """What one reward belongs to."""
    world: WorldRecipe | None = None
    """`world`: which one; the default one if not given."""
    unformat: Unformat | None = None
    """Style noise to add, or null for the text as it is."""
    shard_chars: Positive = 1_000_000
    """Characters per shard: what a killed run loses at most, per process."""

    @model_validator(mode="after")
    def _paths_belong_to_a_reader(self) -> CorpusRecipe:
        if (self.reader in ("stdlib", "world")) != (not self.paths):
            raise ValueError("corpus.paths goes with `reader: files` or `datasets`, and only there")
        if self.reader == "datasets" and len(self.paths) != 1:
            raise ValueError("`reader: datasets` takes one name or path in corpus.paths")
        if self.world is not None and self.reader != "world":
            raise ValueError("corpus.world goes with `reader: world`")
        return self

    @model_validator(mode="after")
    def _a_pair_is_of_two_columns(self) -> CorpusRecipe:
        if self.pair is None:
            return self
        if self.pair[0] == self.pair[1]:
            raise ValueError("corpus.pair names two columns, the preferred one first")
        if self.reader in ("stdlib", "world"):
            raise ValueError("corpus.pair goes with rows: `reader: files` or `datasets`")
        return self


class Pretraining(Part):
    """The size of a pretraining run that the cost of rewards is put beside."""

    parameters: Annotated[float, Field(gt=0)]
    tokens: Annotated[float, Field(gt=0)]


class ScoreRecipe(Part):
    """Where rewards come from."""

    scorer: str | dict[str, Options | None] = "pep8"
    """A name from the table of scorers, or `package.module:factory` of your own; with options:
    `{regex: {patterns: [...]}}`."""
    name: Name | None = None
    """What these rewards are called beside others; the scorer's name if not given."""
    engine: Literal["local", "ray"] = "local"
    """`local`: this process or several; `ray`: a Ray cluster that sees the same files."""
    address: str | None = None
    """`ray`: the address of a running cluster; a local one is started if not given."""
    workers: Positive = 2
    """Processes that score (with `local`, 1 is this process itself); the result does not
    depend on it."""
    gpus: Annotated[float, Field(ge=0)] = 0.0
    """`ray`: GPUs, or a share of one, that each worker needs."""
    timeout: Annotated[float, Field(gt=0)] | None = 600.0
    """Seconds that one document may take."""
    max_failures: Annotated[float, Field(ge=0)] | None = None
    """More failed documents than this end with an error; below 1 it is a share of all."""
    pretraining: Pretraining | None = None
    """A run whose cost the ledger compares that of the rewards with."""

    @property
    def folder(self) -> str:
        """The name of these rewards as a folder name."""
        if self.name is not None:
            return self.name
        name = self.scorer if isinstance(self.scorer, str) else "".join(self.scorer)
        return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
