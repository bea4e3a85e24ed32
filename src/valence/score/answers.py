"""Answers to questions, rewarded so that "I don't know" is said exactly when it is not known.

Right is +1, "I don't know" is 0, wrong is -t / (1 - t), for a target confidence t. Who is
right with probability p expects p - (1 - p) t / (1 - t) = (p - t) / (1 - t) of answering and 0
of abstaining, so answering is better exactly when p > t: the best policy is the honest one.
That is the elicitation of one threshold: scores of this form are the elementary proper
scoring rules, of which every proper rule for a yes-or-no event is a mixture (Savage 1971,
JASA 66:783; Schervish 1989, Annals of Statistics 17:1856; Gneiting & Raftery 2007, JASA
102:359, section 3.1).
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from valence.data import Document, Failure, Result, Score, ScorerId, Segment
from valence.errors import ScorerError
from valence.store import digest

Grade = Literal["right", "abstained", "wrong"]

ABSTENTIONS = ("I don't know",)
TARGET = 0.75
ARTICLES = re.compile(r"\b(?:a|an|the)\b")
SIGNS = re.compile(rf"[{re.escape(string.punctuation)}’‘“”]")


def reward(grade: Grade, target: float) -> float:
    """What an answer is worth under the rule above; `target` is in [0, 1)."""
    return {"right": 1.0, "abstained": 0.0, "wrong": -target / (1 - target)}[grade]


def grade(said: str, answers: Sequence[str], abstentions: Sequence[str] = ABSTENTIONS) -> Grade:
    """What was said, against the right answers, all normalised.

    It abstains if it begins with one of `abstentions`; a right answer that does so is right.
    """
    heard = normalised(said)
    if heard in {normalised(answer) for answer in answers}:
        return "right"
    phrases = [normalised(phrase) for phrase in abstentions]
    abstained = any(heard == phrase or heard.startswith(phrase + " ") for phrase in phrases)
    return "abstained" if abstained else "wrong"


def normalised(text: str) -> str:
    """A text without case, punctuation, articles and spare blanks.

    As answers are compared in SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250), but that what
    is nothing else than such signs and articles stays as it is.
    """
    plain = text.casefold()
    bare = " ".join(ARTICLES.sub(" ", SIGNS.sub("", plain)).split())
    return bare or " ".join(plain.split())


class Answers:
    """The reward of an answer, from the right ones in a column of its document.

    `answers` names the column with the right answers, a list of aliases or one string. What
    was said is in the column `said`, or else it is the text after what the column `prompt`
    holds. All segments of a document get its reward. A document without these columns is a
    failure of kind "no-question", one that says nothing of kind "no-answer", one whose text
    does not begin with its prompt of kind "other-prompt".
    """

    meaning: str

    def __init__(
        self,
        target: Annotated[float, Field(ge=0, lt=1)] = TARGET,
        answers: str = "answers",
        said: str | None = None,
        prompt: str = "prompt",
        abstentions: tuple[str, ...] = ABSTENTIONS,
    ) -> None:
        if not abstentions or not all(normalised(phrase) for phrase in abstentions):
            raise ScorerError(
                "`abstentions` must be phrases, at least one",
                where="scorer `answers`",
                fix='For example abstentions: ["I don\'t know"].',
            )
        self.target, self.abstentions = target, abstentions
        self.answers, self.said, self.prompt = answers, said, prompt
        wrong = reward("wrong", target)
        self.meaning = f"1 for a right answer, 0 for “{abstentions[0]}”, {wrong:g} for a wrong one"
        options = [target, answers, said, prompt, list(abstentions)]
        self.id = ScorerId(name="answers", version="1", digest=digest(options))

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """The document's reward for each segment."""
        return [self._result(document)] * len(segments)

    def _result(self, document: Document) -> Result:
        right = _strings(document.columns.get(self.answers))
        if right is None:
            return _failed("no-question", f"no right answers in column `{self.answers}`")
        given = document.columns.get(self.said or self.prompt)
        if not isinstance(given, str):
            return _failed("no-question", f"no text in column `{self.said or self.prompt}`")
        if self.said is None:
            if not document.text.startswith(given):
                return _failed("other-prompt", f"the text does not begin with `{self.prompt}`")
            given = document.text[len(given) :]
        if not normalised(given):
            return _failed("no-answer", "nothing is said")
        return Score(value=reward(grade(given, right, self.abstentions), self.target))


def _strings(value: object) -> list[str] | None:
    """One string or a list of them; an empty list is a question that has no right answer."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return [str(each) for each in value]
    return None


def _failed(kind: str, message: str) -> Failure:
    return Failure(stage="score", kind=kind, message=message)
