"""A conversation with a model, a turn at a time."""

from pathlib import Path

from align.errors import AlignError
from align.generate.engine import Sampling
from align.generate.local import LocalEngine


class Chat:
    """Keeps the conversation so far. `model` is a folder in transformers' format, or a hub id."""

    def __init__(self, model: str, temperature: float = 1.0, max_tokens: int = 256):
        maybe_hub_id = model.count("/") == 1 and not model.startswith((".", "/"))
        if not maybe_hub_id and not (Path(model) / "config.json").is_file():
            raise AlignError(f"{model}: no model here (no config.json)")
        self.engine = LocalEngine(model, fingerprint=model)
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
