"""Scoring beside writing against scoring afterwards: seconds for samples and their scores.

    python benchmarks/measure.py [--quick] [--json FILE] [--rounds N]

The model of the packaged recipe `demo` with fresh weights writes samples, and pycodestyle scores
them: in two processes beside the model while it writes the next ones, in these processes when all
are written, or in this process then. The time of the processes' start is not counted. On a
processor the model writes with all threads, so that scoring beside it takes them away; there
`valence measure` scores in processes afterwards. On an accelerator only scoring uses the processor.
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
    with scoring_pool(2) as submit:
        run(checkpoint, asks[:64], length, submit, beside=True)  # Starts the processes.
        sides = {
            "beside": lambda: run(checkpoint, asks, length, submit, beside=True),
            "processes afterwards": lambda: run(checkpoint, asks, length, submit, beside=False),
            "here afterwards": lambda: run(checkpoint, asks, length, None, beside=False),
        }
        seen = timing.interleaved(options.rounds or (1 if options.quick else 3), sides)
    hook.remove()
    rows: list[Row] = [timing.measured(name, values, "s") for name, values in seen.items()]
    chosen = "processes afterwards" if best_device().type == "cpu" else "beside"
    rows += [
        timing.ratio(
            f"time, {side}",
            seen[side],
            seen["here afterwards"],
            of=side,
            against="here afterwards",
            goal="< 1" if side == chosen else None,
        )
        for side in ("beside", "processes afterwards")
    ]
    where = f"{best_device().type}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    timing.publish(f"{texts} samples of up to {length} tokens; {where}", rows, options.json)


def run(
    checkpoint: Checkpoint,
    asks: Sequence[Ask],
    length: int,
    submit: Submit | None,
    *,
    beside: bool,
) -> float:
    """Seconds to write and score the samples."""
    timing.wait()
    started = time.perf_counter()
    scoring = Scoring(metrics=METRICS, submit=submit, beside=beside)
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
