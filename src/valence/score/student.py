"""A small distilled scorer: hashed n-grams and one table of weights, in NumPy alone.

`valence distill` makes the directory that this reads: `student.json` (what it is, its
calibration, a summary of its fidelity) and `weights.safetensors`. What it gives is on its
teacher's scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from valence.data import Document, Result, Score, ScorerId, Segment
from valence.errors import MissingFileError, ScorerError
from valence.score import features
from valence.score.features import Grams, chunks, grams
from valence.score.protocol import Ends, Item, Rewards
from valence.store import digest_files, read_json

FORMAT = 1
CARD, WEIGHTS = "student.json", "weights.safetensors"

Floats = npt.NDArray[np.float32]
Raw = Callable[[Grams], Floats]
"""From the features of texts [N] to numbers [N], higher is preferred, on no scale yet."""

TOKEN_OFFSET = np.float32(-5.0)
"""The log-odds that a token without weights is what lowers the reward."""


class Student:
    """A distilled scorer from its directory.

    `path` is the directory that `valence distill` wrote. Each segment is scored by its own
    bytes alone. Raises `MissingFileError` and `ScorerError`.
    """

    batch = 512

    def __init__(self, path: str) -> None:
        folder = Path(path)
        card = read_card(folder)
        tensors = read_weights(folder)
        self.id = ScorerId(
            name="student",
            version=str(FORMAT),
            digest=digest_files([folder / CARD, folder / WEIGHTS]),
        )
        self.meaning = str(card["meaning"])
        self.card = card
        self._bits = int(card["features"]["bits"])
        self._raw = raw_from(card["kind"], tensors, self._bits)
        self._knots = knots_from(card, where=str(folder / CARD))

    def score_arrays(self, texts: Sequence[str], ends: Sequence[Ends]) -> list[Rewards]:
        """Rewards of all texts at once: for each one array [S], S its number of segments."""
        pieces = [_pieces(text, marks.tolist()) for text, marks in zip(texts, ends, strict=True)]
        return self._rewards(pieces)

    def score_many(self, items: Sequence[Item]) -> list[list[Result]]:
        """For each document what `score` would return for it alone."""
        found = self._rewards(
            [
                [document.text[segment.start : segment.end] for segment in segments]
                for document, segments in items
            ]
        )
        return [[Score(value=value) for value in row.tolist()] for row in found]

    def _rewards(self, pieces: Sequence[Sequence[str]]) -> list[Rewards]:
        if not pieces:
            return []
        texts = [piece.encode("utf-8", "surrogatepass") for row in pieces for piece in row]
        return np.split(
            self.calibrated(self.raw(texts)),
            np.cumsum([len(row) for row in pieces[:-1]], dtype=np.int64),
        )

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """One reward per segment, in order."""
        return self.score_many([(document, segments)])[0]

    def raw(self, texts: Sequence[bytes]) -> Floats:
        """Numbers of UTF-8 texts [N] before calibration: higher is preferred."""
        return raw_of(self._raw, texts, self._bits)

    def calibrated(self, raw: Floats) -> Floats:
        """Rewards [N] on the teacher's scale; strictly rising with `raw` between the knots."""
        found: Floats = np.interp(raw, *self._knots).astype(np.float32)
        return found


def _pieces(text: str, ends: Sequence[int]) -> list[str]:
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def raw_of(raw: Raw, texts: Sequence[bytes], bits: int) -> Floats:
    """`raw` of the features of texts [N], chunk by chunk."""
    found = [raw(grams(part, bits)) for part in chunks(texts)]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)


def read_card(folder: Path) -> dict[str, Any]:
    """What `student.json` says; raises `MissingFileError` or `ScorerError` if it cannot be used."""
    if not (folder / CARD).is_file():
        raise MissingFileError(
            f"not a distilled scorer (no {CARD})",
            where=str(folder),
            fix="Make one first: valence distill ANNOTATION --out DIR.",
        )
    card = read_json(folder / CARD)
    wanted = {"format": FORMAT, "features": features.VERSION}
    found = (
        {"format": card.get("format"), "features": card.get("features", {}).get("version")}
        if isinstance(card, dict) and isinstance(card.get("features"), dict)
        else None
    )
    if found != wanted:
        raise ScorerError(
            f"a student of another kind: {found}, and this version reads {wanted}",
            where=str(folder / CARD),
            fix="Distil it again with this version of Valence.",
        )
    assert isinstance(card, dict)
    return card


def read_weights(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a student; raises `MissingFileError` or `ScorerError`."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise MissingFileError(
            "the weights are missing", where=str(path), fix="Copy the whole directory."
        )
    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise _broken(path, str(error)) from None


def knots_from(card: Mapping[str, Any], *, where: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The calibration: raw numbers and rewards [K], both ascending; raises `ScorerError`."""
    try:
        raw, rewards = (
            np.asarray(card["calibration"][key], dtype=np.float64) for key in ("raw", "rewards")
        )
    except (KeyError, TypeError, ValueError):
        raise _broken(Path(where), "no calibration") from None
    fit = raw.ndim == 1 and raw.shape == rewards.shape and len(raw) > 1
    if not fit or not (np.diff(raw) > 0).all() or not (np.diff(rewards) >= 0).all():
        raise _broken(Path(where), "the knots of the calibration do not ascend")
    return raw, rewards


def _broken(path: Path, why: str) -> ScorerError:
    return ScorerError(
        f"a damaged student ({why})", where=str(path), fix="Distil it again, or copy it again."
    )


def raw_from(kind: str, tensors: Mapping[str, npt.NDArray[Any]], bits: int) -> Raw:
    """The function that a student's tensors stand for; raises `ScorerError` for a misfit."""
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    rows = 1 << bits
    if kind == "linear" and shapes == {"table": (rows, 2)}:
        return linear(np.asarray(tensors["table"], dtype=np.float32))
    if kind == "mlp" and set(shapes) == {"table", "hidden", "hidden_bias", "out"}:
        width = shapes["table"][-1]
        units = shapes["out"][-1:]
        if (
            shapes["table"] == (rows, width)
            and shapes["hidden"] == (2 * width, *units)
            and shapes["hidden_bias"] == shapes["out"] == units
        ):
            return mlp({name: np.asarray(t, dtype=np.float32) for name, t in tensors.items()})
    raise ScorerError(
        f"the weights of a `{kind}` student have the shapes {shapes}",
        where=WEIGHTS,
        fix="Distil it again, or copy it again.",
    )


def _without_none(table: Floats) -> Floats:
    """A copy in which bucket 0, which stands for no feature, has no weight."""
    kept = np.array(table, dtype=np.float32, order="C")
    kept[0] = 0
    return kept


def _exp(z: Floats) -> Floats:
    """Neither 0 nor infinite, in float32."""
    found: Floats = np.exp(np.clip(z, -60, 60))
    return found


def linear(table: Floats) -> Raw:
    """Two weights a bucket: one for the text as a whole, one for its worst token.

    With u and z the sums of a token's weights, a text of tokens t = 1 … T has
    -(Σ u_t / √T + log Σ exp(z_t + `TOKEN_OFFSET`)): the second term is a soft maximum, as one
    bad word is enough to make a long text bad.
    """
    pairs = _without_none(table).view(np.complex64)[:, 0]

    def raw(found: Grams) -> Floats:
        by_place = pairs[found.parts[0]]
        by_place += pairs[found.parts[1]]
        by_place += pairs[found.parts[2]]
        by_token = np.add.reduceat(by_place, found.starts - 1)
        by_token += pairs[found.words]
        by_token += pairs[found.pairs]
        odds = np.add.reduceat(_exp(by_token.imag + TOKEN_OFFSET), found.first)
        whole = np.add.reduceat(by_token.real, found.first)
        roots = np.sqrt(found.tokens()).astype(np.float32)
        return np.asarray(-(whole / roots + np.log(odds)), dtype=np.float32)

    return raw


def mlp(tensors: Mapping[str, Floats]) -> Raw:
    """A vector a bucket; tokens' vectors are summed (over √T) and maximised, then one layer.

    The layer is a rectifier over both poolings side by side, and a weighted sum of it.
    """
    table, out = _without_none(tensors["table"]), tensors["out"]
    hidden, bias = tensors["hidden"], tensors["hidden_bias"]

    def raw(found: Grams) -> Floats:
        by_place = table[found.parts[0]]
        by_place += table[found.parts[1]]
        by_place += table[found.parts[2]]
        by_token = np.add.reduceat(by_place, found.starts - 1, axis=0)
        by_token += table[found.words]
        by_token += table[found.pairs]
        whole = np.add.reduceat(by_token, found.first, axis=0)
        whole /= np.sqrt(found.tokens()).astype(np.float32)[:, None]
        pooled = np.concatenate([whole, np.maximum.reduceat(by_token, found.first)], axis=1)
        # einsum, for a product of matrices may round differently for other numbers of rows.
        units = np.maximum(np.einsum("nw,wu->nu", pooled, hidden) + bias, 0)
        return np.asarray(-np.einsum("nu,u->n", units, out), dtype=np.float32)

    return raw
