"""A toxicity student from human labels, and one from a model that is too slow for a corpus.

Labels as teacher: tweets (davidson, by document) and news comments (toxic_spans, by sentence;
a sentence is bad if raters marked a character of it). One student learns both. Its AUROC is
reported on the held-out documents of each and of both together, and it annotates the forum
posts of reddit/ by sentence.

A model as teacher: a small transformer, trained on the same labels, scores forum posts and
the labelled texts; a second student is distilled from it.

    python experiments/toxicity.py ../shared/data runs/toxicity
    python experiments/toxicity.py ../shared/data runs/toxicity --model --reddit 3000
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from valence.annotate.read import Annotation
from valence.annotate.run import annotate
from valence.distill import Fidelity, distill, evaluate
from valence.recipe import CorpusRecipe, ScoreRecipe, SegmentRecipe
from valence.score.student import Student
from valence.store import write_json

BOUND, SEED = -0.5, 0
TWEETS: dict[str, Any] = {"label": {"column": "class", "rewards": {"0": -1.0, "1": -1.0, "2": 0.0}}}
COMMENTS: dict[str, Any] = {"label": {"column": "spans", "spans": True}}


def corpus(data: Path, name: str) -> CorpusRecipe:
    """How each set is read and cut."""
    if name == "davidson":
        return CorpusRecipe(
            reader="files",
            paths=(str(data / "davidson/labeled.csv"),),
            text_column="tweet",
            segmenter=SegmentRecipe(kind="document"),
            valid_share=0.2,
        )
    if name == "toxic_spans":
        files = ("tsd_train.csv", "tsd_trial.csv")
        return CorpusRecipe(
            reader="files",
            paths=tuple(str(data / "toxic_spans" / file) for file in files),
            segmenter=SegmentRecipe(kind="sentence"),
            valid_share=0.2,
        )
    return CorpusRecipe(
        reader="files",
        paths=(str(data / "reddit/*.jsonl.gz"),),
        id_column="id",
        segmenter=SegmentRecipe(kind="sentence"),
        valid_share=0.1,
    )


def by_labels(data: Path, out: Path, kind: str) -> list[dict[str, Any]]:
    """The student of the labels, and what it finds in the held-out part of each set."""
    sets = [
        annotate(out / name, ScoreRecipe(scorer=scorer, workers=1), corpus(data, name), seed=SEED)
        for name, scorer in (("davidson", TWEETS), ("toxic_spans", COMMENTS))
    ]
    place = out / f"student-{kind}"
    both = distill(sets, "label", place, bound=BOUND, seed=SEED, kind=kind, overwrite=True)
    rows = [row(f"labels, {kind}", "both", both)]
    if kind == "transformer":
        return rows
    for found in sets:
        measured = evaluate(Student(str(place)), found, "label", bound=BOUND, seed=SEED)
        auroc = next(m for m in measured if m.metric == "auroc_at_bound")
        rows.append(
            {
                "student": f"labels, {kind}",
                "set": found.path.name,
                "segments": auroc.count,
                "auroc": (auroc.value, auroc.low, auroc.high),
            }
        )
    return rows


def row(student: str, name: str, found: Fidelity) -> dict[str, Any]:
    """One line of the table: fidelity on the held-out documents."""
    auroc = next(m for m in found.measurements if m.metric == "auroc_at_bound")
    return {
        "student": student,
        "set": name,
        "segments": auroc.count,
        "auroc": (auroc.value, auroc.low, auroc.high),
        "spearman": found.value("spearman"),
        "f1": found.value("f1_matched"),
        "mb_per_core_second": found.throughput.student,
        "times_as_fast": found.throughput.ratio,
        "tried": found.facts.get("tried"),
    }


def annotate_reddit(data: Path, out: Path, student: Path) -> dict[str, Any]:
    """Forum posts by sentence, scored by the student."""
    score = ScoreRecipe(scorer={"student": {"path": str(student)}}, name="toxicity", workers=2)
    started = time.monotonic()
    found = annotate(out / "reddit", score, corpus(data, "reddit"), seed=SEED)
    ledger = found.rewards("toxicity")
    below = segments = 0
    for document in found.read("toxicity"):
        below += int((document.rewards < BOUND).sum())
        segments += len(document.rewards)
    return {
        "segments": segments,
        "share_below": below / segments,
        "mb_per_core_second": ledger["bytes"] / 1e6 / ledger["core_seconds"],
        "seconds": time.monotonic() - started,
    }


def by_model(data: Path, out: Path, documents: int) -> list[dict[str, Any]]:
    """A student of a transformer's rewards on forum posts and on the labelled texts."""
    teacher = {
        "classifier": {
            "model": str(out / "student-transformer"),
            "activation": "none",
            "bad": False,
            "batch": 64,
            "device": "cpu",
        }
    }
    score = ScoreRecipe(scorer=teacher, name="transformer", workers=1)
    chars = documents * 900
    posts = corpus(data, "reddit").model_copy(update={"max_chars": chars})
    sets = [annotate(out / "reddit-small", score, posts, seed=SEED)]
    sets += [annotate(out / name, score) for name in ("davidson", "toxic_spans")]
    rows = []
    for name, bound, given in (
        ("reddit, the worst 3%", ("quantile", 0.03), sets[:1]),
        ("reddit and the labelled texts", BOUND, sets),
    ):
        place = out / f"student-of-transformer-{len(given)}"
        found = distill(given, "transformer", place, bound=bound, seed=SEED, overwrite=True)
        rows.append(row("a transformer, linear", name, found))
    for name in ("davidson", "toxic_spans"):
        for who, scorer in (("transformer", "transformer"), ("its student", Student(str(place)))):
            measured = evaluate(scorer, Annotation(out / name), "label", bound=BOUND, seed=SEED)
            auroc = next(m for m in measured if m.metric == "auroc_at_bound")
            rows.append(
                {
                    "student": f"{who}, by the labels",
                    "set": name,
                    "segments": auroc.count,
                    "auroc": (auroc.value, auroc.low, auroc.high),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", default="linear", choices=("linear", "mlp"))
    parser.add_argument("--model", action="store_true", help="also with a model as teacher")
    parser.add_argument("--reddit", type=int, default=3000, help="posts that the model scores")
    given = parser.parse_args()
    rows = by_labels(given.data, given.out, given.kind)
    report: dict[str, Any] = {
        "reddit": annotate_reddit(given.data, given.out, given.out / f"student-{given.kind}")
    }
    if given.model:
        rows += by_labels(given.data, given.out, "transformer")
        rows += by_model(given.data, given.out, given.reddit)
    report["rows"] = rows
    write_json(given.out / "toxicity.json", report)
    for found in rows:
        value, low, high = found["auroc"]
        said = f"AUROC {value:.3f} [{low:.3f}, {high:.3f}] on {found['segments']:,} segments"
        print(f"{found['student']:28} {found['set']:32} {said}")
    print(json.dumps(report["reddit"]))


if __name__ == "__main__":
    main()
