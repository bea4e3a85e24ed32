"""Token stores of chosen tokens and rewards, and objectives that do as they are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from valence.control import NO_BAND, ControlScheme
from valence.pack import (
    PackedDataset,
    PackPlan,
    PackSettings,
    Tokenised,
    TokenStore,
    Units,
    plan_pack,
)
from valence.pack.arrays import MANIFEST, array_path, kinds_of
from valence.pack.order import Order
from valence.pack.render import Renderer, Rows
from valence.pack.stream import before_units, build_stream
from valence.recipe import VerdictRecipe
from valence.store import digest_files, write_json

EOS, BAD, GOOD = 0, 1, 2
SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
CONTROL_IDS = (BAD, GOOD)

Docs = list[list[tuple[int, float]]]
"""Documents as segments: number of text tokens, reward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An objective that keeps rewards of at least `least` and renders what it is told to."""

    name: str = "told"
    uses_control: bool = True
    reads_rewards: bool = True
    value_head: None = None
    least: float | None = None
    share: float | None = None
    selects_documents: bool = False
    shuffled: bool = False

    def select(self, rewards: Any, document_rewards: Any, lots: Any) -> Any:
        if self.share is not None:
            return lots < self.share
        if self.least is None:
            return None
        return (document_rewards if self.selects_documents else rewards) >= self.least

    def render(self, bands: Any, rng: np.random.Generator) -> Any:
        if not self.uses_control:
            return np.full_like(bands, NO_BAND)
        return rng.permutation(bands) if self.shuffled else bands


MLE = Told(name="mle", uses_control=False, reads_rewards=False)


def make_store(directory: Path, docs: Docs) -> TokenStore:
    """A store whose text tokens are 3, 4, 5, ...: each is there once, so it tells its place."""
    sizes = [size for doc in docs for size, _ in doc]
    return write_store(
        directory,
        ids=np.arange(sum(sizes)) + 3,
        sizes=np.array(sizes),
        counts=np.array([len(doc) for doc in docs]),
        rewards=np.array([reward for doc in docs for _, reward in doc]),
    )


def write_store(directory: Path, *, ids: Any, sizes: Any, counts: Any, rewards: Any) -> TokenStore:
    """A store of tokens [N], in segments of `sizes` [S], `counts` [D] of them a document."""
    segments = np.concatenate([[0], np.cumsum(sizes)])
    document_segments = np.concatenate([[0], np.cumsum(counts)])
    documents = segments[document_segments]
    lengths = np.diff(documents)
    arrays = {
        "ids": ids,
        "documents": documents,
        "document_segments": document_segments,
        "segments": segments[:-1],
        "rewards": rewards,
        "chars": lengths,
        "bytes": lengths,
    }
    kinds = kinds_of(4)
    directory.mkdir(parents=True, exist_ok=True)
    for name, kind in kinds.items():
        arrays[name].astype(kind).tofile(array_path(directory, name))
    digest = digest_files([array_path(directory, name) for name in kinds])
    totals = {"tokens": len(ids), "documents": len(counts), "segments": len(sizes)}
    manifest = {**totals, "id_bytes": 4, "straddling_tokens": 0, "digest": digest}
    write_json(directory / MANIFEST, manifest)
    return TokenStore(directory)


def settings_of(text_tokens: int, block: int, **options: Any) -> PackSettings:
    given = {"seed": 0, "start_ids": (EOS,), **options}
    return PackSettings(text_tokens=text_tokens, block=block, **given)


def plan_and_data(
    store: TokenStore, objective: Any, settings: PackSettings, scheme: ControlScheme = SCHEME
) -> tuple[PackPlan, PackedDataset]:
    plan = plan_pack(store, objective, scheme, settings)
    return plan, PackedDataset(store, plan, objective, scheme, CONTROL_IDS)


def rendered(
    store: TokenStore, objective: Any, plan: PackPlan, scheme: ControlScheme = SCHEME
) -> list[Rows]:
    """The rows of every group, in the order of the text."""
    renderer = Renderer(
        store=store,
        objective=objective,
        scheme=scheme,
        settings=plan.settings,
        control_ids=CONTROL_IDS,
        order=Order(store.documents, plan.settings.seed),
    )
    return [renderer.render(group, number) for number, group in enumerate(plan.groups)]


def text_targets(groups: list[Rows]) -> list[int]:
    """The text tokens that are predicted, in order; a fork's target is none."""
    found: list[int] = []
    for rows in groups:
        targets = rows.targets.reshape(-1)
        found += targets[targets > GOOD].tolist()
    return found


def verdict(share: float = 1.0, documents: float = 1.0) -> VerdictRecipe:
    return VerdictRecipe(share=share, documents=documents)


def interleave(
    tokenised: Tokenised, units: Units, bands: Any, eos_id: int, control_ids: Any
) -> tuple[Any, Any]:
    """EOS before each document, a control token before each unit; for text that is measured.

    `bands` [U]; `NO_BAND` puts no token. Returns the stream [M] and which of it is text [M].
    """
    before = before_units(units, bands, control_ids, len(tokenised.ids))
    stream = build_stream(tokenised, before, (eos_id,), ())
    is_text = np.zeros(len(stream.ids), dtype=np.bool_)
    is_text[stream.places] = True
    return stream.ids, is_text
