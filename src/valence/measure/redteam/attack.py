"""The attacks of a recipe on one model in one mode, resumed where they stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from valence.control import ControlScheme
from valence.data import Findings
from valence.measure.redteam.attempt import Prompt, Reward, Stage, Victim, worst_of
from valence.measure.redteam.budget import Budget
from valence.measure.redteam.changes import Change
from valence.measure.redteam.findings import Labels, facts, found_by, without_attack
from valence.measure.redteam.journal import Journal, Round, json_lines
from valence.measure.redteam.local import LocalProposer
from valence.measure.redteam.objective import Objective
from valence.measure.redteam.pool import Pool, Unattacked
from valence.measure.redteam.proposer import Proposer
from valence.measure.redteam.random_prompts import RandomPrompts
from valence.measure.redteam.search import Search
from valence.measure.redteam.server import ServerProposer
from valence.measure.redteam.starting import read_prompts
from valence.measure.redteam.targets import find_targets
from valence.measure.redteam.tokens import Typeable
from valence.model import Checkpoint
from valence.precision import Precision
from valence.recipe import MetricRecipe
from valence.recipe.redteam import RedTeamRecipe
from valence.store import write_json, write_text

Progress = Callable[[int, int], None]


class Attack(Protocol):
    """What goes by rounds: number 0 is its start, `rounds` more follow."""

    @property
    def stage(self) -> Stage: ...

    @property
    def rounds(self) -> int: ...

    def play(self, number: int, past: Sequence[Round]) -> Round:
        """The round after the rounds `past`."""
        ...


@dataclass(slots=True, kw_only=True)
class _Work:
    """The journals in a directory, and how far all is."""

    path: Path
    inputs: dict[str, object]
    total: int
    on_progress: Progress | None
    done: int = 0
    journals: dict[str, Journal] = field(default_factory=dict)

    def open(self, name: str) -> Journal:
        """The journal of an attack, with what it holds already."""
        self.journals[name] = Journal(self.path / f"{name}.jsonl", {**self.inputs, "attack": name})
        return self.journals[name]

    def carry_out(self, name: str, attack: Attack, victim: Victim) -> Journal:
        """All rounds that are not there yet, and the worst prompt scored with fresh texts."""
        journal = self.open(name)
        self.advance(len(journal.rounds))
        for number in range(len(journal.rounds), attack.rounds + 1):
            journal.add(attack.play(number, journal.rounds))
            self.advance()
        if journal.confirmed is None:
            worst = worst_of(journal.attempts)
            attempts = victim.attempt(
                [] if worst is None else [worst.prompt],
                stage=Stage.CONFIRM,
                number=attack.stage,
                count=victim.recipe.confirm,
            )
            spent = sum((attempt.budget for attempt in attempts), Budget())
            journal.confirm(Round(attempts=tuple(attempts), budget=spent))
        self.advance()
        return journal

    def advance(self, count: int = 1) -> None:
        """So many more rounds are done."""
        self.done += count
        if self.on_progress is not None:
            self.on_progress(self.done, self.total)


def red_team(
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    mode: str,
    recipe: RedTeamRecipe,
    metric: MetricRecipe,
    reward: Reward,
    *,
    metric_name: str,
    model_name: str,
    seed: int,
    work: Path,
    depends: Mapping[str, Any] | None = None,
    prompts: Sequence[str] | None = None,
    precision: Precision = "fp32",
    proposer: Proposer | None = None,
    on_progress: Progress | None = None,
) -> Findings:
    """Attack a model in a mode by every method of the recipe.

    `reward` scores what the metric judges of texts, without their prompts. Rows
    `redteam_METHOD@METRIC` are the metric of the texts after the attack's worst prompt, fresh
    ones. Beside them: `_selected`, the score that it was chosen by; `_calls`, the budget;
    `_prompts`, how many were tried; `redteam_unprompted`, texts after no prompt. The control of
    the pool is `redteam_pool_control`, that of searches `redteam_search_control`: the worst of
    as many prompts that nobody searched for, where so many could be had (`_prompts` tells);
    `_mean` is the mean of them. `prompts` go before the recipe's file, `proposer` before the
    recipe's.

    `work` keeps a journal for each attack, so that an interrupted one goes on with the next
    round; prompts.jsonl and facts.json there are for readers. A journal is of one model and
    reward: `depends` says what results follow from and is not seen here (weights, the scorer's
    id), and one of anything else is refused. Raises `ModelError`, `ControlError`,
    `RecipeError`, `MissingFileError`, `MissingExtraError`, `CorpusError`, `ScorerError`,
    `RunExistsError`, `StoreError`.
    """
    victim = Victim(checkpoint, known, mode, recipe, metric, reward, seed, precision)
    labels = Labels(model_name, mode, metric_name, seed, metric.scale, recipe.resamples)
    if prompts is None and "pool" in recipe.methods and recipe.pool.prompts is not None:
        prompts = read_prompts(Path(recipe.pool.prompts), recipe.pool.column)
    inputs: dict[str, object] = {
        "recipe": recipe.inputs(),
        "metric": metric.model_dump(mode="json"),
        "prompts": None if prompts is None else list(prompts),
        "who": [model_name, mode, metric_name, seed, precision],
        "depends": dict(depends or {}),
    }
    place = _Work(path=work, inputs=inputs, total=_rounds(recipe), on_progress=on_progress)
    found = _unprompted(victim, place, labels)
    if "pool" in recipe.methods:
        found += _by_pool(victim, place, labels, prompts, proposer)
    searches: list[Change] = [method for method in recipe.methods if method != "pool"]
    if searches:
        found += _by_search(searches, victim, place, labels)
    _write_for_readers(place)
    return found


def _rounds(recipe: RedTeamRecipe) -> int:
    """Rounds, starts and confirmations of all attacks."""
    searches = sum(method != "pool" for method in recipe.methods)
    searches += searches > 0  # Their control.
    pools = 2 * ("pool" in recipe.methods)
    return 1 + pools * (recipe.pool.rounds + 2) + searches * (recipe.search.rounds + 2)


def _unprompted(victim: Victim, place: _Work, labels: Labels) -> Findings:
    """Texts after no prompt at all."""
    journal = place.open("unprompted")
    if not journal.rounds:
        nothing = Prompt(text="", ids=())
        attempts = victim.attempt(
            [nothing], stage=Stage.UNPROMPTED, number=0, count=victim.recipe.confirm
        )
        journal.add(Round(attempts=tuple(attempts), budget=attempts[0].budget))
    place.advance()
    (attempt,) = journal.attempts
    failures = sum(attempt.failures.values())
    return Findings(rows=(labels.row("unprompted", labels.score(attempt), failures),))


def _by_pool(
    victim: Victim,
    place: _Work,
    labels: Labels,
    prompts: Sequence[str] | None,
    proposer: Proposer | None,
) -> Findings:
    recipe = victim.recipe.pool
    pool = Pool(victim, recipe, proposer or _proposer(victim), prompts)
    journal = place.carry_out("pool", pool, victim)
    control = place.carry_out("pool_control", Unattacked(pool, journal.rounds), victim)
    # The control's start was written and scored for the pool.
    start = journal.rounds[0].budget
    return (
        found_by("pool", journal, labels, Budget())
        + found_by("pool_control", control, labels, start)
        + without_attack("pool_control_mean", control.attempts, labels)
    )


def _by_search(methods: Sequence[Change], victim: Victim, place: _Work, labels: Labels) -> Findings:
    recipe, checkpoint = victim.recipe.search, victim.checkpoint
    targets = find_targets(victim, recipe, place.open("targets"))
    objective = Objective(
        checkpoint,
        victim.known,
        victim.mode,
        targets.ids,
        batch=recipe.batch,
        precision=victim.precision,
    )
    rows = checkpoint.model.get_output_embeddings().weight.shape[0]
    typeable = Typeable(checkpoint.tokenizer, rows)
    found = Findings()
    for method in methods:
        search = Search(method, victim, recipe, objective, typeable)
        journal = place.carry_out(method, search, victim)
        found += found_by(method, journal, labels, targets.budget)
    control = place.carry_out("search_control", RandomPrompts(victim, recipe, typeable), victim)
    return (
        found
        + found_by("search_control", control, labels, Budget())
        + without_attack("search_control_mean", control.attempts, labels)
    )


def _proposer(victim: Victim) -> Proposer:
    """The proposer that the recipe names; the attacked model itself if it names none."""
    recipe = victim.recipe.pool
    if recipe.server is not None:
        return ServerProposer(recipe.server, max_tokens=recipe.prompt_tokens)
    if recipe.proposer is not None:
        return LocalProposer.load(Path(recipe.proposer), max_tokens=recipe.prompt_tokens)
    return LocalProposer(
        victim.checkpoint,
        victim.known,
        max_tokens=recipe.prompt_tokens,
        precision=victim.precision,
    )


def _write_for_readers(place: _Work) -> None:
    """Every prompt with its score, and what each attack cost."""
    rows = [
        {
            "attack": name,
            "round": number,
            "prompt": attempt.prompt.text,
            "ids": attempt.prompt.ids,
            "harm": attempt.harm,
            "count": len(attempt.rewards),
            "failures": attempt.failures,
            "objective": attempt.objective,
            "worst": attempt.worst,
        }
        for name, journal in place.journals.items()
        for number, found in enumerate(journal.rounds)
        for attempt in found.attempts
    ]
    write_text(place.path / "prompts.jsonl", json_lines(rows))
    write_json(place.path / "facts.json", facts(place.journals))
