"""Two scorers side by side on the same segments: where they agree, and where to read on."""

from __future__ import annotations

import numpy as np
from scipy import stats

from valence.annotate.read import Annotation
from valence.report.annotation_content import Agreement, Examples
from valence.report.bound import Bound
from valence.show.blocks import blocks, scattered
from valence.show.bounds import resolve_bound
from valence.show.choose import SPARE, read_examples, shown
from valence.show.pairs import GROUPS, Floats, Pairs
from valence.show.ranking import Ranking, bootstrap, correlation

RESAMPLES = 1000


def agree(
    annotation: Annotation,
    first: str,
    second: str,
    *,
    bound_first: Bound,
    bound_second: Bound,
    examples: int = 3,
    seed: int = 0,
) -> Agreement:
    """Agreement of two scorers on the segments that both could score.

    The table and kappa (Cohen 1960) are counted over all of them; correlations, AUROC and the
    segments to read come from a seeded sample where there are more than `pairs.SAMPLE`. The
    interval of Spearman's correlation holds the ranks fixed. Raises `MissingFileError`, and
    `BoundError` where nothing is scored.
    """
    asked = bound_first, bound_second
    bounds = tuple(
        resolve_bound(annotation, name, bound)
        for name, bound in zip((first, second), asked, strict=True)
    )
    pairs, table_G = _read(annotation, (first, second), bounds, seed)
    table = table_G.sum(axis=0)
    x, y = pairs.x, pairs.y
    ranks = stats.rankdata(x), stats.rankdata(y)
    again = {"resamples": RESAMPLES, "seed": seed}
    return Agreement(
        first=first,
        second=second,
        bounds=(bounds[0], bounds[1]),
        asked=asked,
        segments=pairs.total,
        left_out=pairs.left_out,
        documents=pairs.documents,
        sampled=pairs.sampled,
        table=((int(table[0]), int(table[1])), (int(table[2]), int(table[3]))),
        kappa=bootstrap(table_G, _kappa, **again),
        spearman=correlation(ranks[0], ranks[1], pairs.group, **again),
        pearson=correlation(x, y, pairs.group, **again),
        auroc=(
            Ranking(x, y < np.float32(bounds[1])).measure().auroc,
            Ranking(y, x < np.float32(bounds[0])).measure().auroc,
        ),
        disagreements=_disagreements(annotation, (first, second), pairs, ranks, examples, seed),
    )


def _read(
    annotation: Annotation, names: tuple[str, str], bounds: tuple[float, ...], seed: int
) -> tuple[Pairs, Floats]:
    """The pairs, and by group of documents the table of bands: 00, 01, 10, 11."""
    pairs = Pairs(seed)
    table = np.zeros(GROUPS * 4, dtype=np.int64)
    for block in blocks(annotation, names):
        x, y = (block.rewards[name] for name in names)
        both, group = pairs.add(block, x, y)
        # In 32 bits, as control.ControlScheme compares.
        upper = [
            values[both] >= np.float32(bound) for values, bound in zip((x, y), bounds, strict=True)
        ]
        table += np.bincount(group * 4 + upper[0] * 2 + upper[1], minlength=GROUPS * 4)
    pairs.shrink()
    table_G = table.reshape(GROUPS, 4)
    return pairs, table_G[table_G.any(axis=1)].astype(np.float64)


def _kappa(tables: Floats) -> Floats:
    """Cohen's kappa of tables [R, 4]; NaN where both always say the same one band."""
    n = tables.sum(axis=1)
    same = (tables[:, 0] + tables[:, 3]) / n
    first, second = (tables[:, 2] + tables[:, 3]) / n, (tables[:, 1] + tables[:, 3]) / n
    chance = first * second + (1 - first) * (1 - second)
    return np.where(chance < 1, (same - chance) / (1 - chance), np.nan)


def _disagreements(
    annotation: Annotation,
    names: tuple[str, str],
    pairs: Pairs,
    ranks: tuple[Floats, Floats],
    examples: int,
    seed: int,
) -> tuple[Examples, ...]:
    """The segments whose ranks differ most, either way; equal differences are drawn by lot."""
    if len(pairs.x) == 0 or examples == 0:
        return ()
    apart = ranks[0] - ranks[1]
    lots = scattered(pairs.index, seed + 1)
    chosen = []
    for higher, lower, sign in ((*names, -1), (*names[::-1], 1)):
        order = np.lexsort((lots, sign * apart))[: examples * SPARE]
        order = order[sign * apart[order] < 0]
        title = f"{higher} ranks it much higher than {lower}"
        chosen.append((title, pairs.index[order].tolist()))
    wanted = [index for _, indices in chosen for index in indices]
    found = read_examples(annotation, names, wanted, pairs.firsts)
    return tuple(
        Examples(title=title, examples=shown(indices, found, examples))
        for title, indices in chosen
        if indices
    )
