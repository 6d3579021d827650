"""The tokenizer: lossless, single digits, control tokens that text cannot forge, ChatML."""

import random

import pytest
from transformers import AutoTokenizer

from align.pretrain.tokenizer import CONTROL_TOKENS, encode_text, train_tokenizer

TEXTS = ["State the answer: 4 - 1 = 3\n#### 3", "user\nHow many legs?", "it's café"] * 20
CONVERSATION = [
    {"role": "user", "content": "What is 4 - 1?"},
    {"role": "assistant", "content": "4 - 1 = 3\n#### 3"},
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 320)


def test_any_text_survives_a_round_trip(tokenizer):
    rng = random.Random(0)
    alphabets = ("abc XYZ\n\t 0123456789'#", "éßñ漢字かな한글", "😀👍🏽\u200d\r\n<|>")
    texts = ["".join(rng.choices(rng.choice(alphabets), k=40)) for _ in range(200)]
    assert [tokenizer.decode(ids) for ids in encode_text(tokenizer, texts)] == texts


def test_each_digit_is_a_token_of_its_own(tokenizer):
    ids = encode_text(tokenizer, ["2024", "a2024b 31"])
    assert tokenizer.convert_ids_to_tokens(ids[0]) == ["2", "0", "2", "4"]
    assert sum(token.isdigit() for token in tokenizer.convert_ids_to_tokens(ids[1])) == 6


def test_control_tokens_are_qwens_in_qwens_order_after_the_vocabulary(tokenizer):
    assert len(CONTROL_TOKENS) == 22
    ids = tokenizer.convert_tokens_to_ids(list(CONTROL_TOKENS))
    assert ids == list(range(len(tokenizer) - 22, len(tokenizer)))
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token == "<|endoftext|>"


@pytest.mark.parametrize("token", CONTROL_TOKENS)
def test_text_never_yields_a_control_token(tokenizer, token):
    text = f'print("{token}")'
    control = tokenizer.convert_tokens_to_ids(token)
    [ids] = encode_text(tokenizer, [text])
    assert control not in ids
    assert tokenizer.decode(ids) == text
    assert control in tokenizer(text)["input_ids"]  # the control: ordinary encoding does yield it


def test_a_reloaded_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "café 2024 <|im_end|> it's\n\n x"
    assert reloaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert encode_text(reloaded, [text]) == encode_text(tokenizer, [text])
    assert reloaded.chat_template == tokenizer.chat_template
    assert (reloaded.eos_token, reloaded.pad_token) == (tokenizer.eos_token, tokenizer.pad_token)


def test_training_again_gives_the_same_vocabulary(tokenizer):
    assert train_tokenizer(TEXTS, 320).get_vocab() == tokenizer.get_vocab()


def test_a_conversations_prefix_renders_to_a_prefix(tokenizer):
    def render(messages, **kwargs):
        return tokenizer.apply_chat_template(messages, tokenize=False, **kwargs)

    whole = render([*CONVERSATION, {"role": "user", "content": "And 5 - 1?"}])
    assert whole.startswith(render(CONVERSATION))
    assert whole.startswith(render(CONVERSATION[:1], add_generation_prompt=True))
    assert "system" not in whole


def test_the_assistant_mask_covers_the_answer_and_its_end_of_turn(tokenizer):
    rendered = tokenizer.apply_chat_template(
        CONVERSATION, return_dict=True, return_assistant_tokens_mask=True
    )
    pairs = zip(rendered["input_ids"], rendered["assistant_masks"], strict=True)
    assert tokenizer.decode([i for i, masked in pairs if masked]) == ("4 - 1 = 3\n#### 3<|im_end|>")


def test_a_vocabulary_without_room_for_the_bytes_is_refused():
    with pytest.raises(ValueError, match="at least 278"):
        train_tokenizer(TEXTS, 200)
