"""Sentences on abilities of modes, judges, attacks and knowledge: what they claim, and when not."""

from __future__ import annotations

import pytest

from valence.data import Measurement
from valence.measure.told import other_sentences


def row(
    model: str, mode: str, metric: str, value: float | None, half: float | None = 0.1
) -> Measurement:
    known = value is not None and half is not None
    return Measurement(
        model=model, mode=mode, metric=metric, value=value,
        low=value - half if known else None,  # type: ignore[operator]
        high=value + half if known else None,  # type: ignore[operator]
        count=10, failures=0, seed=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("gap", "told"),
    [(0.5, "good mode is worse"), (-0.5, "good mode is better"), (0.05, "not shown to differ")],
)
def test_good_and_bad_mode_differ_by_their_loss(gap: float, told: str) -> None:
    rows = [
        row("ours", "good", "loss_per_text_token", 3.0),
        row("ours", "bad", "loss_per_text_token", 3.0 - gap),
        row("ours", "good-bad", "loss_per_text_token", gap),
        row("ours", "good-bad", "bits_per_byte", gap),
    ]
    (said,) = other_sentences(rows)
    assert said.startswith("Loss per text token of ours, good less bad mode: ")
    assert said.endswith(f"; {told}.")


def test_a_model_whose_mode_has_a_dash_is_no_difference() -> None:
    assert other_sentences([row("ours", "linear-share", "loss_per_text_token", 3.0)]) == []


def test_the_best_judge_is_named_with_the_next() -> None:
    rows = [
        row("ours", mode, "verdict_auroc", value)
        for mode, value in (("linear", 0.6), ("verdict", 0.9), ("mlp", 0.65))
    ]
    (said,) = other_sentences(rows)
    assert said == (
        "Best judge of what ours reads: verdict, AUROC 0.9; next mlp, 0.65; the best is higher:"
        " the 95% interval of the difference, [0.109, 0.391], leaves out 0 (one seed)."
    )


def test_the_best_judges_of_models_are_compared() -> None:
    rows = [
        row(model, mode, "verdict_auroc", value)
        for model, mode, value in (
            ("plain", "linear", 0.6), ("plain", "mlp", 0.5), ("ours", "verdict", 0.9),
            ("ours", "linear", 0.85), ("none", "linear", 0.55),
        )
    ]  # fmt: skip
    assert other_sentences(rows)[-1] == (
        "Best of the models' best judges: verdict of ours, AUROC 0.9; next linear of plain, 0.6;"
        " the best is higher: the 95% interval of the difference, [0.159, 0.441], leaves out 0 (one"
        " seed)."
    )


def attack(mode: str, name: str, value: float, tried: float) -> list[Measurement]:
    return [
        row("ours", mode, f"redteam_{name}@harm_per_kchar", value),
        row("ours", mode, f"redteam_{name}_prompts@harm_per_kchar", tried, None),
        row("ours", mode, f"redteam_{name}_calls@harm_per_kchar", 10 * tried, None),
    ]


def test_each_attack_is_held_against_its_own_control_and_both_counts_are_told() -> None:
    rows = [
        *attack("good", "pool", 1.1, 74),
        *attack("good", "pool_control", 1.0, 60),
        *attack("good", "gcg", 2.0, 7),
        *attack("good", "search_control", 0.5, 7),
        *attack("bad", "gcg", 9.0, 7),
        *attack("bad", "pool_control", 1.0, 60),
        row("ours", "good", "redteam_gcg@other", 3.0),
    ]
    pool, gcg = other_sentences(rows)
    assert pool == (
        "Worst prompt of 74 of pool on ours in good mode: harm per 1,000 characters 1.1 [1, 1.2];"
        " worst of 60 that nobody searched for: 1 [0.9, 1.1]; not shown to differ: the 95% interval"
        " of the difference, [-0.0414, 0.241], holds 0."
    )
    assert "Worst prompt of 7 of gcg on ours in good mode" in gcg
    assert "worst of 7 that nobody searched for: 0.5" in gcg
    assert gcg.endswith("higher: the 95% interval of the difference, [1.36, 1.64], leaves out 0.")


def test_abstaining_has_to_pay_and_to_be_where_it_does_not_know() -> None:
    rows = []
    for model, score, unknown in (("plain", -1.0, 0.1), ("ours", 0.3, 0.8)):
        rows += [
            row(model, "none", "score@world", score),
            row(model, "none", "abstention_known@world", 0.05),
            row(model, "none", "abstention_unknown@world", unknown),
        ]
    plain, ours, both = other_sentences(rows)
    assert "worse than always abstaining" in plain and "holds 0" in plain
    assert "better than always abstaining" in ours and "higher: the 95% interval" in ours
    assert "Score on world: ours 0.3 against plain -1" in both and "times" not in both


def test_a_policy_by_a_confidence_is_told_where_it_pays() -> None:
    rows = [
        row("ours", "none", "score@world", -1.0),
        row("ours", "none", "abstention_known@world", 0.0),
        row("ours", "none", "abstention_unknown@world", 0.0),
        row("ours", "none", "probability_policy_score@world", 0.3),
        row("ours", "none", "agreement_policy_score@world", 0.2),
        row("ours", "none", "p_true_policy_score@world", 0.05),
    ]
    _, told = other_sentences(rows)
    assert "a threshold of probability" in told and "scores 0.3 [0.2, 0.4]" in told


def test_nothing_measured_and_no_interval_claim_nothing() -> None:
    rows = [
        row("ours", "none", "score@world", None),
        row("ours", "none", "abstention_known@world", 0.0, None),
        row("ours", "none", "abstention_unknown@world", 0.0, None),
    ]
    (said,) = other_sentences(rows)
    assert "one has no 95% interval" in said and "Its score is nothing" in said
