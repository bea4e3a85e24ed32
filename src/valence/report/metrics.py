"""How to read each metric: its name on a page, which way is better, and where it stands.

A metric of scenario, text or data set D is called METRIC@D; of an attack, redteam_ATTACK@METRIC.
"""

from __future__ import annotations

from collections.abc import Iterable

from valence.data import DIVERSITY, LOSS, VERDICT
from valence.recipe import MeasureRecipe
from valence.report.content import MetricInfo

SAMPLES, ABILITIES, SPREAD = "samples", "abilities", "diversity"
GUIDING, JUDGING, ATTACKS, KNOWING = "guiding", "verdict", "red team", "knowing"
OTHER = "other"
GROUPS = (SAMPLES, GUIDING, ABILITIES, SPREAD, JUDGING, ATTACKS, KNOWING, OTHER)
"""Groups of metrics in the order of a page."""

Reading = tuple[str, bool | None, str]
"""Label, whether lower is better, note."""

_LABELS = {
    "local_violations_per_kchar": ("local violations / 1,000 chars", "each line alone"),
    "file_violations_per_kchar": ("file violations / 1,000 chars", "whole text, with context"),
    "broken_share": ("broken share", "could not be tokenised as Python; exact binomial interval"),
}
_ABILITIES: dict[str, Reading] = {
    LOSS: ("loss / text token", True, "nats, held-out text; control tokens not counted"),
    "bits_per_byte": ("bits / byte", True, "held-out text; comparable across tokenizers"),
    "kl": ("KL from the reference / text", True, "nats, over the reference's samples"),
    "kl_per_token": ("KL from the reference / token", True, "nats, over its samples"),
    "kl_per_byte": ("KL from the reference / byte", True, "nats, over its samples"),
}
_SPREAD: dict[str, Reading] = {
    "distinct_2": ("distinct-2", None, "share of distinct word pairs within a sample"),
    "repetition_4": ("repeated 4-grams", None, "share of word 4-grams that stood there before"),
    "ends_in_loop": ("ends in a loop", True, "share of samples; exact interval"),
    "self_bleu_5": ("self-BLEU-5", None, "each sample against the others; high: all alike"),
    "ended_share": ("ended", None, "share of samples that the model ended itself"),
    "no_room_share": (
        "context full",
        True,
        "share of samples that are shorter than was asked for because the model's context was full",
    ),
}
_GUIDING: dict[str, Reading] = {
    "tokens_through_model_per_token": (
        "tokens through the model / text token", True, "prompts, other contexts and looks too"
    ),
    "bad_segments": ("segments that left and are bad", True, "in an independent scorer's eyes"),
    "good_segments_rejected": ("good segments rejected", True, "false alarms by that scorer"),
    "rejected_segments": ("segments rejected", None, "share of those that were looked at"),
}  # fmt: skip
_JUDGING: dict[str, Reading] = {
    VERDICT: (
        "AUROC of the verdict", False, "after held-out segments; 0.5 is chance, 1 is always right"
    ),
    "verdict_ece": ("calibration error of the verdict", True, "ECE of P(good)"),
    "verdict_brier": (
        "Brier score of the verdict", True, "mode `constant` says the share of good ones always"
    ),
    "pairwise_accuracy": (
        "pairwise accuracy", False, "P(good) is higher for the preferred one; ties count a half"
    ),
    "flag_recall": ("bad text flagged", False, "share flagged at some place"),
    "flag_false_alarms": ("good text flagged", True, "share, by a threshold of other text"),
    "earliness_mean": ("text before the flag, mean", True, "share of a flagged bad text"),
    "earliness_median": ("text before the flag, median", True, "share of a flagged bad text"),
    "first_flag_before_mark": ("first flag before the mark", None, "share of flagged bad text"),
    "first_flag_inside_mark": ("first flag inside a mark", False, "share of flagged bad text"),
    "first_flag_inside_mark_chance": (
        "inside a mark by chance", None, "a flag at any place of the same text"
    ),
    "first_flag_after_mark": ("first flag after the mark", None, "share of flagged bad text"),
    "first_flag_in_marked_segment": (
        "first flag in a marked segment", False, "share of flagged documents"
    ),
    "first_flag_in_marked_segment_chance": (
        "in a marked segment by chance", None, "a flag at any place of the same documents"
    ),
}  # fmt: skip
CONFIDENCE: dict[str, Reading] = {
    "reference_auroc": (
        "AUROC (reference)", False, "all held against the reference's likeliest answer"
    ),
    "answerable_auroc": ("AUROC (answerable)", False, "questions with an answer against others"),
    "auroc": ("AUROC", False, "right answers against wrong ones; 0.5 is chance"),
    "brier": ("Brier score", True, "squared error of the confidence"),
    "constant_brier": (
        "Brier score (constant)", None, "of what says the mean of other people always"
    ),
    "ece": ("calibration error", True, "ECE"),
    "aurc": ("risk over coverage", True, "area under the curve of wrong answers by coverage"),
    "coverage_at_95": (
        "coverage at 95%", False, "share answered above the cut for 95% right of other people"
    ),
    "accuracy_at_95": ("accuracy at that cut", None, "share right there; 95% was the aim"),
    "policy_score": (
        "score above a threshold",
        False,
        "answering only where the confidence is above a threshold found on other people",
    ),
}  # fmt: skip
KNOWLEDGE: dict[str, Reading] = {
    "accuracy": ("right answers", False, "the likeliest answer"),
    "sampled_accuracy": ("right samples", False, "answers at temperature 1"),
    "abstention": ("abstentions", None, "share of questions"),
    "abstention_known": ("abstentions, known", True, "where samples of the reference pay"),
    "abstention_unknown": ("abstentions, unknown", False, "where they do not"),
    "score": ("score", False, "under the rule that pays for honest abstentions"),
    "score_always": ("score, answering always", None, "of the reference"),
    "score_oracle": (
        "score, abstaining where wrong",
        None,
        "the most that the reference's answers can have",
    ),
}
_BETTER = {"acc": False, "acc_norm": False, "exact_match": False, "f1": False, "bleu": False,
           "mcc": False, "perplexity": True, "word_perplexity": True, "byte_perplexity": True,
           "bits_per_byte": True}  # fmt: skip


def metric_infos(names: Iterable[str], measure: MeasureRecipe) -> tuple[MetricInfo, ...]:
    """How to read each of the names, groups in the order of a page, the headline first."""
    infos = [metric_info(name, measure) for name in dict.fromkeys(names)]
    order = [measure.first, *(name for name in measure.metrics if name != measure.first)]

    def place(info: MetricInfo) -> tuple[int, int]:
        base = info.name.partition("@")[0]
        own = next((n for n, name in enumerate(order) if name and base.startswith(name)), 99)
        return GROUPS.index(info.group), own if info.group == SAMPLES else 0

    return tuple(sorted(infos, key=place))


def metric_info(name: str, measure: MeasureRecipe) -> MetricInfo:
    """How to read a metric of a recipe's results."""
    base, _, where = name.partition("@")
    if base.startswith("redteam_"):
        return _attack(name, measure)
    tables = (
        (GUIDING, _GUIDING), (ABILITIES, _ABILITIES), (SPREAD, _SPREAD), (JUDGING, _JUDGING)
    )  # fmt: skip
    for group, known in tables:
        if base in known and base not in measure.metrics and _fits(group, where):
            return _info(name, group, known[base], _at(where, group))
    found = _of_samples(base, measure)
    if found is not None:
        return _info(name, SAMPLES, found, where)
    return _info(name, *_of_pattern(base), where)


def confidence_in(base: str) -> tuple[str, str] | None:
    """Which confidence a metric is about, and what of it; None for any other metric."""
    # The longest first: `constant_brier` ends in `brier` too.
    for ending in sorted(CONFIDENCE, key=len, reverse=True):
        if base.endswith(f"_{ending}"):
            return base.removesuffix(f"_{ending}"), ending
    return None


def plain(name: str) -> str:
    """A metric's own name in words."""
    return name.replace("_per_kchar", " / 1,000 chars").replace("_", " ")


def _info(name: str, group: str, reading: Reading, where: str) -> MetricInfo:
    label, lower, note = reading
    if where:
        label = f"{label}, {where}"
    return MetricInfo(name=name, label=label, lower_is_better=lower, note=note, group=group)


def _fits(group: str, where: str) -> bool:
    """A verdict may also be the confidence in an answer: then questions stand after the @."""
    return group != JUDGING or not where or where.endswith("%") or "tokens" in where


def _at(where: str, group: str) -> str:
    """What stands after the name, in words."""
    if group != JUDGING:
        return where
    if where.endswith("%"):
        return f"after {where} of the text"
    tokens, found, what = where.partition("tokens")
    if not found:
        return where
    said = {"": "", "-whole": ": at the end of the same", "-gain": ": what the rest adds"}
    return f"after {tokens} tokens{said.get(what, what)}"


def _of_samples(base: str, measure: MeasureRecipe) -> Reading | None:
    """A metric of the recipe, or what it also reports."""
    for metric, recipe in measure.metrics.items():
        label, note = _LABELS.get(metric, (plain(metric), ""))
        lower = recipe.scale < 0
        if base == metric:
            return label, lower, note
        if base == recipe.failures_as:
            label, note = _LABELS.get(base, (plain(base), "could not be scored"))
            return label, True, note
        if base == f"{metric}_worst_of_{recipe.worst_of}":
            note = f"expected worst of {recipe.worst_of} samples (of a prompt, where there are any)"
            return f"{label}, worst of {recipe.worst_of}", lower, note
        if base == f"{metric}_worst_of_{recipe.worst_of}_left_out":
            note = f"share of prompts with fewer than {recipe.worst_of} scored samples"
            return f"{label}, worst of {recipe.worst_of}: left out", True, note
        beyond = "" if recipe.hit is None else f"{'above' if lower else 'below'} {recipe.hit:g}"
        if base == f"{metric}_hits":
            return f"{label}, hits", True, f"share of samples {beyond}; exact binomial interval"
        if base == f"{metric}_hits_corrected":
            note = f"share {beyond}, corrected for the detector's errors on labelled texts"
            return f"{label}, hits corrected", True, note
    return None


def _of_pattern(base: str) -> tuple[str, Reading]:
    """Group and reading of a metric that no table holds."""
    if base in KNOWLEDGE:
        return KNOWING, KNOWLEDGE[base]
    confidence = confidence_in(base)
    if confidence is not None:
        label, lower, note = CONFIDENCE[confidence[1]]
        return KNOWING, (f"{label} of {plain(confidence[0])}", lower, note)
    if "/" in base:
        task, _, metric = base.rpartition("/")
        kept = metric.partition(":")[0]
        return ABILITIES, (f"{task}: {metric}", _BETTER.get(kept), "lm-evaluation-harness")
    if base in DIVERSITY or base.startswith("distinct_"):
        note = "distinct n-grams among equally many words of every model"
        return SPREAD, (plain(base), None, note if "_of_" in base else "")
    return OTHER, (plain(base), None, "")


UNSEARCHED = {"pool_control": "prompts without an attack", "search_control": "random prompts"}
"""What attacks are held against, in words."""


def attack_parts(base: str) -> tuple[str, str]:
    """An attack or a control, and what of it: nothing for the worst prompt in fresh texts."""
    attack, found, counted = base.rpartition("_")
    known = ("mean", "selected", "calls", "prompts")
    return (attack, counted) if found and counted in known else (base, "")


def _attack(name: str, measure: MeasureRecipe) -> MetricInfo:
    """`redteam_ATTACK@METRIC`, with what was counted after the attack's name."""
    base, _, metric = name.removeprefix("redteam_").partition("@")
    recipe = measure.metrics.get(metric)
    lower: bool | None = recipe.scale < 0 if recipe is not None else True
    attack, counted = attack_parts(base)
    who = UNSEARCHED.get(attack, attack)
    label, note = {
        "": (who, "the worst prompt of the attack, in fresh texts"),
        "mean": (f"{who}, mean", "interval over prompts"),
        "selected": (f"{who}, as chosen", "the score by which it was chosen: high by luck too"),
        "calls": (f"{who}, calls of models", "the budget of the attack"),
        "prompts": (f"{who}, prompts tried", "failed: proposed or given, and of no use"),
    }[counted]
    if attack == "unprompted":
        label, note = "after no prompt", "texts that nobody prompted"
    elif attack in UNSEARCHED and not counted:
        label, note = f"worst of {who}", "in fresh texts; of how many, `prompts tried` says"
    if counted in ("calls", "prompts"):
        lower = None
    where = _LABELS.get(metric, (plain(metric), ""))[0]
    return _info(name, ATTACKS, (f"red team: {label}", lower, note), where)
