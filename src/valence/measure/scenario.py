"""Scenarios: what models are asked to write, from nothing or from prompts."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerFast

from valence.control import ControlScheme
from valence.corpus.readers import SUFFIXES, read_corpus
from valence.corpus.streams import suffix_of
from valence.data import Document, Sample
from valence.errors import CorpusError
from valence.guide import Ask, Guide, Ledger, generate
from valence.model import Checkpoint, text_ids
from valence.model.chat import chat_ids, chat_start, turn_ends
from valence.precision import Precision
from valence.recipe import CorpusRecipe, MeasureRecipe, SampleRecipe, ScenarioRecipe
from valence.store import digest

FREE = ""
"""The name of the scenario without prompts; its metrics have no suffix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Prompts with how often and how each is continued; one empty prompt asks for nothing.

    `judged`: whether what is scored is the text that was written, or the prompt with it.
    """

    name: str
    prompts: tuple[str, ...]
    per_prompt: int
    settings: SampleRecipe
    judged: Literal["text", "whole"] = "text"
    chat: bool = False
    system: str | None = None

    @property
    def count(self) -> int:
        """Samples of a model in a mode."""
        return len(self.prompts) * self.per_prompt

    @property
    def of_each(self) -> int | None:
        """Samples of each of several prompts; None where all samples have one in common."""
        return self.per_prompt if len(self.prompts) > 1 else None

    def prompt(self, index: int) -> str:
        """The prompt of a sample."""
        return self.prompts[index // self.per_prompt]

    def metric(self, name: str) -> str:
        """What a metric of this scenario is called in results."""
        return metric_at(name, self.name)

    def inputs(self) -> dict[str, object]:
        """Whatever samples of a model depend on: not how many are written together, nor what is
        judged of them."""
        return {
            "name": self.name,
            "prompts": digest(self.prompts),
            "per_prompt": self.per_prompt,
            "settings": self.settings.model_dump(mode="json", exclude={"batch", "count"}),
            "chat": [self.chat, self.system],
        }

    def asks(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> list[Ask]:
        """What each sample starts from, with a seed of its own, in order.

        Equal seeds are given to all models, so that differences are not of luck alone.
        """
        asks = []
        start = chat_start(tokenizer) if self.chat else None
        for number, prompt in enumerate(self.prompts):
            ids = (
                chat_ids(tokenizer, prompt, self.system)
                if self.chat
                else tuple(text_ids(tokenizer, prompt))
            )
            asks += [
                Ask(
                    ids=ids,
                    seed=(seed, zlib.crc32(self.name.encode()), number, copy),
                    start=start,
                )
                for copy in range(self.per_prompt)
            ]
        return asks


def draw(
    scenario: Scenario,
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    mode: str,
    *,
    model_name: str,
    called: str | None = None,
    seed: int,
    precision: Precision = "fp32",
    guides: Sequence[Guide] = (),
    ledger: Ledger | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Sample]:
    """What a model writes in a mode, in the order in which texts are finished.

    Samples have the mode that they are `called` by, if `guides` make it another. Raises
    what `generate` raises.
    """
    settings = scenario.settings
    written = generate(
        checkpoint,
        known,
        mode,
        scenario.asks(checkpoint.tokenizer, seed),
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        batch=settings.batch,
        precision=precision,
        guides=guides,
        ledger=ledger,
        ends=turn_ends(checkpoint.tokenizer) if scenario.chat else (),
        on_progress=on_progress,
    )
    for index, text in written:
        yield Sample(
            model=model_name,
            mode=called or mode,
            seed=seed,
            index=index,
            prompt=scenario.prompt(index),
            text=text.text,
            ended=text.ended,
            tokens=text.tokens,
            no_room=text.no_room,
        )


def by_index(samples: Iterable[Sample]) -> list[Sample]:
    """Samples in the order in which they were asked for."""
    return sorted(samples, key=lambda sample: sample.index)


def prompts_of(indices: Iterable[int], of_each: int | None) -> list[int] | None:
    """The prompt of each sample [N], where several have one of many in common; None elsewhere:
    samples are then independent."""
    if of_each is None or of_each == 1:
        return None
    return [index // of_each for index in indices]


def metric_at(name: str, scenario: str) -> str:
    """The name of a metric in a scenario."""
    return f"{name}@{scenario}" if scenario else name


def scenarios(sample: SampleRecipe | None, measure: MeasureRecipe, seed: int) -> Iterator[Scenario]:
    """The scenarios of a recipe, their prompts read.

    Raises what the readers of files raise, and `CorpusError` for a file without prompts.
    """
    if sample is not None:
        yield Scenario(name=FREE, prompts=("",), per_prompt=sample.count, settings=sample)
    for name, recipe in measure.scenarios.items():
        given = {
            key: value
            for key in ("max_tokens", "temperature", "top_p")
            if (value := getattr(recipe, key)) is not None
        }
        yield Scenario(
            name=name,
            prompts=read_prompts(recipe, seed),
            per_prompt=recipe.per_prompt,
            settings=(sample or SampleRecipe()).model_copy(update=given),
            judged=recipe.judged,
            chat=recipe.chat,
            system=recipe.system,
        )


def read_prompts(recipe: ScenarioRecipe, seed: int) -> tuple[str, ...]:
    """The prompts of a file, or a seeded part of them, in the order of the file."""
    corpus = CorpusRecipe(reader="files", paths=(recipe.prompts,), text_column=recipe.column)
    # A file of text is one document to its reader, and here a prompt a line.
    plain = suffix_of(recipe.prompts) not in SUFFIXES
    found: list[str] = []
    for item in read_corpus(corpus, seed):
        if not isinstance(item, Document):
            # Left out silently, another set of prompts would be measured than was given.
            raise CorpusError(
                f"a row holds no prompt ({item.failure.kind}: {item.failure.message})",
                where=item.id or recipe.prompts,
                fix=f"Mend or remove it, or name another column than `{recipe.column}`.",
            )
        found += item.text.splitlines() if plain else [item.text]
    found = [prompt for prompt in found if prompt]
    if not found:
        raise CorpusError("holds no prompt", where=recipe.prompts, fix="Give one with prompts.")
    if recipe.count is None or recipe.count >= len(found):
        return tuple(found)
    kept = sorted(random.Random(seed).sample(range(len(found)), recipe.count))
    return tuple(found[number] for number in kept)
