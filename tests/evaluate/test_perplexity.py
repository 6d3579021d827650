import math

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from align.errors import AlignError
from align.evaluate import perplexity

VOCABULARY = 300
TEXTS = [
    "a short one",
    "é",
    "A longer text, of several words, which fills more than one window. " * 2,
]


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer(pad_token="<|endoftext|>", eos_token="<|im_end|>")


def byte_tokenizer(**special):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    byte_level = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=byte_level, **special)


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.3,
    )
    return Qwen2ForCausalLM(config).eval()


def document(tokenizer, text):
    return [*tokenizer(text)["input_ids"], tokenizer.convert_tokens_to_ids("<|endoftext|>")]


@torch.no_grad()
def nll(model, ids, first, last):
    """NLL of ids[last] with ids[first:last] before it."""
    logits = model(torch.tensor([ids[first:last]])).logits[0, -1]
    return -float(logits.log_softmax(-1)[ids[last]])


def test_perplexity_equals_one_forward_pass_a_token(model, tokenizer):
    losses = []
    for text in TEXTS:
        ids = document(tokenizer, text)
        losses += [nll(model, ids, 0, last) for last in range(1, len(ids))]
    scores = perplexity(model, tokenizer, TEXTS, seq_len=512, batch=2)
    assert scores["tokens"] == len(losses)
    assert scores["perplexity"] == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-4)
    assert scores["low"] < scores["perplexity"] < scores["high"]


@pytest.mark.parametrize("seq_len", [2, 7, 32])
def test_a_long_document_is_scored_once_in_windows_that_overlap_by_half(model, tokenizer, seq_len):
    ids = document(tokenizer, TEXTS[2])
    step = seq_len - seq_len // 2
    losses = []
    for last in range(1, len(ids)):
        # the first window whose span holds the token
        window = max(0, math.ceil((last - seq_len + 1) / step))
        losses.append(nll(model, ids, window * step, last))
    scores = perplexity(model, tokenizer, TEXTS[2:], seq_len=seq_len, batch=3)
    assert scores["tokens"] == len(losses)
    assert scores["perplexity"] == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-4)


def test_a_uniform_model_has_the_vocabulary_for_perplexity(model, tokenizer):
    with torch.no_grad():
        model.lm_head.weight.zero_()
    scores = perplexity(model, tokenizer, TEXTS, seq_len=16, batch=4)
    assert scores["perplexity"] == pytest.approx(VOCABULARY, rel=1e-5)
    assert (scores["low"], scores["high"]) == pytest.approx((VOCABULARY, VOCABULARY), rel=1e-4)


def test_bits_per_byte_of_a_uniform_byte_model(model, tokenizer):
    with torch.no_grad():
        model.lm_head.weight.zero_()
    scores = perplexity(model, tokenizer, ["abcdefghi"], seq_len=16, batch=1)
    # eight bytes behind the first, and the end token beside them
    assert scores["bytes"] == 8
    assert scores["bits_per_byte"] == pytest.approx(9 * math.log2(VOCABULARY) / 8, rel=1e-5)


def test_batching_does_not_change_the_result(model, tokenizer):
    one = perplexity(model, tokenizer, TEXTS, seq_len=20, batch=1)
    all_at_once = perplexity(model, tokenizer, TEXTS, seq_len=20, batch=64)
    assert one == pytest.approx(all_at_once, rel=1e-5)


def test_text_that_spells_a_control_token_is_ordinary_text(model, tokenizer):
    scores = perplexity(model, tokenizer, ["a<|endoftext|>b"], seq_len=64, batch=1)
    assert scores["tokens"] == len("a<|endoftext|>b")


def test_empty_texts_are_counted_and_nothing_to_score_is_an_error(model, tokenizer):
    assert perplexity(model, tokenizer, ["ab", ""], seq_len=8, batch=1)["empty"] == 1
    with pytest.raises(AlignError, match="nothing to score in 1 texts"):
        perplexity(model, tokenizer, [""], seq_len=8, batch=1)


def test_a_tokenizer_without_document_end_is_refused(model):
    with pytest.raises(AlignError, match="endoftext"):
        perplexity(model, byte_tokenizer(), ["ab"], seq_len=8, batch=1)
