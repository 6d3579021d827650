"""A trained reward model as a reward function of TRL's signature."""

from pathlib import Path
from typing import Any

Conversation = list[dict[str, str]]


class RewardModel:
    """Scores completions by a sequence-classification model with one label.

    The score is the head's output at the last token of prompt and completion under the model's own
    chat template, in float32. Completions are scored `batch_size` at a time, longest first.
    """

    def __init__(self, folder: str | Path, name: str | None = None, batch_size: int = 64):
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype)
        self.model.to(device).eval()
        self.batch_size = batch_size
        self.__name__ = name or Path(folder).name

    def __call__(
        self, prompts: list[Conversation], completions: list[Conversation], **_: Any
    ) -> list[float]:
        """One score a completion; `prompts` and `completions` have the same length."""
        conversations = [[*p, *c] for p, c in zip(prompts, completions, strict=True)]
        texts = self.tokenizer.apply_chat_template(conversations, tokenize=False)
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        scores = [0.0] * len(texts)
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            for index, score in zip(batch, self._score([texts[i] for i in batch]), strict=True):
                scores[index] = score
        return scores

    def _score(self, texts: list[str]) -> list[float]:
        import torch

        inputs = self.tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="right", add_special_tokens=False
        )
        inputs = {k: v.to(self.model.device) for k, v in inputs.items() if k != "token_type_ids"}
        with torch.inference_mode():
            return self.model(**inputs, use_cache=False).logits[:, 0].float().tolist()
