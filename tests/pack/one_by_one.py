"""Packing one token at a time, as slowly as it is said in words: the oracle of the renderer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tiny_stores import CONTROL_IDS, Docs

from valence.control import ControlScheme
from valence.objective.protocol import IGNORED
from valence.pack import Group, PackSettings
from valence.pack.order import Order

NAN = float("nan")


@dataclass
class Token:
    id: int
    document: int
    text: bool = False
    control: bool = False
    reward: float = NAN
    band: int = -1
    """The band whose token this stands under."""
    unit: int = -1
    """Place of the first text token of its unit."""
    fork: int = -1
    """Band of the verdict after this token."""


@dataclass
class Slow:
    """The rows of a group, and what was counted."""

    rows: list[list[tuple[int, int, int, bool, float]]] = field(default_factory=list)
    control: int = 0
    forks: int = 0
    left_out: int = 0
    padding: int = 0


def slow_rows(
    docs: Docs, objective: Any, scheme: ControlScheme, settings: PackSettings, group: Group
) -> Slow:
    """The rows of a group without draws: no dropout; verdicts, where there are any, in all
    documents, which then have no control token, at all places or at document ends.
    """
    stream = _stream(_texts(docs, objective, settings, group), objective, scheme, settings, group)
    places = [place for place, token in enumerate(stream) if token.text]
    end = group.skip + group.text
    first = places[group.skip - 1] if group.skip else 0
    last = len(stream) if end == len(places) else places[end - 1]
    found, at = Slow(), first
    while at < last:
        row: list[tuple[int, int, int, bool, float]] = []
        begin = stream[at]
        if begin.text and begin.band != -1:
            row.append((CONTROL_IDS[begin.band], IGNORED, begin.document, False, NAN))
            found.control += 1
        start = at
        while at < last and len(row) < settings.block:
            token = stream[at]
            target, reward = _target(stream, at, scheme, settings)
            row.append((token.id, target, token.document, False, reward))
            found.control += token.control
            if token.fork != -1:
                if token.unit >= start and len(row) < settings.block:
                    verdict = CONTROL_IDS[token.fork]
                    row.append((settings.eos_id, verdict, token.document, True, NAN))
                    found.forks += 1
                else:
                    found.left_out += 1
            at += 1
        while len(row) < settings.block:
            row.append((settings.eos_id, IGNORED, stream[-1].document + 1, False, NAN))
            found.padding += 1
        found.rows.append(row)
    return found


def _texts(docs: Docs, objective: Any, settings: PackSettings, group: Group) -> Any:
    """Segments (ids, reward) of the group's documents, those that are trained on."""
    firsts = np.cumsum([0, *(sum(size for size, _ in doc) for doc in docs)])
    order = Order(len(docs), settings.seed)
    texts = []
    for number in order.span(group.epoch, group.position, group.span).tolist():
        at, text = int(firsts[number]), []
        mean = _mean(docs[number])
        for size, reward in docs[number]:
            reward = float(np.float32(reward))
            judged = mean if objective.selects_documents else reward
            kept = group.phase == "plain" or objective.least is None or judged >= objective.least
            if kept and size:
                text.append((list(range(at + 3, at + 3 + size)), reward))
            at += size
        if text:
            texts.append(text)
    return texts


def _mean(doc: list[tuple[int, float]]) -> float:
    known = [(size, float(np.float32(reward))) for size, reward in doc if not math.isnan(reward)]
    total = sum(size for size, _ in known)
    return float(np.float32(sum(s * r for s, r in known) / total)) if total else NAN


def _band(reward: float) -> int:
    return -1 if math.isnan(reward) else int(reward >= 0)


def _stream(
    texts: Any, objective: Any, scheme: ControlScheme, settings: PackSettings, group: Group
) -> list[Token]:
    stream: list[Token] = []
    shows = objective.uses_control and group.phase == "feedback" and settings.verdict is None
    judges = settings.verdict is not None and group.phase != "plain"
    for document, text in enumerate(texts):
        stream += [Token(id=token, document=document) for token in settings.start_ids]
        whole = _band(_mean([(len(ids), reward) for ids, reward in text]))
        before, unit = None, -1
        for number, (ids, reward) in enumerate(text):
            by_document = scheme.level == "document"
            band = whole if by_document else _band(reward)
            begins = number == 0 or not by_document
            repeats = scheme.placement == "change" and before == band
            if begins and shows and band != -1 and not repeats:
                stream.append(Token(id=CONTROL_IDS[band], document=document, control=True))
            unit = len(stream) if begins else unit
            for token in ids:
                stream.append(
                    Token(
                        id=token, document=document, text=True, unit=unit,
                        reward=NAN if group.phase == "plain" else reward,
                        band=band if shows else -1,
                    )
                )  # fmt: skip
            at_end = number == len(text) - 1
            if judges and (at_end or settings.verdict.share == 1.0):  # type: ignore[union-attr]
                stream[-1].fork = band
            before = band
        stream += [Token(id=token, document=document) for token in settings.end_ids]
    return stream


def _target(
    stream: list[Token], at: int, scheme: ControlScheme, settings: PackSettings
) -> tuple[int, float]:
    following = stream[at + 1] if at + 1 < len(stream) else None
    if following is None or following.document != stream[at].document:
        return (IGNORED if settings.end_ids else settings.start_ids[0]), NAN
    if following.control and scheme.mask_loss:
        return IGNORED, NAN
    return following.id, following.reward
