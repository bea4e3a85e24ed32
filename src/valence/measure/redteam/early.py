"""What attacks need and do not have, found before anything is written."""

from __future__ import annotations

from pathlib import Path

from valence.measure.redteam.server import check_server
from valence.measure.redteam.starting import read_prompts
from valence.model import check_checkpoint
from valence.recipe.redteam import RedTeamRecipe


def check_attacks(recipe: RedTeamRecipe) -> None:
    """Raise what attacks would raise later: prompts, a proposer's directory, a server's key.

    `MissingFileError`, `CorpusError`, `ModelError`, `MissingExtraError`, `RecipeError`.
    """
    if "pool" not in recipe.methods:
        return
    pool = recipe.pool
    if pool.prompts is not None:
        read_prompts(Path(pool.prompts), pool.column)
    if pool.proposer is not None:
        check_checkpoint(Path(pool.proposer))
    if pool.server is not None:
        check_server(pool.server)
