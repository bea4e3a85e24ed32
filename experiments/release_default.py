"""Which generation defaults should a checkpoint leave with? Measured, not guessed.

Plain `transformers.generate()` from the tokenizer's own start (EOS, then the good token),
with the bad token suppressed always and the good token either allowed, so that the model
can renew its mode at each segment, or suppressed as well. Our guided good mode, which
forces the token at every segment start, is the yardstick.

    python experiments/release_default.py runs/demo --write docs/release-default.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import GenerationConfig

from valence.control import ControlScheme
from valence.data import Measurement, Sample
from valence.guide.ask import asks_for
from valence.guide.loop import generate
from valence.measure.rewards import measure_samples
from valence.model import Checkpoint, load_checkpoint
from valence.recipe import load_recipe

COUNT, SEED = 256, 0


def plain(
    checkpoint: Checkpoint, scheme: ControlScheme, suppressed: list[int], tokens: int
) -> list[Sample]:
    """Samples by `generate()` alone; `tokens` bounds text and control tokens together."""
    tokenizer, config = checkpoint.tokenizer, checkpoint.model.generation_config
    settings = GenerationConfig(**{**config.to_dict(), "suppress_tokens": suppressed})
    settings.max_new_tokens = tokens
    start = tokenizer("", return_tensors="pt")["input_ids"].repeat(COUNT // 2, 1)
    samples: list[Sample] = []
    torch.manual_seed(SEED)
    for _ in range(2):
        with torch.inference_mode():
            output = checkpoint.model.generate(
                start, attention_mask=torch.ones_like(start), generation_config=settings
            )
        for row in output[:, start.shape[1] :].tolist():
            ended = tokenizer.eos_token_id in row
            samples.append(
                Sample(
                    model="conditional",
                    mode="",
                    seed=SEED,
                    index=len(samples),
                    prompt="",
                    text=tokenizer.decode(row, skip_special_tokens=True),
                    ended=ended,
                    tokens=len(row),
                )
            )
    return samples


def guided(checkpoint: Checkpoint, scheme: ControlScheme, max_tokens: int) -> list[Sample]:
    """Samples with the good token forced at each segment start."""
    asks = asks_for(checkpoint.tokenizer, [""], per_prompt=COUNT, seed=SEED)
    written = dict(
        generate(
            checkpoint, scheme, scheme.modes[scheme.best], asks,
            max_tokens=max_tokens, top_p=0.9,
        )
    )  # fmt: skip
    return [
        Sample(
            model="conditional", mode="", seed=SEED, index=index, prompt="", text=each.text,
            ended=each.ended, tokens=each.tokens,
        )
        for index, each in sorted(written.items())
    ]  # fmt: skip


def cell(row: Measurement) -> str:
    if row.value is None or row.low is None or row.high is None:
        return "not measured"
    return f"{row.value:.3g} [{row.low:.3g}, {row.high:.3g}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path, help="a finished run with a model `conditional`")
    parser.add_argument("--write", type=Path, help="Markdown file to write the table into")
    asked = parser.parse_args()
    recipe = load_recipe(asked.run / "recipe.yaml")
    checkpoint = load_checkpoint(asked.run / "models" / "conditional")
    scheme = checkpoint.scheme
    assert scheme is not None
    assert recipe.sample is not None
    max_tokens = recipe.sample.max_tokens
    ids = scheme.token_ids(checkpoint.tokenizer)
    worse = [i for band, i in enumerate(ids) if band != scheme.best]
    ways = {
        "plain, good token allowed": plain(checkpoint, scheme, worse, max_tokens),
        "plain, good token suppressed": plain(checkpoint, scheme, list(ids), max_tokens),
        "guided: good token forced": guided(checkpoint, scheme, max_tokens),
    }
    headline = recipe.measure.headline or ""
    metrics = [*recipe.measure.metrics, "broken_share", "distinct_2"]
    lines = [
        "# Which generation defaults does a checkpoint leave with?",
        "",
        "Written by `experiments/release_default.py` from the conditional model of"
        f" `recipes/{recipe.name}.yaml`: {COUNT} samples each, seed {SEED}, 95% intervals.",
        "",
        "| way of sampling | " + " | ".join(m.replace("_", " ") for m in metrics) + " |",
        "|---|" + "---|" * len(metrics),
    ]
    found = {}
    for way, samples in ways.items():
        rows = {row.metric: row for row in measure_samples(samples, recipe.measure)}
        found[way] = rows[headline]
        lines.append(f"| {way} | " + " | ".join(cell(rows[m]) for m in metrics) + " |")
    allowed, suppressed = (found[way] for way in list(ways)[:2])
    better = "allowed" if (allowed.value or 0) <= (suppressed.value or 0) else "suppressed"
    apart = (allowed.high or 0) < (suppressed.low or 0) or (suppressed.high or 0) < (
        allowed.low or 0
    )
    lines += [
        "",
        f"On {headline.replace('_', ' ')} the good token is better {better}"
        + ("; the intervals are disjoint." if apart else ", but the intervals overlap."),
        "The bad token is suppressed in either case, and decoding skips control tokens.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if asked.write is not None:
        asked.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
