import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.stats import spearmanr

from valence.distill.calibrate import isotonic
from valence.distill.design import design
from valence.distill.examples import Examples, Found, choose, split_of
from valence.distill.fidelity import METRICS, Compared, bands, compare, reliability
from valence.distill.linear import _Problem, _Scored, targets
from valence.score.student import linear, raw_of

BITS = 9
TEXTS = [b"one fool of a day", b"", b"good day, good day!", b"You FOOL", "é ß 😀".encode(), b"a"]


def examples(rewards: list[float], marks: bool = False) -> Examples:
    count = len(rewards)
    found = [((4, 8),), (), None, ((4, 8),), (), ()]
    return Examples(
        texts=TEXTS[:count],
        rewards=np.array(rewards),
        documents=np.arange(count),
        weights=np.linspace(1, 2, count),
        marks=[found[at] if marks else None for at in range(count)],
    )


def test_the_fit_computes_what_scoring_computes() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1 << BITS, 2))
    table[0] = 0
    fitted = -_Scored(design(TEXTS, BITS)).badness(table)
    scored = raw_of(linear(table.astype(np.float32)), TEXTS, BITS)
    assert scored == pytest.approx(fitted, rel=1e-4)


@pytest.mark.parametrize("pointed", [0.0, 0.7])
def test_the_gradient_is_that_of_the_loss(pointed: float) -> None:
    given = examples([-2.0, 0.0, -1.0, -2.0, 0.0, -0.5], marks=True)
    problem = _Problem(design(given.texts, BITS, given.marks), targets(given, -0.7))
    rng = np.random.default_rng(1)
    size = len(problem.start())
    penalty = np.array([0.02, 0.01])
    for _ in range(3):
        point = rng.normal(size=size)
        point[:2] = 0  # Bucket 0 keeps the weight 0.
        slopes = problem._loss(point, penalty, pointed)[1]
        numeric = approx_fprime(point, lambda x: problem._loss(x, penalty, pointed)[0], 1e-6)
        assert slopes[2:] == pytest.approx(numeric[2:], abs=1e-4)
        assert slopes[:2].tolist() == [0, 0]


def test_marks_reach_their_tokens() -> None:
    given = examples([0.0] * 6, marks=True)
    found = design(given.texts, BITS, given.marks)
    by_text = np.split(found.marked, found.first[1:])
    assert [row.tolist() for row in by_text] == [
        [0, 0, 1, 0, 0, 0],
        [0],
        [-1] * 7,
        [0, 0, 1],
        [0, 0, 0, 0],
        [0, 0],
    ]


def test_thresholds_that_part_alike_count_once() -> None:
    two = targets(examples([-1.0, 0.0, 0.0, -1.0]), -0.5)
    assert two.below.tolist() == [[1], [0], [0], [1]] and two.share.tolist() == [1.0]
    many = targets(examples([-5.0, -4.0, -3.0, -2.0, -1.0, 0.0]), -4.5)
    assert many.share[0] == 0.5 and many.share.sum() == pytest.approx(1)
    assert len({row.tobytes() for row in many.below.T}) == many.below.shape[1]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(-9, 9, width=32), st.sampled_from([-1.0, -0.2, 0.0])),
        min_size=1,
        max_size=400,
    )
)
def test_calibration_rises_and_stays_on_the_scale(pairs: list[tuple[float, float]]) -> None:
    raw = np.array([pair[0] for pair in pairs], dtype=np.float32)
    rewards = np.array([pair[1] for pair in pairs])
    knots = isotonic(raw, rewards)
    assert (np.diff(knots.raw) > 0).all() and (np.diff(knots.rewards) >= 0).all()
    if np.ptp(rewards) > 0:
        assert (np.diff(knots.rewards) > 0).all()
    found = knots(np.linspace(-1000, 1000, 99))
    assert found.min() >= rewards.min() - 1e-6 and found.max() <= rewards.max() + 1e-6


def test_calibration_finds_the_probability() -> None:
    rng = np.random.default_rng(3)
    raw = rng.normal(size=20_000)
    chance = 1 / (1 + np.exp(2 * raw))
    rewards = -(rng.random(20_000) < chance).astype(float)
    assert np.abs(isotonic(raw, rewards)(raw) + chance).mean() < 0.02


def test_metrics_against_their_definitions() -> None:
    rng = np.random.default_rng(4)
    y = np.round(rng.normal(size=300), 1)
    x = np.round(y + rng.normal(size=300), 1)
    compared = Compared(student=x, teacher=y, documents=np.arange(300) // 3)
    rows = compare(
        compared, bound=-0.5, matched_bound=-0.4, failures=7, seed=0, mode="m", resamples=40
    )
    found = {row.metric: row for row in rows}
    assert list(found) == list(METRICS)
    lower, said = y < -0.5, x < -0.5
    pairs = [(a > b) + 0.5 * (a == b) for a in x[~lower] for b in x[lower]]
    expected = {
        "auroc_at_bound": np.mean(pairs),
        "spearman": spearmanr(x, y).statistic,
        "precision": (lower & said).sum() / said.sum(),
        "recall": (lower & said).sum() / lower.sum(),
        "f1": 2 * (lower & said).sum() / (said.sum() + lower.sum()),
        "recall_matched": (lower & (x < -0.4)).sum() / lower.sum(),
        "share_below_teacher": lower.mean(),
        "share_below_student": said.mean(),
        "squared_error": ((x - y) ** 2).mean(),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value), name
    for row in rows:
        assert row.low is not None and row.high is not None and row.value is not None
        assert row.low <= row.high and (row.count, row.failures) == (300, 7)
    bins = reliability(compared)
    assert sum(part.count for part in bins) == 300
    weighted = sum(part.count * abs(part.predicted - part.teacher) for part in bins) / 300
    assert found["calibration_error"].value == pytest.approx(weighted)
    counted = bands(compared, -0.5)
    assert (sum(counted.below), sum(counted.others)) == (lower.sum(), (~lower).sum())


def test_what_cannot_be_measured_is_none() -> None:
    compared = Compared(student=np.ones(4), teacher=np.zeros(4), documents=np.arange(4))
    rows = compare(compared, bound=-1, matched_bound=-1, failures=0, seed=0, mode="m", resamples=10)
    values = {row.metric: row.value for row in rows}
    assert values["auroc_at_bound"] is values["spearman"] is values["precision"] is None
    assert values["share_below_student"] == 0


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 60), st.integers(2, 60), st.integers(0, 60), st.booleans())
def test_a_sample_stands_for_all(total: int, most: int, low: int, enrich: bool) -> None:
    rewards = np.where(np.arange(total) < low, -1.0, 0.0)
    rng = np.random.default_rng(total)
    rng.shuffle(rewards)
    found = Found(rewards=rewards, failures=0)
    chosen, weights = choose(found, -0.5, most, 0, enrich=enrich)
    assert len(chosen) == len(weights) == min(total, most)
    assert (np.diff(chosen) > 0).all()
    if enrich:
        for side in (rewards[chosen] < -0.5, rewards[chosen] >= -0.5):
            if side.any():
                pool = (
                    (rewards < -0.5).sum()
                    if rewards[chosen][side][0] < -0.5
                    else (rewards >= -0.5).sum()
                )
                assert weights[side].sum() == pytest.approx(pool)
    again = choose(found, -0.5, most, 0, enrich=enrich)
    assert again[0].tolist() == chosen.tolist()


def test_documents_are_split_by_their_id() -> None:
    splits = [split_of(f"d{at}", False, 0) for at in range(2000)]
    assert 0.07 < splits.count("calibration") / 2000 < 0.13
    assert splits.count("held_out") == 0 and split_of("d1", True, 0) == "held_out"
    assert splits == [split_of(f"d{at}", False, 0) for at in range(2000)]
    assert splits != [split_of(f"d{at}", False, 1) for at in range(2000)]
