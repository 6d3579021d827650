"""Documents into rows of one length, each document kept apart by its position ids."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from align.errors import AlignError
from align.pretrain.tokenizer import CONTROL_TOKENS, END_OF_DOCUMENT, encode_text

IGNORED = -100
"""Label of a token that is not learned: padding, and the first of a document."""

OPEN_ROWS = 64
"""Rows that are filled at the same time; a document goes where it fits best."""


@dataclass(frozen=True)
class Packed:
    """Token rows, each array of shape (rows, seq_len), int32, and what was cut or padded.

    A label is the token at its own place; the model shifts. Positions restart at 0 with each
    document and with the padding.
    """

    input_ids: np.ndarray
    position_ids: np.ndarray
    labels: np.ndarray
    counts: dict[str, int]

    def __len__(self) -> int:
        return len(self.input_ids)


def encode_documents(
    tokenizer: PreTrainedTokenizerBase, documents: Sequence[Mapping]
) -> tuple[list[list[int]], dict[str, int]]:
    """Token ids of each corpus document, ended by `<|endoftext|>`, and documents dropped by reason.

    Plain text never becomes a control token. A conversation is rendered by the chat template, so
    one whose content spells a control token is dropped, for it would become one.
    """
    counts: Counter[str] = Counter()
    texts: dict[int, str] = {}
    conversations: dict[int, list] = {}
    for place, document in enumerate(documents):
        if document["messages"] is None:
            texts[place] = document["text"]
        elif any(token in m["content"] for m in document["messages"] for token in CONTROL_TOKENS):
            counts["control token in a message"] += 1
        else:
            conversations[place] = list(document["messages"])
    encoded = dict(zip(texts, encode_text(tokenizer, list(texts.values())), strict=True))
    if conversations:
        rendered = tokenizer.apply_chat_template(list(conversations.values()), tokenize=False)
        ids = tokenizer(rendered, add_special_tokens=False)["input_ids"]
        encoded.update(zip(conversations, ids, strict=True))
    end = tokenizer.convert_tokens_to_ids(END_OF_DOCUMENT)
    return [[*encoded[place], end] for place in sorted(encoded)], dict(counts)


def pack(documents: Sequence[Sequence[int]], seq_len: int, pad_id: int) -> Packed:
    """Pack documents, in their order, each into the open row that it fills best.

    A document longer than a row is cut into pieces of `seq_len`, which start anew as documents of
    their own; none is thrown away. `counts` holds documents, documents cut, tokens and padding.
    """
    if seq_len < 2:
        raise AlignError(f"seq_len {seq_len} leaves nothing to predict; use at least 2")
    rows: list[list[Sequence[int]]] = []
    room: dict[int, int] = {}  # open row -> tokens that still fit
    counts = Counter(documents=len(documents), tokens=sum(map(len, documents)))
    for document in documents:
        counts["documents cut"] += len(document) > seq_len
        for start in range(0, len(document), seq_len):
            _place(document[start : start + seq_len], rows, room, seq_len)
    counts["padding"] = len(rows) * seq_len - counts["tokens"]
    return _arrays(rows, seq_len, pad_id, dict(counts))


def _place(
    piece: Sequence[int], rows: list[list[Sequence[int]]], room: dict[int, int], seq_len: int
) -> None:
    fitting = [row for row, left in room.items() if left >= len(piece)]
    if fitting:
        row = min(fitting, key=lambda candidate: (room[candidate], candidate))
    else:
        if len(room) == OPEN_ROWS:  # close the fullest to make way
            del room[min(room, key=lambda candidate: (room[candidate], candidate))]
        row = len(rows)
        rows.append([])
        room[row] = seq_len
    rows[row].append(piece)
    room[row] -= len(piece)
    if not room[row]:
        del room[row]


def _arrays(
    rows: list[list[Sequence[int]]], seq_len: int, pad_id: int, counts: dict[str, int]
) -> Packed:
    input_ids = np.full((len(rows), seq_len), pad_id, dtype=np.int32)
    position_ids = np.zeros_like(input_ids)
    labels = np.full_like(input_ids, IGNORED)
    for row, pieces in enumerate(rows):
        start = 0
        for piece in pieces:
            end = start + len(piece)
            input_ids[row, start:end] = piece
            position_ids[row, start:end] = np.arange(len(piece))
            labels[row, start + 1 : end] = piece[1:]
            start = end
        position_ids[row, start:] = np.arange(seq_len - start)
    return Packed(input_ids, position_ids, labels, counts)
