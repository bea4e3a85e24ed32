"""What a recipe says: its parts, their keys, types and defaults. Strict: no key is unknown."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[int, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
DESCRIBED = ConfigDict(
    extra="forbid",
    frozen=True,
    strict=True,
    allow_inf_nan=False,
    use_attribute_docstrings=True,
)


class Part(BaseModel):
    """A frozen part of a recipe that knows all its keys."""

    model_config = DESCRIBED


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

    reader: Literal["stdlib", "files", "datasets"] = "stdlib"
    """`stdlib`: the running Python's own library; `files`: what `paths` names; `datasets`: a
    data set of the Hugging Face hub, or a local one, streamed."""
    paths: tuple[str, ...] = ()
    """Files, folders or globs for `files`: .jsonl, .csv, .parquet, also .gz and .zst; any
    other file is one document of text. For `datasets` its name or path, alone."""
    config: str | None = None
    """`datasets`: which configuration."""
    split: str = "train"
    """`datasets`: which split."""
    revision: str | None = None
    """`datasets`: which revision, for input that stays the same."""
    text_column: str = "text"
    """The column or key that holds the text."""
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
    unformat: Unformat | None = None
    """Style noise to add, or null for the text as it is."""
    shard_chars: Positive = 1_000_000
    """Characters per shard: what a killed run loses at most, per process."""

    @model_validator(mode="after")
    def _paths_belong_to_a_reader(self) -> CorpusRecipe:
        if (self.reader == "stdlib") != (not self.paths):
            raise ValueError("corpus.paths goes with `reader: files` or `datasets`, and only there")
        if self.reader == "datasets" and len(self.paths) != 1:
            raise ValueError("`reader: datasets` takes one name or path in corpus.paths")
        return self


Options = dict[str, Any]


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


class Quantile(Part):
    """A bound given as a quantile of the rewards of the training segments."""

    quantile: Annotated[float, Field(gt=0, lt=1)]


class ControlRecipe(Part):
    """Control tokens and the bounds between their bands, worst band first."""

    tokens: tuple[str, ...] = ("<|bad|>", "<|good|>")
    """One token a band, in ascending order of reward."""
    bounds: tuple[float | Quantile, ...] = (0.0,)
    """A segment is in the upper band if its reward is at least the bound."""
    level: Literal["segment", "document"] = "segment"
    """Label each segment by its own reward, or a whole document by its mean over text tokens."""
    placement: Literal["every", "change"] = "every"
    """A token before every segment, or only where the band changes."""
    dropout: Share = 0.1
    """Share of control tokens left out in training."""
    mask_loss: bool = False
    """Do not train the model to predict the control tokens themselves."""

    @model_validator(mode="after")
    def _one_bound_between_two_bands(self) -> ControlRecipe:
        if len(self.tokens) < 2 or len(self.bounds) != len(self.tokens) - 1:
            raise ValueError(
                f"{len(self.tokens)} control tokens need {max(len(self.tokens) - 1, 1)} bounds"
                f" between them, and there are {len(self.bounds)}"
            )
        if len(set(self.tokens)) != len(self.tokens) or not all(self.tokens):
            raise ValueError("control tokens must be distinct and not empty")
        numbers = [bound for bound in self.bounds if isinstance(bound, float)]
        if any(low >= high for low, high in pairwise(numbers)):
            raise ValueError("control.bounds must ascend, from the worst band to the best")
        return self


class TokenizerRecipe(Part):
    """A byte-level BPE tokenizer, trained on the training documents."""

    vocab_size: Annotated[int, Field(ge=260)] = 4096
    """Text tokens and EOS; control tokens come on top."""


class ModelRecipe(Part):
    """A decoder from transformers' own classes, by its config's field names."""

    model_type: str = "qwen3"
    hidden_size: Positive = 256
    num_hidden_layers: Positive = 4
    num_attention_heads: Positive = 4
    num_key_value_heads: Positive = 4
    head_dim: Positive = 64
    intermediate_size: Positive = 640
    max_position_embeddings: Positive = 1024
    tie_word_embeddings: bool = True

    @model_validator(mode="after")
    def _heads_share_evenly(self) -> ModelRecipe:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"model.num_attention_heads ({self.num_attention_heads}) must be a multiple of"
                f" model.num_key_value_heads ({self.num_key_value_heads})"
            )
        return self


class TrainRecipe(Part):
    """How long and how every model is trained; the same for all of them."""

    tokens: Positive = 1_200_000
    """Text tokens each model sees; control tokens and EOS are not counted."""
    block: Annotated[int, Field(ge=8)] = 256
    """Tokens per training sequence."""
    batch: Positive = 16
    """Sequences per step."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """`muon`: Muon for matrices inside the layers, AdamW for all else."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """Peak rate of AdamW."""
    matrix_learning_rate: Annotated[float, Field(gt=0)] = 2e-2
    """Peak rate of Muon."""
    warmup: Share = 0.02
    """Share of steps in which the rate rises."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the rate falls after warm-up."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` times both before training and takes the faster."""
    log_steps: Positive = 10
    save_minutes: Annotated[float, Field(gt=0)] = 10.0
    """Time between checkpoints that a resumed run can continue from."""


class ModelEntry(Part):
    """One model of the run."""

    objective: str
    """A name from the table of objectives."""


class SampleRecipe(Part):
    """What is drawn from every model in every mode, starting from EOS."""

    count: Positive = 256
    max_tokens: Positive = 256
    """Text tokens per sample at the most."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    batch: Positive = 128


class MetricRecipe(Part):
    """A number made from a scorer's rewards of samples."""

    scorer: str | dict[str, Options | None]
    scale: float = 1.0
    """The reward is multiplied by this; -1000 turns reward per character into harm per 1,000."""
    weight: Literal["chars", "samples"] = "samples"
    """Average over characters (a ratio of sums) or over samples."""
    cut: Literal["none", "complete_lines", "complete_statements"] = "none"
    """What to cut from the end of a sample that ran into the length limit."""
    failures_as: Name | None = None
    """Also report the share of samples that the scorer could not score, under this name."""


class MeasureRecipe(Part):
    """Measures, fixed before looking."""

    metrics: dict[Name, MetricRecipe]
    headline: str
    """The metric that conclusions are drawn from."""
    loss_chars: Positive = 200_000
    """Held-out characters on which the loss is measured."""
    resamples: Annotated[int, Field(ge=100)] = 2000
    """Bootstrap resamples per interval."""

    @model_validator(mode="after")
    def _headline_is_a_metric(self) -> MeasureRecipe:
        if self.headline not in self.metrics:
            raise ValueError(
                f"measure.headline `{self.headline}` is not one of {sorted(self.metrics)}"
            )
        return self


class Recipe(Part):
    """One run: corpus, score, control, tokenizer, models, training, samples, measures."""

    name: Name
    description: str = ""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    """One full set of models per seed; the first also seeds corpus order and tokenizer."""
    corpus: CorpusRecipe = CorpusRecipe()
    score: ScoreRecipe = ScoreRecipe()
    control: ControlRecipe = ControlRecipe()
    tokenizer: TokenizerRecipe = TokenizerRecipe()
    model: ModelRecipe = ModelRecipe()
    train: TrainRecipe = TrainRecipe()
    models: Annotated[dict[Name, ModelEntry], Field(min_length=1)]
    sample: SampleRecipe = SampleRecipe()
    measure: MeasureRecipe

    @model_validator(mode="after")
    def _sizes_agree(self) -> Recipe:
        longest = max(self.train.block, self.sample.max_tokens)
        if longest > self.model.max_position_embeddings:
            raise ValueError(
                f"train.block and sample.max_tokens may not exceed"
                f" model.max_position_embeddings ({self.model.max_position_embeddings})"
            )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds must be distinct")
        return self

    @property
    def seed(self) -> int:
        """The seed of everything that all models share."""
        return self.seeds[0]

    def label(self, model: str, seed: int) -> str:
        """The name that a model of a seed has in the run directory."""
        return model if len(self.seeds) == 1 else f"{model}-seed{seed}"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all trained models, in order."""
        return tuple(self.label(model, seed) for seed in self.seeds for model in self.models)

    def to_yaml(self) -> str:
        """The resolved recipe; `load_recipe` reads it back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
