"""What is said about an annotation, against plain loops, NumPy, SciPy and scikit-learn."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from valence.annotate.read import Annotation
from valence.annotate.run import annotate
from valence.annotate.shards import Row, document_row, documents_table, rewards_table
from valence.control import ControlScheme, resolve_bounds
from valence.corpus.segment import line_ends
from valence.data import Document, Failure, Mark, Unread
from valence.errors import BoundError, MissingFileError, StoreError
from valence.recipe import CorpusRecipe, ScoreRecipe
from valence.report.bound import Bound, parse_bound, percent
from valence.show.agreement import agree
from valence.show.blocks import blocks
from valence.show.calibration import calibrate
from valence.show.choose import CONTEXT, LONGEST
from valence.show.distribution import Distribution, ordered_keys, value_of
from valence.show.histogram import Binning
from valence.show.pairs import Pairs, read_pairs
from valence.show.ranking import Ranking
from valence.show.run import show
from valence.show.summary import QUANTILES, summarise
from valence.store import write_json, write_parquet

Values = Sequence[float | None]
Rewarder = Callable[[str, int], float | None]
LOST = Failure(stage="score", kind="lost", message="no \x1b[31mreward")
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def write(
    path: Path,
    texts: Sequence[str | None],
    scorers: dict[str, Rewarder],
    *,
    per_shard: int = 7,
    parts: Sequence[str] = (),
    scorer_name: str | None = None,
) -> Annotation:
    """An annotation by line; a text of None could not be read."""
    shards = []
    for first in range(0, len(texts), per_shard):
        shard = f"{first // per_shard:05d}"
        documents = []
        rows: dict[str, list[Row]] = {name: [] for name in scorers}
        for at, text in enumerate(texts[first : first + per_shard], start=first):
            item: Document | Unread = Unread(
                id=f"d{at}", source="x", failure=Failure(stage="read", kind="gone", message="why")
            )
            if text is not None:
                item = Document(id=f"d{at}", source=f"s{at % 3}", text=text)
            ends = line_ends(text) if text is not None else []
            documents.append(document_row(item, ends, held_out=at % 5 == 0))
            lines = [
                text[start:end]
                for start, end in zip([0, *ends], ends, strict=False)
                if text is not None
            ]
            for name, rewarder in scorers.items():
                given = [rewarder(line, at) for line in lines]
                values = np.array([np.nan if v is None else v for v in given], dtype=np.float32)
                row = Row(id=item.id, rewards=values)
                row.failures = [(i, LOST) for i, v in enumerate(given) if v is None]
                row.parts = [[v and v * (2 + k) for v in given] for k in range(len(parts))]
                row.marks = [Mark(start=s, end=s + 1, code="A", message="m") for s in (0, 9)]
                rows[name].append(row)
        write_parquet(path / "documents" / f"{shard}.parquet", documents_table(documents))
        for name, scored in rows.items():
            table = rewards_table(scored, parts=parts, keeps_marks=True)
            write_parquet(path / "rewards" / name / f"{shard}.parquet", table)
        shards.append(shard)
    read = [text for text in texts if text is not None]
    counts = {
        "documents": len(read),
        "held_out": sum(t is not None and at % 5 == 0 for at, t in enumerate(texts)),
        "segments": sum(len(line_ends(text)) for text in read),
        "chars": sum(map(len, read)),
        "bytes": sum(len(text.encode()) for text in read),
        "failures": {"gone": len(texts) - len(read)},
    }
    write_json(path / "documents" / "manifest.json", {**counts, "shards": shards, "digest": "t"})
    for name in scorers:
        scorer = {"name": scorer_name or name, "version": "1", "digest": "d" * 64}
        scorer |= {"meaning": f"what {name} means", "device": "cpu"}
        ledger = {"bytes": 2_000_000, "core_seconds": 4.0, "seconds": 2.5, "flops": None}
        manifest = {"text": "t", "scorer": scorer, "calls": 3, "pretraining": None, **ledger}
        write_json(path / "rewards" / name / "manifest.json", manifest)
    return Annotation(path)


def drawn(*key: object) -> float:
    """A number from 0 to 1 that depends on the key alone."""
    return int(hashlib.sha256(repr(key).encode()).hexdigest()[:8], 16) / 2**32


def some(name: str, *, steps: int = 20, failing: float = 0.1) -> Rewarder:
    """Rewards with many ties, of which some fail."""

    def rewarder(line: str, at: int) -> float | None:
        if drawn(name, "fails", line, at) < failing:
            return None
        return -round(drawn(name, line, at) ** 2 * steps) / 10

    return rewarder


def corpus(count: int = 40) -> list[str | None]:
    texts: list[str | None] = [
        "".join(f"line {i} of {at} {'é🦊' * (i % 4)}\n" for i in range(int(drawn(at) * 9)))
        for at in range(count)
    ]
    texts[3] = None
    return texts


def lines_of(annotation: Annotation, name: str) -> list[tuple[Any, int, int, float]]:
    return [
        (item, start, end, float(reward))
        for item in annotation.read(name)
        for start, end, reward in zip([0, *item.ends], item.ends, item.rewards, strict=False)
    ]


@given(st.lists(FINITE, min_size=1), st.integers(1, 5), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_quantiles_are_exact(values: list[float], pieces: int, share: float) -> None:
    array = np.array(values, dtype=np.float32)
    found = Distribution()
    chunks = np.array_split(np.concatenate((array, [np.float32("nan")])), pieces)
    for chunk in chunks:
        found.count(chunk)
    found.settle([share, 0.0, 1.0], frequent=0.2)
    for chunk in chunks:
        found.recount(chunk)
    assert found.size == len(values)
    expected = np.quantile(array.astype(np.float64), share, method="higher")
    assert found.quantile(share) == expected
    assert (found.quantile(0), found.quantile(1)) == (array.min(), array.max())
    assert found.mean == pytest.approx(array.mean(dtype=np.float64), rel=1e-6, abs=1e-30)
    counted = Counter((array + np.float32(0)).tolist())
    masses = {v: n for v, n in counted.items() if n >= max(0.2 * len(values), 2)}
    assert dict(found.masses(0.2, least=2)) == masses
    binning = Binning(found)
    for chunk in chunks:
        binning.add(chunk)
    assert binning.histogram().total == len(values)


@given(st.lists(FINITE, min_size=2))
@settings(deadline=None)
def test_keys_have_the_order_of_the_values(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    keys = ordered_keys(array)
    assert ((keys[:-1] < keys[1:]) == (array[:-1] < array[1:])).all()
    assert [value_of(int(key)) for key in keys] == array.tolist()


@pytest.mark.parametrize("bound", [Bound(reward=-0.5), Bound(best=0.25), Bound(best=0.95)])
def test_a_summary_is_what_a_plain_loop_finds(tmp_path: Path, bound: Bound) -> None:
    annotation = write(tmp_path, corpus(), {"some": some("some")}, parts=("twice", "thrice"))
    found = summarise(annotation, "some", bound=bound)
    rows = lines_of(annotation, "some")
    scored = [row for row in rows if not np.isnan(row[3])]
    rewards = np.array([row[3] for row in scored])
    lengths = np.array([end - start for _, start, end, _ in scored])
    assert (found.segments, found.scored) == (len(rows), len(scored))
    assert found.mean == pytest.approx(rewards.mean())
    assert found.mean_by_char == pytest.approx(np.average(rewards, weights=lengths))
    for quantile, share in zip(found.quantiles, QUANTILES, strict=True):
        assert quantile.value == np.quantile(rewards, share, method="higher")
    every = [end - start for _, start, end, _ in rows]
    assert found.mean_length == pytest.approx(np.mean(every))
    assert found.lengths[4].value == np.quantile(every, 0.5, method="higher")
    assert found.bands is not None
    at = found.bands.reward
    assert found.bands.upper == (rewards >= at).sum()
    assert found.bands.tied == (rewards == at).sum()
    assert found.bands.upper_chars == lengths[rewards >= at].sum()
    for name, held_out in (("training", False), ("held out", True)):
        group = next(group for group in found.splits if group.name == name)
        ours = [row[3] for row in scored if row[0].held_out == held_out]
        assert (group.scored, group.upper) == (len(ours), sum(r >= at for r in ours))
        assert group.mean == pytest.approx(np.mean(ours))
    assert sum(group.documents for group in found.sources) == 39
    assert [part.correlation for part in found.parts] == pytest.approx([1.0, 1.0])
    assert found.parts[1].mean == pytest.approx(3 * rewards.mean())
    (failure,) = found.failures
    failed = {row[0].document.id for row in rows if np.isnan(row[3])}
    assert (failure.kind, failure.segments) == ("lost", len(rows) - len(scored))
    assert failure.documents == len(failed)
    assert ("speed", "0.500 MB/s per core") in found.ledger


def test_nothing_depends_on_how_shards_are_cut(tmp_path: Path) -> None:
    scorers = {"a": some("a"), "b": some("b"), "label": some("l", steps=1)}
    one, other = (
        write(tmp_path / str(size), corpus(20), scorers, per_shard=size) for size in (6, 1000)
    )
    reports = [show(annotation.path, examples=2, seed=4) for annotation in (one, other)]
    plain = [
        replace(report, title="", corpus=report.corpus[:-2] + report.corpus[-1:])
        for report in reports
    ]
    assert plain[0].agreements == plain[1].agreements
    assert plain[0].calibrations == plain[1].calibrations
    for first, second in zip(plain[0].summaries, plain[1].summaries, strict=True):
        assert first.examples == second.examples
        assert first.histogram == second.histogram
        assert first.bands == second.bands
    again = [summarise(one, "a", bound=Bound(best=0.05), examples=2, seed=n) for n in (4, 5)]
    assert again[0] == reports[0].summaries[0]
    assert again[1] != reports[0].summaries[0]


def test_a_bound_means_what_it_means_in_control(tmp_path: Path) -> None:
    annotation = write(tmp_path, corpus(), {"some": some("some")})
    rewards = np.concatenate([item.rewards for item in annotation.read("some")])
    for asked, ours in ((-0.1, Bound(reward=-0.1)), (("quantile", 0.75), Bound(best=0.25))):
        (at,) = resolve_bounds([asked], rewards)
        bands = summarise(annotation, "some", bound=ours).bands
        assert bands is not None
        assert bands.reward == at
        scheme = ControlScheme(tokens=("a", "b"), bounds=(at,))
        assert bands.upper == (scheme.bands(rewards) == 1).sum()


def test_examples_are_exact_text_in_its_place(tmp_path: Path) -> None:
    texts = ["a\r\nb\n" * 40, "\ufeffx" + "y" * 2000 + "\nshort\n", "one\n"]
    values: Rewarder = lambda line, at: -len(line) / 10  # noqa: E731
    annotation = write(tmp_path, texts, {"length": values})
    found = summarise(annotation, "length", examples=2)
    assert found.examples[0].title.startswith("the worst: ")
    longest = found.examples[0].examples[0]
    assert longest.document == "d1"
    assert longest.text == texts[1][:LONGEST]
    assert longest.left_out == (0, 2003 - LONGEST)
    assert [mark.start for mark in longest.marks] == [0, 9]
    for group in found.examples:
        for example in group.examples:
            text = texts[int(example.document[1:])]
            assert text[example.start : example.end].startswith(example.text)
            assert text[: example.start].endswith(example.before)
            if example.left_out == (0, 0):
                assert example.before == text[max(0, example.start - CONTEXT) : example.start]
                assert example.after == text[example.end : example.end + CONTEXT]
    assert summarise(annotation, "length", examples=0).examples == ()


def test_a_mark_late_in_a_long_segment_is_shown(tmp_path: Path) -> None:
    annotation = write(tmp_path, ["x" * 5000], {"zero": lambda line, at: 0.0})
    path = tmp_path / "rewards" / "zero" / "00000.parquet"
    row = Row(id="d0", rewards=np.zeros(1, dtype=np.float32))
    row.marks = [Mark(start=4000, end=4003, code="A", message="m")]
    write_parquet(path, rewards_table([row], keeps_marks=True))
    (example,) = summarise(annotation, "zero", examples=1).examples[0].examples
    assert sum(example.left_out) + len(example.text) == 5000
    assert [(mark.start, mark.end) for mark in example.marks] == [(CONTEXT, CONTEXT + 3)]


@pytest.mark.parametrize("failing", [0.0, 0.2])
def test_agreement_is_that_of_scipy_and_scikit_learn(tmp_path: Path, failing: float) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    scorers = {"a": some("a", failing=failing), "b": some("b", steps=4, failing=failing)}
    annotation = write(tmp_path, corpus(60), scorers)
    found = agree(
        annotation, "a", "b", bound_first=Bound(best=0.5), bound_second=Bound(reward=-0.1)
    )
    x, y = (np.array([row[3] for row in lines_of(annotation, name)]) for name in scorers)
    both = ~(np.isnan(x) | np.isnan(y))
    assert (found.segments, found.left_out) == (both.sum(), (~both).sum())
    every, x, y = x[~np.isnan(x)], x[both], y[both]
    assert found.bounds[0] == np.quantile(every, 0.5, method="higher")
    bands = x >= np.float32(found.bounds[0]), y >= np.float32(-0.1)
    assert found.table == tuple(map(tuple, metrics.confusion_matrix(*bands).tolist()))
    assert found.kappa.value == pytest.approx(metrics.cohen_kappa_score(*bands))
    assert found.spearman.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.pearson.value == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found.auroc[0] == pytest.approx(metrics.roc_auc_score(bands[1], x))
    assert found.auroc[1] == pytest.approx(metrics.roc_auc_score(bands[0], y))
    for measured in (found.kappa, found.spearman, found.pearson):
        assert measured.low is not None and measured.high is not None
        assert measured.low < measured.value < measured.high
    ranks = stats.rankdata(x) - stats.rankdata(y)
    first = dict(found.disagreements[0].examples[0].rewards)
    assert found.disagreements[0].title == "a ranks it much higher than b"
    top = int(np.argmax(ranks))
    assert (first["a"], first["b"]) == (x[top], y[top])


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=2, max_size=60
    )
)
@settings(deadline=None, max_examples=60)
def test_a_ranking_is_that_of_scikit_learn(items: list[tuple[int, bool, int]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rewards, lower, weights = (np.array(column) for column in zip(*items, strict=True))
    found = Ranking(rewards.astype(float), lower).measure()
    if lower.all() or not lower.any():
        assert found.auroc is None
        return
    assert found.auroc == pytest.approx(metrics.roc_auc_score(lower, -rewards))
    assert found.average_precision == pytest.approx(
        metrics.average_precision_score(lower, -rewards)
    )
    cuts = sorted(set(rewards.tolist()))[1:]
    scores = [metrics.f1_score(lower, rewards < cut, zero_division=0.0) for cut in cuts]
    assert found.f1 == (pytest.approx(max(scores)) if cuts else None)
    repeated = np.repeat(rewards, weights), np.repeat(lower, weights)
    again = Ranking(rewards.astype(float), lower).measure(weights.astype(float))
    plain = Ranking(repeated[0].astype(float), repeated[1]).measure()
    assert again.auroc == pytest.approx(plain.auroc)
    assert again.average_precision == pytest.approx(plain.average_precision)


def test_calibration_against_labels(tmp_path: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    clean = some("a", failing=0.0)

    def noisy(line: str, at: int) -> float:
        return -float((clean(line, at) or 0.0) + drawn("noise", line, at) < -0.3)

    annotation = write(tmp_path, corpus(80), {"a": clean, "label": noisy})
    found = calibrate(annotation, "a", "label")
    x, y = (np.array([row[3] for row in lines_of(annotation, name)]) for name in ("a", "label"))
    assert found.bound == 0.0
    every, held = found.detection
    assert (every.split, held.split) == ("all", "held out")
    assert every.lower == (y < 0).sum()
    assert every.auroc.value == pytest.approx(metrics.roc_auc_score(y < 0, -x))
    precision = metrics.average_precision_score(y < 0, -x)
    assert every.average_precision.value == pytest.approx(precision)
    assert every.bound.value is not None
    assert every.f1.value == pytest.approx(metrics.f1_score(y < 0, x < every.bound.value))
    assert every.auroc.low is not None and every.auroc.low < every.auroc.value
    assert sum(bin.count for bin in found.reliability) == len(x)
    for bin in found.reliability:
        inside = (x >= bin.low) & (x <= bin.high)
        assert (bin.count, bin.label.value) == (inside.sum(), pytest.approx(y[inside].mean()))
    report = show(annotation.path, examples=0)
    assert [c.labels for c in report.calibrations] == ["label"]
    assert report.agreements == ()


def test_graded_labels_are_parted_at_their_better_half(tmp_path: Path) -> None:
    annotation = write(tmp_path, corpus(), {"a": some("a"), "grades": some("g")})
    found = calibrate(annotation, "a", "grades")
    grades = np.array([row[3] for row in lines_of(annotation, "grades")])
    assert found.bound == np.nanquantile(grades, 0.5, method="higher")


def test_a_sample_is_bounded_and_always_the_same(tmp_path: Path) -> None:
    scorers = {"a": some("a"), "b": some("b")}
    one, other = (
        write(tmp_path / str(size), corpus(60), scorers, per_shard=size) for size in (6, 30)
    )
    found = []
    for annotation in (one, other):
        pairs = Pairs(3, most=50)
        for block in blocks(annotation, ["a", "b"]):
            pairs.add(block, block.rewards["a"], block.rewards["b"])
            assert len(pairs.x) <= 100 + len(block.ends)
        pairs.shrink()
        found.append(pairs)
    every = read_pairs(one, "a", "b", seed=3)
    assert found[0].index.tolist() == found[1].index.tolist()
    assert (len(found[0].x), found[0].sampled, found[0].total) == (50, 50, every.total)
    assert every.sampled is None
    assert set(found[0].index) <= set(every.index)


@pytest.mark.parametrize("texts", [[], [None, None], ["", ""], ["a\n"], ["a\n", None, "", "b"] * 3])
@pytest.mark.parametrize("value", [None, 0.0, -1.5])
def test_little_or_nothing_is_no_error(
    tmp_path: Path, texts: list[str | None], value: float | None
) -> None:
    fixed: Rewarder = lambda line, at: value  # noqa: E731
    annotation = write(tmp_path, texts, {"a": fixed, "b": fixed, "label": fixed})
    report = show(annotation.path)
    found = report.summaries[0]
    segments = sum(len(line_ends(text)) for text in texts if text is not None)
    if segments == 0 or value is None:
        assert found.mean is None and found.quantiles == () and found.bands is None
        assert report.agreements == () and report.calibrations == ()
    else:
        assert found.mean == value
        (agreement,) = report.agreements
        assert agreement.kappa.value is None and agreement.spearman.value is None
        assert report.calibrations[0].detection[0].auroc.value is None
    assert sum(kind.documents for kind in report.unread) == sum(text is None for text in texts)


def test_what_the_engine_writes_can_be_shown(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("first = 1\nsecond = 2\n" * 20)
    (tmp_path / "bad.py").write_text("first=1 \nsecond = 2\n" * 20)
    (tmp_path / "broken.py").write_bytes(b"\xff\xfe\xff")
    corpus = CorpusRecipe(reader="files", paths=(str(tmp_path / "*.py"),), valid_share=0.0)
    annotate(tmp_path / "out", ScoreRecipe(scorer="pep8", workers=1), corpus)
    report = show(tmp_path / "out", bound=Bound(reward=0.0))
    (found,) = report.summaries
    assert (found.scored, found.bands and found.bands.upper) == (80, 60)
    assert [kind.documents for kind in report.unread] == [1]
    assert found.examples[0].examples[0].document.endswith("bad.py")


def test_rewards_of_other_documents_are_refused(tmp_path: Path) -> None:
    annotation = write(tmp_path, ["a\nb\n"], {"a": some("a")})
    row = Row(id="d0", rewards=np.zeros(3, dtype=np.float32))
    write_parquet(tmp_path / "rewards" / "a" / "00000.parquet", rewards_table([row]))
    with pytest.raises(StoreError, match="not about the same segments"):
        summarise(annotation, "a")
    with pytest.raises(MissingFileError, match="no finished rewards `b`"):
        summarise(annotation, "b")


def test_an_annotation_without_rewards_says_so(tmp_path: Path) -> None:
    write(tmp_path, ["a\n"], {})
    with pytest.raises(MissingFileError, match="no finished rewards"):
        show(tmp_path)


def test_many_scorers_and_many_sources(tmp_path: Path) -> None:
    scorers = {name: some(name) for name in "abcdef"}
    annotation = write(tmp_path, corpus(20), scorers)
    report = show(annotation.path, examples=0)
    assert [(a.first, a.second) for a in report.agreements] == [("a", other) for other in "bcdef"]
    assert any("each of the others" in note for note in report.notes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("valence.show.tally.MOST_SOURCES", 2)
        crowded = show(annotation.path, ["a"], examples=0)
    assert crowded.summaries[0].sources == ()
    assert any("Too many sources" in note for note in crowded.notes)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("-0.1", Bound(reward=-0.1)),
        ("\N{MINUS SIGN}1e-3", Bound(reward=-0.001)),
        ("0", Bound(reward=0.0)),
        ("best-5%", Bound(best=0.05)),
        ("best 5 %", Bound(best=0.05)),
        ("0.05-best", Bound(best=0.05)),
        ("5%-best", Bound(best=0.05)),
        ("worst-25%", Bound(best=0.75)),
    ],
)
def test_bounds_as_people_write_them(text: str, bound: Bound) -> None:
    assert parse_bound(text) == bound


@pytest.mark.parametrize(
    "text", ["", "best", "5%", "nan", "best-0%", "best-100%", "best-5", "1e999"]
)
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(BoundError, match="best-5%"):
        parse_bound(text)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (None, "—"),
        (0.0, "0%"),
        (1.0, "100%"),
        (0.05, "5%"),
        (1 - 0.95, "5%"),
        (1e-6, "<0.01%"),
        (1 - 1e-6, ">99.99%"),
        (0.1234, "12.3%"),
        (0.0042, "0.42%"),
    ],
)
def test_percentages(share: float | None, said: str) -> None:
    assert percent(share) == said
