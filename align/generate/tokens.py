"""From conversations to a model's tokens, and from its tokens to text."""

from collections.abc import Iterable, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from align.generate.engine import Conversation


def prompt_tokens(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Conversation]
) -> list[list[int]]:
    """Token ids of each prompt under the chat template, up to where the answer begins."""
    if not prompts:
        return []
    texts = [
        tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        for prompt in prompts
    ]
    return tokenizer(texts, add_special_tokens=False)["input_ids"]


def logps_by_text(
    tokenizer: PreTrainedTokenizerBase, tokens: Iterable[tuple[int, float]]
) -> dict[str, float]:
    """Log-probabilities by the tokens' text; tokens of the same text count together."""
    logps: dict[str, float] = {}
    for token, logp in tokens:
        text = tokenizer.decode([token])
        logps[text] = float(np.logaddexp(logps.get(text, -np.inf), logp))
    return logps
