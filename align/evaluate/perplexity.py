"""How well a model predicts plain text."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from align.errors import AlignError
from align.evaluate.intervals import ratio_interval

DOCUMENT_END = "<|endoftext|>"

# (document's number, token ids, how many of them are read without being scored)
_Window = tuple[int, list[int], int]


def perplexity(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    seq_len: int,
    batch: int,
) -> dict[str, Any]:
    """Perplexity and bits per byte of documents, each read by itself.

    A document is its text's tokens and one <|endoftext|>. Text that spells a control token is read
    as ordinary characters. Every token but the first, which has nothing before it, is scored. A
    document longer than `seq_len` is cut into windows of `seq_len` tokens; a window begins with the
    last half of the one before, read and not scored again, so that each token is scored once and
    has at least seq_len // 2 tokens before it where the document has them.

    perplexity = exp(sum of NLL / scored tokens). low, high: its 95 % interval over the choice of
    documents (delta method on the mean NLL; 0 and infinity for a single document).
    bits_per_byte = sum of NLL / (ln 2 x UTF-8 bytes of the text behind each document's first
    token); it compares models of different tokenizers. None if there are no such bytes.

    texts: at least one; an empty one is skipped, and counted in "empty". seq_len: tokens, at least
    2. batch: windows a forward pass.
    Returns "perplexity", "low", "high", "bits_per_byte", "tokens" (scored), "bytes", "documents",
    "empty". Raises AlignError if nothing is to score, or if the tokenizer has no <|endoftext|>.
    """
    if seq_len < 2 or batch < 1:
        raise AlignError(f"seq_len={seq_len}, batch={batch}: give seq_len >= 2 and batch >= 1")
    documents, sizes = _tokenised(tokenizer, [text for text in texts if text])
    if not documents:
        raise AlignError(
            f"nothing to score in {len(texts)} texts: give at least one that is not empty"
        )
    # Windows of like length share a batch, so that little of it is padding.
    windows = sorted(_windows(documents, seq_len), key=lambda window: len(window[1]))
    nll = [0.0] * len(documents)
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(windows), batch):
            some = windows[start : start + batch]
            for (document, _, _), loss in zip(some, _window_nll(model, some), strict=True):
                nll[document] += loss
    finally:
        model.train(was_training)
    tokens = [len(document) - 1 for document in documents]
    mean = math.fsum(nll) / sum(tokens)
    low, high = ratio_interval(nll, tokens)
    return {
        "perplexity": math.exp(mean),
        "low": math.exp(low),
        "high": math.exp(high),
        "bits_per_byte": math.fsum(nll) / (math.log(2) * sum(sizes)) if sum(sizes) else None,
        "tokens": sum(tokens),
        "bytes": sum(sizes),
        "documents": len(documents),
        "empty": len(texts) - len(documents),
    }


def _tokenised(
    tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> tuple[list[list[int]], list[int]]:
    """Token ids with the end token, and the UTF-8 bytes behind the first token, of each text."""
    end = tokenizer.convert_tokens_to_ids(DOCUMENT_END)
    if end is None or end == tokenizer.unk_token_id:
        raise AlignError(f"the tokenizer has no {DOCUMENT_END}, which ends a document here: add it")
    if not texts:
        return [], []
    encoded = tokenizer(
        texts, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )
    documents = [[*ids, end] for ids in encoded["input_ids"]]
    sizes = [
        len(text[offsets[0][1] :].encode())
        for text, offsets in zip(texts, encoded["offset_mapping"], strict=True)
    ]
    return documents, sizes


def _windows(documents: list[list[int]], seq_len: int) -> Iterator[_Window]:
    overlap = seq_len // 2
    for number, document in enumerate(documents):
        # What a document's first window reads without scoring is its first token.
        read, start = 1, 0
        while True:
            yield number, document[start : start + seq_len], read
            if start + seq_len >= len(document):
                break
            read, start = overlap, start + seq_len - overlap


@torch.inference_mode()
def _window_nll(model: PreTrainedModel, windows: list[_Window]) -> list[float]:
    """Summed negative log-likelihood, in nats, of each window's scored tokens."""
    width = max(len(ids) for _, ids, _ in windows)
    # Padding stands on the right, where causal attention keeps it from every token that counts.
    input_ids = torch.zeros(len(windows), width, dtype=torch.long)
    scored = torch.zeros(len(windows), width, dtype=torch.bool)
    for row, (_, ids, read) in enumerate(windows):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        scored[row, read : len(ids)] = True
    input_ids, scored = input_ids.to(model.device), scored.to(model.device)
    logits = model(input_ids=input_ids, use_cache=False).logits
    losses = cross_entropy(
        logits[:, :-1].float().transpose(1, 2), input_ids[:, 1:], reduction="none"
    )
    return (losses * scored[:, 1:]).sum(1, dtype=torch.float64).tolist()
