"""The part of a recipe about the verdict after EOS: where it is read, and against what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from valence.recipe.part import Part, Positive


class JudgingRecipe(Part):
    """How well a model judges what was said, also before all of it was."""

    shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.1, 0.25, 0.5, 0.75)
    """Shares of a unit's text tokens after which it is judged, beside the whole of it."""
    cut: Positive | None = 200
    """Also judge units longer than so many tokens after that many, against the whole: no numbers
    where the good or the bad ones of them are of fewer than ten documents."""
    stride: Positive | None = 1
    """Tokens between two running verdicts, which tell how early a bad unit is flagged; null: no
    running verdicts. Each costs a token of the pass over the text."""
    false_alarms: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of good units that the running verdict may flag: it sets the threshold, on the other
    half of the held-out documents."""
    fit: Literal["end", "share"] = "end"
    """Read-outs are fitted on states at the ends of training units, as the verdict is taught; a
    fifth of the documents decides how far they learn. `share`: and
    beside them others, each fitted on the states at the share where it reads."""
    bins: Positive = 15
    """Bins of the calibration error and the reliability plot."""

    @model_validator(mode="after")
    def _shares_ascend(self) -> JudgingRecipe:
        if list(self.shares) != sorted(set(self.shares)):
            raise ValueError("judging.shares must ascend, each once")
        return self
