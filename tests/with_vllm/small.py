"""A small model's settings and tokenizer, and what is asked of it."""

import random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from align.generate import Sampling

CONTEXT = 128
VOCABULARY = 104
# <|im_end|> of the tokenizer below, and the ids that its vocabulary lacks
ENDS = [97, *range(99, VOCABULARY)]
GREEDY = Sampling(temperature=0, max_tokens=40)
SCHEMA = {
    "type": "object",
    "properties": {
        "sure": {"type": "boolean"},
        "label": {"enum": ["good", "bad", "neither"]},
    },
    "required": ["sure", "label"],
    "additionalProperties": False,
}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """A token for each printable ASCII character, so that no answer ends within a character."""
    characters = ["Ġ", "Ċ", *map(chr, range(ord("!"), ord("~") + 1))]
    byte_level = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(characters)}, merges=[]))
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=byte_level, pad_token="<|endoftext|>", eos_token="<|im_end|>"
    )
    fast.add_tokens(["<|im_start|>"], special_tokens=True)
    fast.chat_template = TEMPLATE
    return fast


def conversations(count, seed=0):
    draw = random.Random(seed)
    return [
        [{"role": "user", "content": "".join(draw.choices("ab 01", k=draw.randint(1, 40)))}]
        for _ in range(count)
    ]


def answered(engine, prompts, samples=None, sampling=GREEDY, seed=0, **more):
    """Answers by place, in the order in which they came."""
    found = {}
    samples = samples or [0] * len(prompts)
    engine.answer(prompts, samples, sampling=sampling, seed=seed, on_answers=found.update, **more)
    return found
