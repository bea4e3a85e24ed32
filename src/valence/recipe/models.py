"""The parts of a recipe about its models: control tokens, sizes, training, what differs."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from valence.recipe.part import Name, Options, Part, Positive, Share


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
    placement: Literal["every", "change", "random"] = "every"
    """A token before every segment, only where the band changes, or at random places in it."""
    share: Share = 0.05
    """`random`: the share of a segment's text tokens before which its token is put."""
    dropout: Share = 0.1
    """Share of control tokens left out in training."""
    mask_loss: bool = False
    """Do not train the model to predict the control tokens themselves."""
    cooldown: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The last share of training has no control tokens."""

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
    max_chars: Positive = 200_000_000
    """Of more training text than this, a seeded share is taken."""


class AdapterRecipe(Part):
    """Train small matrices beside the model's own (LoRA) and merge them in at the end."""

    rank: Positive = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """The update is scaled by alpha / rank."""
    dropout: Share = 0.0
    targets: tuple[str, ...] | None = None
    """Names of the modules that get one; every linear layer but the head if not given."""


OF_BASE = ("base", "revision", "adapter")
"""The keys of `model` that go with a model that exists; all others are sizes."""


class ModelRecipe(Part):
    """A model with fresh weights, by its config's field names, or one that exists (`base`)."""

    base: str | None = None
    """A directory or hub name of a causal language model to go on from; its own tokenizer and
    sizes are used, and the sizes below must not be given."""
    revision: str | None = None
    """`base` on the hub: which revision."""
    adapter: AdapterRecipe | None = None
    """`base`: train an adapter instead of all weights."""

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
    def _sizes_or_base(self) -> ModelRecipe:
        given = sorted(self.model_fields_set - set(OF_BASE))
        if self.base is not None and given:
            raise ValueError(f"model.base brings its own sizes; leave out {', '.join(given)}")
        if self.base is None and (self.adapter or self.revision):
            raise ValueError("model.adapter and model.revision go with model.base")
        return self

    @model_serializer(mode="wrap")
    def _without_what_base_brings(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = dump(self)
        return plain if self.base is None else {key: plain[key] for key in OF_BASE if key in plain}

    @model_validator(mode="after")
    def _heads_share_evenly(self) -> ModelRecipe:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"model.num_attention_heads ({self.num_attention_heads}) must be a multiple of"
                f" model.num_key_value_heads ({self.num_key_value_heads})"
            )
        return self


class TrainRecipe(Part):
    """How long and how a model is trained; the same for all but where an entry differs."""

    tokens: Positive = 1_200_000
    """Text tokens each model sees; control tokens and EOS are not counted."""
    block: Annotated[int, Field(ge=8)] = 256
    """Tokens per training sequence."""
    batch: Positive = 16
    """Sequences per step, on all devices together."""
    accumulate: Positive = 1
    """Parts in which a step's sequences go through the model, for less memory."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that prepare sequences ahead; 0: between steps."""
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
    compile: bool = False
    """Compile the model (for accelerators; on processors it does not pay)."""
    log_steps: Positive = 10
    save_minutes: Annotated[float, Field(gt=0)] = 10.0
    """Time between checkpoints that a resumed run can continue from."""
    save_steps: Positive | None = None
    """Steps between such checkpoints, besides."""
    sample_every: Annotated[float, Field(gt=0, lt=1)] | None = None
    """After each such share of the steps, sample and score as `measure` says, into the log."""
    sample_count: Positive = 32
    """`sample_every`: samples per mode."""
    report_to: tuple[str, ...] = ()
    """Loggers of transformers that get the log too: trackio, tensorboard, wandb, ..."""

    @model_validator(mode="after")
    def _parts_are_even(self) -> TrainRecipe:
        if self.batch % self.accumulate:
            raise ValueError(
                f"train.batch ({self.batch}) must be a multiple of train.accumulate"
                f" ({self.accumulate})"
            )
        return self


class VerdictRecipe(Part):
    """Teach what comes after EOS: a token that says whether what was said is good."""

    share: Share = 1.0
    """Share of the boundaries inside documents that are taught; document ends always are. All of
    them take a tenth more tokens and judge best (docs/results.md, `verdict`)."""
    documents: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of documents that are judged, where the objective puts control tokens: those stand
    without any, because the token before a segment would give its verdict away."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """How much one verdict counts in the loss; a text token counts 1."""
    readout: Literal["none", "mlp", "linear"] = "none"
    """A second read-out of the state after EOS, trained together with the model."""


class ModelEntry(Part):
    """One model of the run."""

    overrides: ClassVar[dict[str, type[Part]]] = {
        "control": ControlRecipe,
        "model": ModelRecipe,
        "train": TrainRecipe,
    }
    """The parts of the recipe of which an entry may set keys differently."""

    objective: str | dict[str, Options | None]
    """A name from the table of objectives; with options: `{unlikelihood: {alpha: 0.1}}`."""
    verdict: VerdictRecipe | None = None
    """Also teach the verdict after EOS."""
    feedback_from: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Train plainly up to this share of the text tokens, with the objective from there on."""
    control: Options = Field(default_factory=dict)
    """Keys of `control` that are different for this model (not `tokens`)."""
    model: Options = Field(default_factory=dict)
    """Keys of `model` that are different for this model."""
    train: Options = Field(default_factory=dict)
    """Keys of `train` that are different for this model."""
    base_name: Name | None = None
    """The entry that a sweep made this one from; reports group by it."""
    axes: Options = Field(default_factory=dict)
    """What the sweep set, by dotted key, for reports; the settings themselves are above."""

    @model_validator(mode="after")
    def _one_objective(self) -> ModelEntry:
        if not isinstance(self.objective, str) and len(self.objective) != 1:
            raise ValueError("objective is one name, or one name with its options")
        return self

    @property
    def objective_name(self) -> str:
        """The name of the objective, without its options."""
        return self.objective if isinstance(self.objective, str) else next(iter(self.objective))
