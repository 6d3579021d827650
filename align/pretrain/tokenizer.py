"""A byte-level BPE tokenizer with Qwen's pre-tokenisation and Qwen2.5's control tokens."""

import json
from collections.abc import Iterable, Iterator, Mapping

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, Qwen2Tokenizer

from align.errors import AlignError

END_OF_DOCUMENT = "<|endoftext|>"
END_OF_TURN = "<|im_end|>"

CONTROL_TOKENS = (
    END_OF_DOCUMENT,
    "<|im_start|>",
    END_OF_TURN,
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
"""Qwen2.5's 22 control tokens in its order; their ids follow the learned vocabulary."""

PRE_TOKENISATION = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen's split pattern: `\\p{N}` without a count makes every digit a token of its own."""

# The generation markers give trainers the loss mask. A turn's text depends on nothing after
# it, so a conversation's prefix renders to a prefix of the rendered conversation.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] + '<|im_end|>' -}}{%- endif -%}"
    "{{- '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
"""ChatML without a default system prompt."""

SMALLEST_VOCABULARY = 256 + len(CONTROL_TOKENS)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, max_length: int = 32768
) -> PreTrainedTokenizerBase:
    """Learn merges from `texts` and return a transformers tokenizer.

    `vocab_size` counts the 256 bytes, the merges and the 22 control tokens; fewer merges than
    that leaves room for are learned when the texts run out of pairs. `max_length` is the
    tokenizer's `model_max_length`, in tokens. Raises `AlignError` for a vocabulary that cannot
    hold the bytes and control tokens.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise AlignError(
            f"vocab_size {vocab_size} is too small: 256 bytes and {len(CONTROL_TOKENS)} control "
            f"tokens need at least {SMALLEST_VOCABULARY}"
        )
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.NFC()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_TOKENISATION), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learner.decoder = decoders.ByteLevel()
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size - len(CONTROL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return _as_qwen(learner, max_length)


def document_texts(documents: Iterable[Mapping]) -> Iterator[str]:
    """The text of each corpus document; of a conversation, its roles and contents as rendered."""
    for document in documents:
        if document["messages"] is None:
            yield document["text"]
        else:
            for message in document["messages"]:
                yield f"{message['role']}\n{message['content']}"


def encode_text(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Token ids of each plain text; a control token spelled in it becomes ordinary bytes."""
    if not texts:
        return []
    return tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def _as_qwen(learner: Tokenizer, max_length: int) -> PreTrainedTokenizerBase:
    vocabulary = learner.get_vocab()
    for token in CONTROL_TOKENS:  # ids fixed here: the order they are added in below is not ours
        vocabulary[token] = len(vocabulary)
    merges = json.loads(learner.to_str())["model"]["merges"]
    return Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[tuple(pair) for pair in merges],
        eos_token=END_OF_TURN,
        pad_token=END_OF_DOCUMENT,
        unk_token=None,
        extra_special_tokens=list(CONTROL_TOKENS),
        chat_template=CHAT_TEMPLATE,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
