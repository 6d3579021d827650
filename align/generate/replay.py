"""An engine that answers from a file: for tests, examples, and runs that must ask nobody."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from align.generate.answering import Answering
from align.generate.engine import Completion, Conversation, Failure, OnAnswers, Sampling
from align.generate.errors import GenerationError


class ReplayEngine(Answering):
    """Answers from a JSONL file; the first line that fits a conversation answers it.

    A line is {"contains": [...], "answers": [...]}: it fits if all these texts occur in the
    conversation; or {"messages": [...], "answers": [...]}: it fits this conversation alone. Sample
    `i` gets `answers[i % len(answers)]`: a text, or an object with `text` and, if wanted,
    `finish_reason` ("length": cut off) and `first_logps`, or with `failure`, the reason of one.
    What no line fits fails as `not_recorded`.

    Raises GenerationError for a file that can't be read, with the line.
    """

    follows_schemas = False

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        self.fingerprint = f"replay:{hashlib.sha256(content).hexdigest()[:16]}"
        self._lines = [
            _line(path, number, text)
            for number, text in enumerate(content.decode().splitlines(), 1)
            if text.strip()
        ]

    def answer(
        self,
        prompts: Sequence[Conversation],
        samples: Sequence[int],
        *,
        sampling: Sampling,
        seed: int,
        on_answers: OnAnswers,
        schema: Mapping[str, Any] | None = None,
        top_logprobs: int = 0,
    ) -> None:
        """See `Engine`; sampling and seed decide nothing here."""
        on_answers(
            [
                (place, self._answer(prompt, sample))
                for place, (prompt, sample) in enumerate(zip(prompts, samples, strict=True))
            ]
        )

    def _answer(self, prompt: Conversation, sample: int) -> Completion | Failure:
        text = "\n".join(message["content"] for message in prompt)
        for line in self._lines:
            if "messages" in line:
                fits = line["messages"] == prompt
            else:
                fits = all(part in text for part in line["contains"])
            if fits:
                return _completion(line["answers"][sample % len(line["answers"])])
        return Failure("not_recorded", f"no line fits the conversation that ends {text[-80:]!r}")


def _line(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError as error:
        raise GenerationError(f"{path}:{number}: this line is not JSON: {error}") from None
    if (
        not isinstance(line, dict)
        or not line.get("answers")
        or len({"contains", "messages"} & line.keys()) != 1
    ):
        raise GenerationError(
            f"{path}:{number}: a line has 'answers' and either 'contains' or 'messages'"
        )
    return line


def _completion(answer: str | Mapping[str, Any]) -> Completion | Failure:
    if isinstance(answer, str):
        answer = {"text": answer}
    if "failure" in answer:
        return Failure(answer["failure"], "recorded as a failure")
    return Completion(
        text=answer["text"],
        token_ids=(),
        logps=(),
        finish_reason=answer.get("finish_reason", "stop"),
        num_tokens=len(answer["text"].split()),
        first_logps=answer.get("first_logps", {}),
    )
