"""A conversation with a model, a turn at a time."""

from transformers.utils.logging import disable_progress_bar

from align.errors import AlignError
from align.generate.engine import Sampling
from align.generate.local import LocalEngine


class Chat:
    """Keeps the conversation so far. `model` is a folder in transformers' format, or a hub id."""

    def __init__(self, model: str, temperature: float = 1.0, max_tokens: int = 256):
        disable_progress_bar()
        try:
            self.engine = LocalEngine(model, fingerprint=model)
        except (OSError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise AlignError(f"{model}: no model that can be loaded: {first}") from None
        self.sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
        self.turns: list[dict[str, str]] = []

    def say(self, text: str) -> str:
        """The model's answer to `text`, given all that was said before."""
        self.turns.append({"role": "user", "content": text})
        [[answer]] = self.engine.generate(
            [self.turns], n=1, sampling=self.sampling, seed=len(self.turns)
        )
        self.turns.append({"role": "assistant", "content": answer.text})
        return answer.text
