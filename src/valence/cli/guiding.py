"""The verbs on guides: certify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from valence.cli.console import app, in_plain_words
from valence.cli.evaluation import evaluate_and_print
from valence.cli.journey import OutOption, OverwriteOption, ResumeOption, check_flags

guide_app = typer.Typer(no_args_is_help=True, help="Guides: how much that is bad still leaves.")
app.add_typer(guide_app, name="guide")


@guide_app.command("certify")
@in_plain_words
def certify_command(
    model: Annotated[Path, typer.Argument(help="A checkpoint directory.")],
    scorer: Annotated[
        str, typer.Option(help="Who says which segments are bad; not what the guide looks at.")
    ],
    guide: Annotated[
        list[str],
        typer.Option(help="A guide, as in recipes. Several work together."),
    ],
    prompts: Annotated[
        Path | None, typer.Option(help="Held-out prompts (key `text`, or lines).")
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=2, help="Texts.")] = 256,
    per_prompt: Annotated[int, typer.Option(min=1, help="Texts of each prompt.")] = 1,
    max_tokens: Annotated[int, typer.Option(min=1, help="Text tokens at the most.")] = 256,
    mode: Annotated[str | None, typer.Option(help="The model's best by default.")] = None,
    bad_below: Annotated[float, typer.Option(help="A segment is bad below this reward.")] = 0.0,
    segments: Annotated[str, typer.Option(help="line, sentence or document.")] = "line",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    out_dir: OutOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Bound the share of segments that leave and are bad, with guides and without.

    The upper end of the 95% interval (exact, over texts or prompts) is the bound. It holds for
    prompts like these and for this scorer, no further.
    """
    from valence.control import read_scheme
    from valence.guide.modes import modes_of
    from valence.recipe import EvaluationRecipe, build_part
    from valence.recipe.load import read_value

    check_flags(resume, overwrite)
    held = read_value(scorer, where="--scorer")
    measure: dict[str, Any] = {
        "metrics": {"reward": {"scorer": held}},
        "modes": [mode or modes_of(read_scheme(model))[0]],
        "guides": {"guided": [read_value(each, where="--guide") for each in guide]},
        "certify": {"scorer": held, "bad_below": bad_below, "segments": segments},
    }
    sample: dict[str, Any] | None = {"count": count, "max_tokens": max_tokens}
    if prompts is not None:
        measure["scenarios"] = {
            "prompts": {
                "prompts": str(prompts), "per_prompt": per_prompt, "max_tokens": max_tokens,
                "count": count,
            }
        }  # fmt: skip
        sample = None
    tree = {
        "name": f"certify-{model.name}",
        "models": {model.name: str(model)},
        "seed": seed,
        "sample": sample,
        "measure": measure,
    }
    recipe = build_part(EvaluationRecipe, tree, where="command line")
    evaluate_and_print(recipe, out_dir, resume, overwrite, dry_run=False)
