"""Knowing what it knows: accuracy, confidence in own answers, and saying "I don't know".

`know` measures a model in a mode on the questions of a `KnowingRecipe`. Sources: Kadavath et
al. 2022 (arXiv 2207.05221) for P(True) and P(IK); selective accuracy as in Geifman & El-Yaniv
2017 (arXiv 1705.08500); Yin et al. 2023 (arXiv 2305.18153) for questions without an answer.
"""

from valence.measure.knowing.know import know
from valence.measure.knowing.lessons import ANSWERS
from valence.measure.knowing.questions import Parts, Question, read_questions
from valence.measure.knowing.records import QUESTIONS

__all__ = ["ANSWERS", "QUESTIONS", "Parts", "Question", "know", "read_questions"]
