"""The parts of a recipe about what models can do, beside what they say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from valence.recipe.part import Name, Part, Positive


class TextRecipe(Part):
    """Text that no model was trained on. A path alone may stand for it."""

    path: str
    """A file, folder or glob: .jsonl, .csv, .parquet, also .gz and .zst; any other file is text."""
    text_column: str = "text"
    """The column or key that holds the text."""
    documents: Literal["auto", "file", "article", "paragraph"] = "auto"
    """How a file of text is cut into documents: not at all, at the headings of articles as in
    WikiText (` = Title = `), or at blank lines; `auto`: at such headings if there are several."""
    max_chars: Positive | None = None
    """Take documents in order until there are so many characters; all of them if not given."""

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, data: Any) -> Any:
        return {"path": data} if isinstance(data, str) else data


class ReferenceRecipe(Part):
    """A model that others should stay near to; its samples are drawn at temperature 1."""

    model: str
    """A directory, or owner/name of the Hugging Face hub."""
    revision: str | None = None
    """Which revision, for a model of the hub."""
    count: Positive = 4096
    """Samples of the reference; Korbak et al. 2023 take 4,096."""
    max_tokens: Positive = 256
    """Text tokens per sample at the most."""
    batch: Positive = 128


class AbilityRecipe(Part):
    """What models can do: on text of other kinds, and how far they are from a reference."""

    texts: dict[Name, TextRecipe] = Field(default_factory=dict)
    """Texts by name; their metrics are called METRIC@NAME."""
    reference: ReferenceRecipe | None = None
    """Measure the divergence of every model from this one."""


class HarnessRecipe(Part):
    """Tasks of lm-evaluation-harness, in every mode of every model."""

    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of tasks or groups, as lm-evaluation-harness knows them."""
    include_path: str | None = None
    """A folder of task files of your own."""
    limit: Positive | None = None
    """Items of each task, the first ones; all of them if not given."""
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    """Examples before each item; as the task says if not given."""
    control: Literal["segments", "start"] = "segments"
    """Where a mode's control token stands: as in training (before each segment, if it was so),
    or at the start of the prompt alone."""
    max_tokens: Positive = 256
    """Tokens to write at the most, where a task does not say."""
    batch: Positive = 16
    """Texts that are written together; they do not depend on it."""
