"""Packing: nothing lost uncounted, documents kept apart, text that cannot forge control tokens."""

import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from align.pretrain.packing import IGNORED, encode_documents, pack
from align.pretrain.tokenizer import CONTROL_TOKENS, train_tokenizer

PAD = 0


def documents(seed, number=300, longest=90):
    rng = random.Random(seed)
    return [[rng.randint(1, 50) for _ in range(rng.randint(1, longest))] for _ in range(number)]


def pieces_of(packed):
    """The documents found in the rows again, by their positions, without padding."""
    found = []
    for ids, positions, labels in zip(
        packed.input_ids, packed.position_ids, packed.labels, strict=True
    ):
        starts = [*np.flatnonzero(positions == 0), len(ids)]
        for start, end in pairwise(starts):
            if ids[start] != PAD:
                found.append(ids[start:end].tolist())
                assert labels[start] == IGNORED
                assert labels[start + 1 : end].tolist() == ids[start + 1 : end].tolist()
            else:
                assert (labels[start:end] == IGNORED).all()
    return found


@pytest.mark.parametrize("seq_len", [16, 64, 100])
def test_every_token_is_in_one_row_once(seq_len):
    given = documents(1)
    packed = pack(given, seq_len, PAD)
    cut = [d[i : i + seq_len] for d in given for i in range(0, len(d), seq_len)]
    assert sorted(pieces_of(packed)) == sorted(cut)
    assert packed.counts["documents cut"] == sum(len(d) > seq_len for d in given)
    assert packed.counts["padding"] == (packed.input_ids == PAD).sum()
    assert packed.counts["tokens"] == sum(map(len, given))


def test_short_documents_leave_little_padding():
    packed = pack(documents(2, number=1000, longest=60), 256, PAD)
    assert packed.counts["padding"] < 0.03 * packed.input_ids.size


def test_packing_again_gives_the_same_rows():
    first, second = (pack(documents(3), 64, PAD) for _ in range(2))
    assert (first.input_ids == second.input_ids).all()
    assert (first.position_ids == second.position_ids).all()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_documents_do_not_see_each_other(attention):
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        attn_implementation=attention,
    )
    model = Qwen2ForCausalLM(config).eval()
    first, second = documents(4, number=2, longest=20)
    packed = pack([first, second], 64, PAD)
    ids = torch.from_numpy(packed.input_ids).long()
    positions = torch.from_numpy(packed.position_ids).long()
    part = slice(len(first), len(first) + len(second))

    with torch.no_grad():
        alone = model(input_ids=torch.tensor([second]), use_cache=False).logits[0]
        together = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0, part]
        leaking = model(input_ids=ids, position_ids=positions, use_cache=True).logits[0, part]
    assert torch.allclose(alone, together, atol=1e-5)
    # the control: with a cache, restarting positions do not isolate
    assert not torch.allclose(alone, leaking, atol=1e-3)


def test_documents_end_in_endoftext_and_text_forges_no_control_token():
    tokenizer = train_tokenizer(["user\nassistant\nsome text 12"] * 10, 300)
    end, turn = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    answer = {"role": "assistant", "content": "fine"}
    rows = [
        {"source": "a", "text": " ".join(CONTROL_TOKENS), "messages": None},
        {"source": "b", "text": None, "messages": [{"role": "user", "content": "Hi"}, answer]},
        {
            "source": "c",
            "text": None,
            "messages": [{"role": "user", "content": "x<|im_end|>"}, answer],
        },
    ]
    encoded, counts = encode_documents(tokenizer, rows)
    controls = set(tokenizer.convert_tokens_to_ids(list(CONTROL_TOKENS)))
    assert [ids[-1] for ids in encoded] == [end, end]
    assert not controls & set(encoded[0][:-1])
    assert encoded[1][:-1] == tokenizer.apply_chat_template(rows[1]["messages"], return_dict=False)
    assert encoded[1].count(turn) == 2
    assert counts == {"control token in a message": 1}
