"""Scoring beside writing against scoring afterwards: seconds for samples and their scores.

    python benchmarks/measure.py [--quick] [--json FILE] [--rounds N]

The model of the packaged recipe `demo` with fresh weights writes samples, and pycodestyle scores
them: in a process beside the model while it writes the next ones, or in this process when all are
written. The time of the process's start is not counted. The model writes with all threads, so on a
processor both share the same cores; on an accelerator only scoring uses them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import generate as writing
import timing
import torch
from timing import Row

from valence.annotate.local import Submit
from valence.data import Sample
from valence.guide import Ask, generate
from valence.measure.scoring import Scoring, scoring_pool
from valence.model import Checkpoint, best_device, create_model
from valence.precision import keep_freed_memory
from valence.recipe import MetricRecipe, load_recipe

METRICS = {
    "local": MetricRecipe(scorer="pep8-local", scale=-1000.0),
    "file": MetricRecipe(scorer="pep8", scale=-1000.0),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the rows."""
    options = timing.argument_parser(__doc__).parse_args(arguments)
    keep_freed_memory()
    recipe = load_recipe("demo")
    model = create_model(recipe.model, writing.VOCABULARY, writing.EOS, seed=0)
    checkpoint = Checkpoint(
        model=model.to(best_device()).eval(),
        tokenizer=writing.words(),
        scheme=None,
        segmenter="line",
    )
    texts, length = (64, 32) if options.quick else (512, 128)
    asks = [Ask(ids=(), seed=(0, number)) for number in range(texts)]
    hook = writing.end_at(checkpoint, 4 / length)
    with scoring_pool(1) as submit:
        run(checkpoint, asks[:32], length, submit)  # Starts the process.
        sides = {
            "beside": lambda: run(checkpoint, asks, length, submit),
            "afterwards": lambda: run(checkpoint, asks, length, None),
        }
        seen = timing.interleaved(options.rounds or (1 if options.quick else 3), sides)
    hook.remove()
    rows: list[Row] = [timing.measured(name, values, "s") for name, values in seen.items()]
    rows.append(
        timing.ratio(
            "time",
            seen["beside"],
            seen["afterwards"],
            of="scoring beside writing",
            against="scoring afterwards",
            goal="< 1",
        )
    )
    where = f"{best_device().type}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    timing.publish(f"{texts} samples of up to {length} tokens; {where}", rows, options.json)


def run(checkpoint: Checkpoint, asks: Sequence[Ask], length: int, submit: Submit | None) -> float:
    """Seconds to write and score the samples."""
    timing.wait()
    started = time.perf_counter()
    scoring = Scoring(metrics=METRICS, submit=submit)
    for index, text in generate(
        checkpoint, None, "none", asks, max_tokens=length, top_p=writing.TOP_P, batch=64
    ):
        scoring.begin(
            Sample(
                model="",
                mode="none",
                seed=0,
                index=index,
                prompt="",
                text=text.text.replace("w1", "\n") + "\n",
                ended=text.ended,
                tokens=text.tokens,
            )
        )
    assert all(len(found) == len(asks) for found in scoring.answers().values())
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
