r"""A reward model: a sequence classifier with one output, asked about text or a response.

Reward models are trained on whole dialogues through a chat template, so they are asked in the
same form (Ouyang et al. 2022, arXiv 2203.02155; the dialogues' plain form "\n\nHuman: ...
\n\nAssistant: ..." is that of Bai et al. 2022, arXiv 2204.05862).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from pydantic import PositiveInt

from valence.data import Document, Failure, Result, Score, ScorerId, Segment
from valence.errors import ScorerError
from valence.score.network import Network
from valence.score.pretrained import Dtype
from valence.score.protocol import Item
from valence.store import digest

Message = dict[str, str]

ROLES = {"Human": "user", "Assistant": "assistant"}
_TURN = re.compile(r"\n\n(Human|Assistant): ?")


class RewardModel:
    r"""`scale` times the one output of a reward model.

    What it is asked about is one of three things:

    - plain text, if neither option below is given: each segment by itself, as it stands;
    - with `prompt_column`, the column of the document that holds the prompt: the prompt and,
      as the response, the document's text up to the end of the segment;
    - with `chat`, the document is a dialogue "\n\nHuman: ...\n\nAssistant: ...": its turns up
      to the end of the segment, the last of which must be the assistant's.

    The last two go through the model's chat template. With the segmenter `document` they
    judge the whole response; with others, how good it is so far.

    Nothing is ever cut: a text of more than `max_tokens` tokens (the model's own limit, if not
    given) is a `Failure` of kind "too-long". Others are "no-prompt", "not-a-dialogue",
    "no-response", "template" (it refuses the turns, or their text cannot be kept apart from
    its control tokens), "no-tokens" and "not-finite".
    `model`, `revision`, `device`, `dtype` and `batch` are those of `Classifier`.

    Raises `ScorerError`, `ModelError`, `MissingFileError`.
    """

    def __init__(
        self,
        *,
        model: str,
        prompt_column: str | None = None,
        chat: bool = False,
        scale: float = 1.0,
        max_tokens: PositiveInt | None = None,
        revision: str | None = None,
        device: str = "auto",
        dtype: Dtype = "auto",
        batch: PositiveInt = 16,
    ) -> None:
        if chat and prompt_column is not None:
            raise ScorerError(
                "`chat` and `prompt_column` exclude each other",
                where="reward-model",
                fix="A dialogue has its prompt in itself: leave one of them out.",
            )
        self._network = Network(model, "classifier", device=device, dtype=dtype, revision=revision)
        self.device, self.batch = self._network.device, batch
        self._column, self._chat, self._scale = prompt_column, chat, scale
        self._check(model)
        limits = [n for n in (max_tokens, self._network.limit) if n is not None]
        self._most = min(limits, default=None)
        options = {
            "files": self._network.digest,
            "precision": self._network.precision,
            "prompt_column": prompt_column,
            "chat": chat,
            "scale": scale,
            "max_tokens": self._most,
        }
        self.id = ScorerId(name="reward-model", version="1", digest=digest(options))
        asked = "the dialogue" if chat else "the text" if prompt_column is None else "the response"
        how_far = " so far" if chat or prompt_column is not None else ", each segment by itself"
        self.meaning = f"{scale:g} times the output of {model} for {asked}{how_far}"

    def _check(self, model: str) -> None:
        outputs = int(self._network.config.num_labels)
        if outputs != 1:
            raise ScorerError(
                f"the model has {outputs} outputs, and a reward model has one",
                where=model,
                fix="Use the scorer `classifier` with one of its labels.",
            )
        if self._templated and self._network.tokenizer.chat_template is None:
            raise ScorerError(
                "the model has no chat template",
                where=model,
                fix="Leave out `prompt_column` and `chat` to have plain text judged.",
            )

    @property
    def _templated(self) -> bool:
        return self._chat or self._column is not None

    @property
    def flops(self) -> float:
        """Floating-point operations so far."""
        return self._network.flops

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """One reward per segment, in order."""
        return self.score_many([(document, segments)])[0]

    def score_many(self, items: Sequence[Item]) -> list[list[Result]]:
        """For each document what `score` gives for it, but for rounding."""
        asked = [self._ids(document, segments) for document, segments in items]
        readable = [ids for of_document in asked for ids in of_document if isinstance(ids, list)]
        outputs = iter(self._network.outputs(readable)[:, 0].tolist())
        return [
            [ids if isinstance(ids, Failure) else self._result(next(outputs)) for ids in of_one]
            for of_one in asked
        ]

    def _result(self, output: float) -> Result:
        if not math.isfinite(output * self._scale):
            return _failure("not-finite", f"the model gave {output}")
        return Score(value=output * self._scale)

    def _ids(self, document: Document, segments: Sequence[Segment]) -> list[list[int] | Failure]:
        """What the model reads for each segment, or why there is nothing to read."""
        if self._templated:
            found = [self._templated_ids(document, segment.end) for segment in segments]
        else:
            texts = [document.text[segment.start : segment.end] for segment in segments]
            prefix, suffix = self._network.prefix, self._network.suffix
            found = [
                [*prefix, *ids, *suffix]
                if ids
                else _failure("no-tokens", "the tokenizer makes nothing of it")
                for ids in self._network.token_ids(texts)
            ]
        return [self._unless_too_long(ids) for ids in found]

    def _unless_too_long(self, ids: list[int] | Failure) -> list[int] | Failure:
        if isinstance(ids, Failure) or self._most is None or len(ids) <= self._most:
            return ids
        return _failure("too-long", f"{len(ids)} tokens, and {self._most} at most are read")

    def _templated_ids(self, document: Document, end: int) -> list[int] | Failure:
        text = document.text[:end]
        if self._column is None:
            messages = turns(text)
            if not messages:
                return _failure("not-a-dialogue", "it does not begin with a turn of Human")
            if messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
                return _failure("no-response", "its last turn is not an answer of Assistant")
        else:
            prompt = document.columns.get(self._column)
            if not isinstance(prompt, str):
                return _failure("no-prompt", f"its column `{self._column}` holds no text")
            messages = [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": text},
            ]
        return self._through_template(messages)

    def _through_template(self, messages: list[Message]) -> list[int] | Failure:
        try:
            ids = self._render(messages)
            if self._network.tokenizer.backend_tokenizer.normalizer is not None:
                # A string may turn into a control token's when it is normalised.
                blank = self._render([{**message, "content": "x"} for message in messages])
                if self._controls(ids) != self._controls(blank):
                    return _failure("template", "its text spells a control token")
        except Exception as error:  # A template raises what its author liked.
            return _failure("template", f"{type(error).__name__}: {error}")
        return ids

    def _render(self, messages: list[Message]) -> list[int]:
        ids: list[int] = self._network.tokenizer.apply_chat_template(
            messages,
            tokenize=True,
            return_dict=False,
            # Only what the template itself writes may become a control token.
            sanitize_control_tokens=True,
            # Some templates print today's date; a reward must not depend on it.
            date_string="01 Jan 2025",
            tokenizer_kwargs={"verbose": False},
        )
        return ids

    def _controls(self, ids: Sequence[int]) -> list[int]:
        return [token for token in ids if token in self._network.control]


def turns(dialogue: str) -> list[Message]:
    r"""The messages of "\n\nHuman: ...\n\nAssistant: ..."; none if it does not begin so.

    A message is all text up to the next turn, less the one blank after the colon. What a
    speaker wrote in this form cannot be told from a turn: the form has no quoting.
    """
    pieces = _TURN.split(dialogue)
    if pieces[0] or len(pieces) < 3 or pieces[1] != "Human":
        return []
    return [
        {"role": ROLES[role], "content": content}
        for role, content in zip(pieces[1::2], pieces[2::2], strict=True)
    ]


def _failure(kind: str, message: str) -> Failure:
    return Failure(stage="score", kind=kind, message=message)
