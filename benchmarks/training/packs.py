"""Token stores of random tokens: documents of 400 tokens, segments of 12, one in four bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from valence.control import ControlScheme
from valence.objective import build_objective
from valence.objective.protocol import Objective
from valence.pack import PackedDataset, PackSettings, plan_pack
from valence.pack.arrays import MANIFEST, array_path, kinds_of
from valence.pack.tokens import TokenStore
from valence.recipe import VerdictRecipe
from valence.store import digest_files, write_json

DOCUMENT, SEGMENT, EOS = 400, 12, 0
SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,), dropout=0.1)


def random_store(directory: Path, vocabulary: int, tokens: int) -> TokenStore:
    """A store of `tokens` random tokens, in the format of `valence.pack.write_tokens`."""
    rng = np.random.default_rng(0)
    documents = -(-tokens // DOCUMENT)
    per_document = -(-DOCUMENT // SEGMENT)
    starts = np.arange(documents + 1) * DOCUMENT
    segments = (starts[:-1, None] + np.arange(per_document) * SEGMENT).ravel()
    id_bytes = 2 if vocabulary + 2 < 2**16 else 4
    kinds = kinds_of(id_bytes)
    arrays = {
        "ids": rng.integers(1, vocabulary, documents * DOCUMENT),
        "documents": starts,
        "document_segments": np.arange(documents + 1) * per_document,
        "segments": segments,
        "rewards": np.where(rng.random(len(segments)) < 0.25, -0.1, 0.0),
        "chars": np.full(documents, 4 * DOCUMENT),
        "bytes": np.full(documents, 4 * DOCUMENT),
    }
    directory.mkdir(parents=True)
    for name, kind in kinds.items():
        arrays[name].astype(kind).tofile(array_path(directory, name))
    paths = [array_path(directory, name) for name in kinds]
    counts = {"tokens": documents * DOCUMENT, "documents": documents, "segments": len(segments)}
    manifest = {**counts, "id_bytes": id_bytes, "straddling_tokens": 0}
    write_json(directory / MANIFEST, {**manifest, "digest": digest_files(paths)})
    return TokenStore(directory)


def packed(
    store: TokenStore, spec: object, control_ids: tuple[int, ...], *, tokens: int, block: int
) -> tuple[Objective, PackedDataset]:
    """An objective, and the rows that it makes of a store."""
    objective = build_objective(spec).settle(SCHEME, store.census())  # type: ignore[arg-type]
    verdict = VerdictRecipe() if spec == "verdict" else None
    settings = PackSettings(
        text_tokens=tokens,
        block=block,
        seed=0,
        feedback_from=0.0,
        verdict=verdict,
        start_ids=(EOS,),
        end_ids=(),
    )
    plan = plan_pack(store, objective, SCHEME, settings)
    return objective, PackedDataset(store, plan, objective, SCHEME, control_ids)
