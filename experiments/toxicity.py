"""A toxicity student from human labels, and one from a model that is too slow for a corpus.

Labels as teacher: tweets (davidson, by document) and news comments (toxic_spans, by sentence;
a sentence is bad if raters marked a character of it). One student learns both. Its AUROC is
reported on held-out tweets and on the comments of the trial file, which it never saw; and it
annotates the forum posts of reddit/ by sentence. All comments were judged toxic as a whole: a
comment in which raters marked nothing says nothing of its sentences, so it is unlabelled. The
figure with such sentences called good stands beside it.

A model as teacher (`--model`): a small transformer, trained on the same labels, scores forum
posts and the labelled texts; a second student is distilled from it.

    python experiments/toxicity.py ../shared/data runs/toxicity --page docs/toxicity.md
    python experiments/toxicity.py ../shared/data runs/toxicity --model --page docs/toxicity.md
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from valence.annotate.read import Annotation
from valence.annotate.run import annotate
from valence.distill import Fidelity, distill, evaluate
from valence.distill.run import Kind
from valence.recipe import CorpusRecipe, ScoreRecipe, SegmentRecipe
from valence.score.student import Student
from valence.store import write_json, write_text

BOUND, SEED = -0.5, 0
TWEETS: dict[str, Any] = {"label": {"column": "class", "rewards": {"0": -1.0, "1": -1.0, "2": 0.0}}}
COMMENTS: dict[str, Any] = {"label": {"column": "spans", "spans": True, "unmarked": "unlabelled"}}
ALL_COMMENTS: dict[str, Any] = {"label": {"column": "spans", "spans": True}}
SCORERS = {"davidson": TWEETS, "toxic_spans": COMMENTS, "trial": COMMENTS}


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
    if name in ("toxic_spans", "trial"):
        file = "tsd_train.csv" if name == "toxic_spans" else "tsd_trial.csv"
        return CorpusRecipe(
            reader="files",
            paths=(str(data / "toxic_spans" / file),),
            segmenter=SegmentRecipe(kind="sentence"),
            valid_share=0.1 if name == "toxic_spans" else 0.0,
        )
    return CorpusRecipe(
        reader="files",
        paths=(str(data / "reddit/*.jsonl.gz"),),
        id_column="id",
        segmenter=SegmentRecipe(kind="sentence"),
        valid_share=0.1,
    )


def labelled(data: Path, out: Path) -> dict[str, Annotation]:
    """The three sets with their labels as rewards."""
    found = {
        name: annotate(out / name, ScoreRecipe(scorer=scorer, workers=1), corpus(data, name))
        for name, scorer in SCORERS.items()
    }
    annotate(out / "trial", ScoreRecipe(scorer=ALL_COMMENTS, name="label-all", workers=1))
    return found


def judged(student: str, scorer: Any, sets: dict[str, Annotation]) -> list[dict[str, Any]]:
    """AUROC of a scorer against human labels that it did not learn from."""
    rows = []
    for name, title, labels, held_out in (
        ("davidson", "tweets, held out", "label", True),
        ("trial", "comments of the trial file", "label", None),
        ("trial", "the same, unmarked ones called good", "label-all", None),
    ):
        measured = evaluate(scorer, sets[name], labels, bound=BOUND, seed=SEED, held_out=held_out)
        auroc = next(m for m in measured if m.metric == "auroc_at_bound")
        rows.append(
            {
                "student": student,
                "set": title,
                "segments": auroc.count,
                "auroc": (auroc.value, auroc.low, auroc.high),
            }
        )
    return rows


def by_labels(sets: dict[str, Annotation], out: Path, kind: Kind) -> list[dict[str, Any]]:
    """The student of the labels, and what it finds in texts that it never saw."""
    place = out / f"student-{kind}"
    taught = [sets["davidson"], sets["toxic_spans"]]
    both = distill(taught, "label", place, bound=BOUND, seed=SEED, kind=kind, overwrite=True)
    rows = [row(f"labels → {kind}", "its teacher, held-out documents of both", both)]
    if kind == "transformer":
        return rows
    return rows + judged(f"labels → {kind}", Student(str(place)), sets)


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
    found = annotate(out / "reddit", score, corpus(data, "reddit"), seed=SEED, overwrite=True)
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


def by_model(
    data: Path, sets: dict[str, Annotation], out: Path, documents: int
) -> list[dict[str, Any]]:
    """A student of a transformer's rewards on forum posts and on the labelled texts."""
    teacher: dict[str, dict[str, Any] | None] = {
        "classifier": {
            "model": str(out / "student-transformer"),
            "activation": "none",
            "bad": False,
            "batch": 64,
            "device": "cpu",
        }
    }
    score = ScoreRecipe(scorer=teacher, name="transformer", workers=2)
    posts = corpus(data, "reddit").model_copy(update={"max_chars": documents * 900})
    given = [annotate(out / "reddit-small", score, posts, seed=SEED)]
    given += [annotate(out / name, score) for name in ("davidson", "toxic_spans")]
    annotate(out / "trial", score)
    place = out / "student-of-transformer"
    found = distill(given, "transformer", place, bound=BOUND, seed=SEED, overwrite=True)
    rows = [row("transformer → linear", "its teacher, held-out documents of all", found)]
    rows += judged("transformer, from the labels", "transformer", sets)
    return rows + judged("transformer → linear", Student(str(place)), sets)


def page(report: dict[str, Any]) -> str:
    """The table as a page."""
    lines = [
        "# A toxicity student",
        "",
        "Written by `experiments/toxicity.py`. AUROC at the bound −0.5 on segments that the student"
        " never saw, 95% intervals over documents; tweets count as one segment, comments by"
        " sentence. A teacher of labels means −1 for what raters called hateful, offensive or"
        " toxic, else 0.",
        "",
        "| teacher → student | judged against | segments | AUROC |",
        "|---|---|---|---|",
    ]
    for found in report["rows"]:
        value, low, high = found["auroc"]
        lines.append(
            f"| {found['student']} | {found['set']} | {found['segments']:,} |"
            f" {value:.3f} [{low:.3f}, {high:.3f}] |"
        )
    reddit = report["reddit"]
    lines += [
        "",
        f"The linear student then annotated {reddit['segments']:,} sentences of forum posts with"
        f" two processes at {reddit['mb_per_core_second']:.1f} MB/s per core (reading, scoring and"
        f" writing); {reddit['share_below']:.1%} of them lie below the bound.",
    ]
    fast = [found for found in report["rows"] if found.get("mb_per_core_second")]
    for found in fast:
        lines.append(
            f"{found['student']}: {found['mb_per_core_second']:.1f} MB/s per core while it was"
            f" measured, rank correlation with its teacher {found['spearman']:.3f}."
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", default="linear", choices=("linear", "mlp"))
    parser.add_argument("--model", action="store_true", help="also with a model as teacher")
    parser.add_argument("--reddit", type=int, default=3000, help="posts that the model scores")
    parser.add_argument("--page", type=Path, help="also write the table as a page")
    given = parser.parse_args()
    sets = labelled(given.data, given.out)
    rows = by_labels(sets, given.out, given.kind)
    report: dict[str, Any] = {
        "reddit": annotate_reddit(given.data, given.out, given.out / f"student-{given.kind}")
    }
    if given.model:
        rows += by_labels(sets, given.out, "transformer")
        rows += by_model(given.data, sets, given.out, given.reddit)
    report["rows"] = rows
    write_json(given.out / "toxicity.json", report)
    print(page(report))
    if given.page is not None:
        write_text(given.page, page(report))


if __name__ == "__main__":
    main()
