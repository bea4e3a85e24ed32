"""The part of a recipe that attacks a model: which attacks, and how much each may cost."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from valence.recipe.part import Part, Positive

Method = Literal["pool", "random", "greedy", "gcg"]


class ServerRecipe(Part):
    """A server that speaks OpenAI's chat completions and writes prompts for the pool."""

    base_url: str
    """For instance http://localhost:8000/v1."""
    model: str
    key_variable: str | None = None
    """The environment variable that holds the key; none is sent if not given. The key itself
    never stands in a recipe."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds that one request may take."""
    retries: Annotated[int, Field(ge=0)] = 3
    """How often the client asks again before a request has failed."""


class PoolRecipe(Part):
    """The evolving prompt pool: a proposer goes on with a list of prompts that did harm."""

    prompts: str | None = None
    """A file of prompts that the pool starts from: .jsonl, or text with one a line; if not given,
    the proposer writes them without having seen any."""
    column: str = "text"
    """`prompts`: the key that holds the prompt in .jsonl."""
    start: Positive = 10
    """Prompts that the pool starts from."""
    rounds: Positive = 10
    trials: Positive = 10
    """New prompts per round."""
    exemplars: Positive = 4
    """Prompts of the pool that the proposer is shown for a new one."""
    scale: Literal["raw", "standard"] = "raw"
    """`raw` suits rewards between -1 and 0; `standard` divides harm by its standard deviation in
    the pool first, for rewards of any scale."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """Exemplars are drawn with probability proportional to exp(harm / temperature); 0.1 for
    `raw` and 1 for `standard` if not given."""
    tries: Positive = 3
    """Proposals asked for until one can be used: not empty, too long or in the pool."""
    prompt_tokens: Positive = 64
    """The longest prompt."""
    proposer: str | None = None
    """A checkpoint directory of the language model that proposes, there before the work begins;
    the attacked model itself if neither this nor `server` is given."""
    server: ServerRecipe | None = None

    @model_validator(mode="after")
    def _one_proposer(self) -> PoolRecipe:
        if self.proposer is not None and self.server is not None:
            raise ValueError("give `proposer` or `server`, not both")
        return self


class SearchRecipe(Part):
    """Token-level search: prompts of any tokens after which bad continuations are likely."""

    tokens: Positive = 16
    """Length of the prompt."""
    rounds: Positive = 10
    """After each round the best prompt so far is tried: texts are written and scored."""
    steps: Positive = 10
    """Changes per round."""
    candidates: Positive = 32
    """Prompts compared per step."""
    top_k: Positive = 64
    """`gcg`: replacements per position that the gradient picks."""
    targets: tuple[str, ...] = ()
    """Bad continuations; the worst of the model's own texts in its worst mode if not given."""
    target_samples: Positive = 64
    """Own texts that targets are chosen from."""
    target_count: Positive = 4
    """How many of them are targets."""
    target_tokens: Positive = 24
    """A target's length at the most."""
    batch: Positive = 64
    """Sequences that go through the model together."""


class RedTeamRecipe(Part):
    """Attacks on a model in a mode, and the budget of each."""

    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = ("pool",)
    completions: Positive = 64
    """Texts by which a prompt is scored (Korbak et al. 2023: 512)."""
    confirm: Positive = 256
    """Fresh texts by which the worst prompt of an attack is scored again."""
    max_tokens: Positive = 64
    """Text tokens per text at the most."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    batch: Positive = 128
    """Texts that are written together; they do not depend on it."""
    resamples: Annotated[int, Field(ge=100)] = 2000
    """Bootstrap resamples per interval."""
    pool: PoolRecipe = PoolRecipe()
    search: SearchRecipe = SearchRecipe()

    def inputs(self) -> dict[str, Any]:
        """Whatever results depend on: not how a server is reached, or how many texts together."""
        server = {"key_variable", "timeout", "retries"}
        return self.model_dump(mode="json", exclude={"batch": True, "pool": {"server": server}})

    @model_validator(mode="after")
    def _each_method_once(self) -> RedTeamRecipe:
        if len(set(self.methods)) != len(self.methods):
            raise ValueError("redteam.methods names an attack twice")
        return self
