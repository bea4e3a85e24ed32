"""The part of a recipe about a generated world of facts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from valence.recipe.part import Part, Positive, Seed, Share

MOST_PEOPLE = 100_000


class WorldRecipe(Part):
    """People with invented names, each with one town, craft, instrument, year and animal.

    A part of these facts stands in the documents, some of them often; the rest never does.
    """

    people: Annotated[int, Field(ge=4, le=MOST_PEOPLE)] = 400
    strangers: Share = 0.15
    """Share of people of whom nothing is ever told."""
    untold: Share = 0.2
    """Of the others: share of their facts that are never told."""
    times: tuple[Positive, ...] = (1, 2, 4, 8, 16)
    """In how many documents a fact that is told stands; equally many facts have each."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _something_is_told(self) -> WorldRecipe:
        if not self.times or self.strangers == 1 or self.untold == 1:
            raise ValueError("a world needs `times`, and some people and facts that are told")
        return self
