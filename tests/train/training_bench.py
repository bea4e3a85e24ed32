"""Learners and packed rows on the tokens of the tiny run, for any objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valence.control import ControlScheme
from valence.model import create_model, end_ids, load_tokenizer, start_ids
from valence.objective import build_objective
from valence.pack import PackedDataset, PackSettings, plan_pack
from valence.pack.tokens import TokenStore
from valence.recipe import Recipe, TrainRecipe, VerdictRecipe
from valence.store import read_json
from valence.train import Learner, Trained, train

SPECS: dict[str, Any] = {
    "mle": "mle",
    "filtering": {"filtering": {"share": 0.5}},
    "conditional": "conditional",
    "placebo": "placebo",
    "unlikelihood": {"unlikelihood": {"alpha": 0.5}},
    "soft": {"unlikelihood": {"soft": True}},
    "rwr": {"rwr": {"beta": 0.1}},
    "awr": {"awr": {"beta": 0.1, "alpha": 0.5}},
    "verdict": "verdict",
}
"""Every objective, with options that make a difference on the tiny corpus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What trainings of the tiny corpus need."""

    store: TokenStore
    tokenizer: Any
    scheme: ControlScheme
    recipe: Recipe

    def pair(
        self, spec: Any, *, verdict: VerdictRecipe | None = None, seed: int = 0, **options: Any
    ) -> tuple[Learner, PackedDataset]:
        """A learner with fresh weights, and the rows that its objective makes of the text."""
        if spec == "verdict":
            verdict = verdict or VerdictRecipe(readout="mlp")
        objective = build_objective(spec).settle(self.scheme, self.store.census())
        settings = PackSettings(
            text_tokens=self.recipe.train.tokens,
            block=self.recipe.train.block,
            seed=seed,
            feedback_from=0.0,
            verdict=verdict,
            start_ids=start_ids(self.tokenizer),
            end_ids=end_ids(self.tokenizer),
        )
        plan = plan_pack(self.store, objective, self.scheme, settings)
        control_ids = self.scheme.token_ids(self.tokenizer)
        data = PackedDataset(self.store, plan, objective, self.scheme, control_ids)
        model = create_model(self.recipe.model, len(self.tokenizer), 0, seed)
        return Learner(model, objective, control_ids=control_ids, verdict=verdict), data

    def fit(
        self,
        folder: Path,
        *,
        spec: Any = "conditional",
        log: Callable[[dict[str, Any]], None] = lambda entry: None,
        progress: Any = None,
        **changes: Any,
    ) -> tuple[Learner, Trained]:
        """Train from fresh weights."""
        learner, data = self.pair(spec)
        recipe: TrainRecipe = self.recipe.train.model_copy(update=changes)
        trained = train(
            learner, data, recipe, folder, seed=0, precision="fp32", on_log=log,
            on_progress=progress,
        )  # fmt: skip
        return learner, trained


def open_bench(run: Path, recipe: Recipe) -> Bench:
    """The bench on a finished run's annotation."""
    (tokens,) = [path for path in (run / "annotation" / "tokens").iterdir() if path.is_dir()]
    return Bench(
        store=TokenStore(tokens),
        tokenizer=load_tokenizer(run / "tokenizer"),
        scheme=ControlScheme.from_json(read_json(run / "scheme.json")["scheme"]),
        recipe=recipe,
    )
