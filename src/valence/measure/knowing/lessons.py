"""What an honest model can be taught with: a model's own answers, and saying "I don't know".

How often it is taught to abstain decides from which chance of being right on it answers. A model
that imitates texts says each as often as it weighs. Of all questions that it cannot tell apart,
let a sample be right with probability p, and let each come with k samples and a abstentions,
where a right one weighs w(1) and an abstention w(0). At the optimum, abstaining is likelier than
the right answer exactly where

    a w(0) > k p w(1),   that is   p < (a / k) w(0) / w(1).

So the reward sets no threshold where both weigh the same; their number does. With a = t k it is
the target t, from which on answering pays under the rule of `score.answers`.

- Filtering at a threshold of 0, and good mode with a bound of 0: w(1) = w(0), and what is wrong
  weighs nothing. The threshold is t.
- rwr: w(r) = min(exp(r / beta), clip). With `clip: 1` again w(1) = w(0), and the threshold is t;
  without it t exp(-1 / beta). A wrong answer keeps e = exp(-t / (1 - t) / beta): one that is
  always the same would be said instead of abstaining only where (1 - t) e > t, which no beta up
  to 1 reaches from t = 1/2 on. (Where the model cannot tell whether its only answer is right, it
  answers from p = (t - e) / (1 - e) on: 0.737 for t = 0.75 and beta = 1.)
- mle: everything weighs the same. It abstains where no answer makes up t of the samples, so that
  it says what it is sure of, and not what is right.

Of p only a share of k samples is known, and of a only whole numbers can be taught: the part of
t k that is no whole number is one more abstention for as large a part of the questions. Samples
that abstain or say nothing are no answers to learn from, and left out; p is of all k.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from valence.corpus.readers import rank
from valence.measure.knowing.answering import Answered
from valence.measure.knowing.questions import SPLIT
from valence.measure.knowing.records import write_lines
from valence.recipe.knowing import KnowingRecipe

ANSWERS = "answers.jsonl"


def write_lessons(path: Path, answered: Sequence[Answered], recipe: KnowingRecipe) -> None:
    """Documents to train on: each question with the model's own answers, and with abstaining.

    `text` is question and answer; `prompt` and `answers` are what the scorer `answers` reads.
    """
    write_lines(path, _lessons(answered, recipe))


def taught_abstentions(each: Answered, recipe: KnowingRecipe) -> int:
    """How often a question is answered with abstaining: target times samples, on average."""
    # What floats make a little less than a whole number is one: 0.29 * 100.
    wanted = recipe.target * recipe.samples + 1e-9
    return math.floor(wanted + rank(f"abstaining/{each.question.prompt}", SPLIT))


def _lessons(answered: Sequence[Answered], recipe: KnowingRecipe) -> Iterable[dict[str, Any]]:
    for number, each in enumerate(answered):
        own = zip(each.samples, each.grades, strict=True)
        said = [sample for sample, grade in own if sample and grade != "abstained"]
        taught = [recipe.abstentions[0]] * taught_abstentions(each, recipe)
        for place, text in enumerate([*said, *taught]):
            yield {
                "id": f"{recipe.name}/{number}/{place}",
                "text": f"{each.question.prompt} {text}\n",
                "prompt": each.question.prompt,
                "answers": list(each.question.answers),
                "said": text,
                "group": each.question.group,
                "times": each.question.times,
            }
