import json
import logging
import math
import random
from itertools import chain

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from align.errors import AlignError
from align.generate import LocalEngine, Sampling
from align.model import QwenForCausalLM

VOCABULARY = 320
# <|im_end|> of the tokenizer below, and three ids that its vocabulary lacks
ENDS = [256, 270, 271, 272]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    byte_level = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=byte_level, pad_token="<|endoftext|>", eos_token="<|im_end|>"
    )
    fast.add_tokens(["<|im_start|>"], special_tokens=True)
    fast.chat_template = TEMPLATE
    return fast


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def tiny_model(**settings):
    torch.manual_seed(0)
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.3,
    }
    model = Qwen2ForCausalLM(Qwen2Config(**(shape | settings))).eval()
    model.generation_config.eos_token_id = ENDS
    model.generation_config.pad_token_id = 257
    return model


def conversations(count):
    draw = random.Random(0)
    return [
        [{"role": "user", "content": "".join(draw.choices("ab 01", k=draw.randint(1, 40)))}]
        for _ in range(count)
    ]


def engine(model, tokenizer, **settings):
    return LocalEngine((model, tokenizer), fingerprint="tiny", **settings)


def prompt_ids(tokenizer, conversation):
    text = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_greedy_decoding_equals_transformers_generate_in_a_left_padded_batch(model, tokenizer):
    prompts = conversations(12)
    ours = engine(model, tokenizer).generate(
        prompts, n=1, sampling=Sampling(temperature=0, max_tokens=40), seed=0
    )
    texts = [
        tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True)
        for p in prompts
    ]
    batch = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
    width = batch["input_ids"].shape[1]
    theirs = model.generate(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        do_sample=False,
        max_new_tokens=40,
    )[:, width:].tolist()
    for [completion], row in zip(ours, theirs, strict=True):
        ids = list(completion.token_ids)
        assert row[: len(ids)] == ids
        assert (completion.finish_reason == "stop") == (ids[-1] in ENDS)
        assert len(ids) == 40 or completion.finish_reason == "stop"
    assert len({c.token_ids for [c] in ours}) > 1


def test_logps_are_those_of_a_plain_forward_pass_whatever_the_sampling(model, tokenizer):
    prompts = conversations(6)
    sampling = Sampling(temperature=0.7, top_k=20, top_p=0.9, max_tokens=30)
    answers = engine(model, tokenizer).generate(prompts, n=3, sampling=sampling, seed=1)
    for prompt, completions in zip(prompts, answers, strict=True):
        start = prompt_ids(tokenizer, prompt)
        for completion in completions:
            ids = torch.tensor([start + list(completion.token_ids)])
            with torch.no_grad():
                logprobs = model(input_ids=ids).logits[0, len(start) - 1 : -1].log_softmax(-1)
            expected = logprobs.gather(1, ids[0, len(start) :, None])[:, 0]
            assert torch.allclose(torch.tensor(completion.logps), expected, atol=1e-4)


def test_samples_that_share_a_prefill_equal_samples_drawn_apart(model, tokenizer):
    prompts = conversations(4)
    sampling = Sampling(max_tokens=25)
    eight = engine(model, tokenizer).generate(prompts, n=8, sampling=sampling, seed=3)
    three = engine(model, tokenizer).generate(prompts[:1], n=3, sampling=sampling, seed=3)
    assert [c.token_ids for c in three[0]] == [c.token_ids for c in eight[0][:3]]
    assert len({c.token_ids for c in eight[0]}) > 1


def test_tokens_do_not_depend_on_batch_size_or_order(model, tokenizer):
    prompts = conversations(20)
    sampling = Sampling(max_tokens=25)

    def tokens(prompts, seed=5, **settings):
        answers = engine(model, tokenizer, **settings).generate(
            prompts, n=2, sampling=sampling, seed=seed
        )
        return [[c.token_ids for c in completions] for completions in answers]

    whole = tokens(prompts)
    assert tokens(prompts, max_batch_tokens=1) == whole
    assert tokens(prompts[::-1], max_batch_tokens=500)[::-1] == whole
    assert tokens(prompts, seed=6) != whole


def test_a_repeated_prompt_gets_the_same_answer_twice(model, tokenizer):
    [prompt] = conversations(1)
    first, second = engine(model, tokenizer).generate(
        [prompt, prompt], n=2, sampling=Sampling(max_tokens=5), seed=0
    )
    assert first == second
    assert first is not second


def test_text_has_neither_end_token_nor_special_tokens(model, tokenizer):
    answers = engine(model, tokenizer).generate(
        conversations(10), n=4, sampling=Sampling(max_tokens=60), seed=0
    )
    completions = [c for group in answers for c in group]
    assert any(c.finish_reason == "stop" for c in completions)
    for completion in completions:
        stopped = completion.finish_reason == "stop"
        kept = completion.token_ids[:-1] if stopped else completion.token_ids
        assert not set(kept) & set(ENDS)
        assert completion.text == tokenizer.decode(list(kept), skip_special_tokens=True)
        assert "<|" not in completion.text


def test_a_run_cut_short_ends_with_the_bits_of_an_undisturbed_one(
    model, tokenizer, tmp_path, caplog
):
    prompts = conversations(12)
    sampling = Sampling(max_tokens=20)

    def run(path):
        seen = []
        answers = engine(model, tokenizer, cache=path, max_batch_tokens=400).generate(
            prompts, n=2, sampling=sampling, seed=2, on_progress=lambda *p: seen.append(p)
        )
        return answers, seen

    undisturbed, seen = run(tmp_path / "whole.jsonl")
    assert len(seen) > 2
    assert all(new > 0 for _, _, new in seen)
    assert seen[-1][:2] == (12, 12)

    content = (tmp_path / "whole.jsonl").read_bytes()
    lines = content.splitlines(keepends=True)
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(b"".join(lines[:5]) + lines[5][:40])
    with caplog.at_level(logging.WARNING):
        resumed, seen = run(torn)
    assert resumed == undisturbed
    assert "ignored 1 unreadable line(s) of 6" in caplog.text
    assert 0 < sum(new == 0 for _, _, new in seen) < len(seen)

    again, seen = run(torn)
    assert again == undisturbed
    assert all(new == 0 for _, _, new in seen)


@pytest.mark.parametrize("change", ["fingerprint", "seed", "n", "sampling"])
def test_the_cache_answers_only_what_was_asked(model, tokenizer, tmp_path, change):
    path = tmp_path / "cache.jsonl"
    asked = {"fingerprint": "tiny", "seed": 0, "n": 1, "sampling": Sampling(max_tokens=5)}
    other = {"fingerprint": "other", "seed": 1, "n": 2, "sampling": Sampling(max_tokens=6)}

    def sampled(fingerprint, seed, n, sampling):
        seen = []
        LocalEngine((model, tokenizer), fingerprint=fingerprint, cache=path).generate(
            conversations(2),
            n=n,
            sampling=sampling,
            seed=seed,
            on_progress=lambda *p: seen.append(p),
        )
        return sum(new for _, _, new in seen)

    assert sampled(**asked) > 0
    assert sampled(**asked) == 0
    assert sampled(**(asked | {change: other[change]})) > 0


def test_cached_numbers_come_back_exactly(model, tokenizer, tmp_path):
    path = tmp_path / "cache.jsonl"
    asked = {"n": 2, "sampling": Sampling(max_tokens=10), "seed": 0}
    cached = engine(model, tokenizer, cache=path)
    assert cached.generate(conversations(3), **asked) == cached.generate(conversations(3), **asked)
    assert len(json.loads(path.read_text().splitlines()[0])["completions"]) == 2


def test_generation_leaves_a_training_model_in_training_mode(model, tokenizer):
    model.train()
    try:
        engine(model, tokenizer).generate(
            conversations(1), n=1, sampling=Sampling(max_tokens=2), seed=0
        )
        assert model.training
    finally:
        model.eval()


def test_a_saved_folder_is_read_into_our_class_and_answers_alike(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    asked = {"n": 2, "sampling": Sampling(max_tokens=8), "seed": 0}
    loaded = LocalEngine(tmp_path, fingerprint="x", device="cpu")
    assert type(loaded.model) is QwenForCausalLM
    direct = engine(model, tokenizer)
    pairs = zip(
        chain(*loaded.generate(conversations(3), **asked)),
        chain(*direct.generate(conversations(3), **asked)),
        strict=True,
    )
    for got, expected in pairs:
        assert got.token_ids == expected.token_ids and got.text == expected.text
        assert got.logps == pytest.approx(expected.logps, abs=1e-4)


def test_a_folder_of_another_family_keeps_its_class(tokenizer, tmp_path):
    config = LlamaConfig(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=32,
                         num_hidden_layers=1, num_attention_heads=2)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = LocalEngine(tmp_path, fingerprint="x", device="cpu")
    assert type(loaded.model) is LlamaForCausalLM
    (answers,) = loaded.generate(conversations(1), n=1, sampling=Sampling(max_tokens=4), seed=0)
    assert answers[0].token_ids


def test_a_prompt_longer_than_the_context_is_an_error_that_says_both_lengths(tokenizer):
    short = engine(tiny_model(max_position_embeddings=32), tokenizer)
    with pytest.raises(AlignError, match=r"has \d+ tokens, and the model's context is 32"):
        short.generate([[{"role": "user", "content": "a" * 40}]], n=1, sampling=Sampling(), seed=0)


def test_completions_end_with_the_context_and_that_is_announced(tokenizer, caplog):
    model = tiny_model(max_position_embeddings=48)
    prompts = [[{"role": "user", "content": "a" * length}] for length in (1, 5)]
    answers = engine(model, tokenizer).generate(
        prompts, n=8, sampling=Sampling(max_tokens=40), seed=0
    )
    for prompt, completions in zip(prompts, answers, strict=True):
        room = 48 - len(prompt_ids(tokenizer, prompt))
        cut = [c for c in completions if c.finish_reason == "length"]
        assert cut
        assert all(len(c.token_ids) == room for c in cut)
    assert "2 of 2 prompts leave less than max_tokens=40" in caplog.text


@pytest.mark.parametrize(
    ("attribute", "says"), [("chat_template", "no chat template"), ("pad_token", "no pad token")]
)
def test_an_incomplete_tokenizer_is_refused_with_a_remedy(model, tokenizer, attribute, says):
    value = getattr(tokenizer, attribute)
    setattr(tokenizer, attribute, None)
    try:
        with pytest.raises(AlignError, match=f"{says}: set tokenizer.{attribute}"):
            engine(model, tokenizer)
    finally:
        setattr(tokenizer, attribute, value)


def test_nan_logits_are_an_error(tokenizer):
    broken = tiny_model()
    with torch.no_grad():
        broken.lm_head.weight.fill_(float("nan"))
    with pytest.raises(AlignError, match="NaN"):
        engine(broken, tokenizer).generate(
            conversations(1), n=1, sampling=Sampling(max_tokens=3), seed=0
        )


def answered(local, prompts, samples, done=(), **more):
    """Answers by place, and the sizes of the batches they came in; `done` is not asked again."""
    found, batches = {}, []
    left = [place for place in range(len(prompts)) if place not in done]

    def take(answers):
        found.update((left[place], answer) for place, answer in answers)
        batches.append(len(answers))

    local.answer(
        [prompts[place] for place in left],
        [samples[place] for place in left],
        sampling=Sampling(max_tokens=20),
        seed=2,
        on_answers=take,
        **more,
    )
    return found, batches


def test_answer_and_generate_draw_the_same_samples(model, tokenizer):
    prompts = conversations(5)
    local = engine(model, tokenizer)
    groups = local.generate(prompts, n=3, sampling=Sampling(max_tokens=20), seed=2)
    # Every second sample of each prompt: numbers 0, 2 of one, 1 of the next.
    asked = [(p, s) for p in range(5) for s in range(3) if (3 * p + s) % 2 == 0]
    found, _ = answered(local, [prompts[p] for p, _ in asked], [s for _, s in asked])
    assert [found[i].token_ids for i in range(len(asked))] == [
        groups[p][s].token_ids for p, s in asked
    ]
    assert all(found[i].num_tokens == len(found[i].token_ids) for i in found)


def test_answers_asked_again_after_a_kill_come_in_the_same_batches(model, tokenizer):
    prompts = [prompt for prompt in conversations(12) for _ in range(2)]
    samples = [0, 1] * 12
    small = engine(model, tokenizer, max_batch_tokens=400)
    whole, batches = answered(small, prompts, samples)
    assert len(batches) > 3 and sorted(whole) == list(range(24))
    order = list(whole)
    for survived in (1, 3):
        done = order[: sum(batches[:survived])]
        rest, again = answered(small, prompts, samples, done=done)
        assert again == batches[survived:]
        assert rest == {place: whole[place] for place in order if place not in done}


def test_the_likeliest_first_tokens_are_the_models_own(model, tokenizer):
    prompts = conversations(2)
    found, _ = answered(engine(model, tokenizer), prompts, [0, 0], top_logprobs=4)
    for place, prompt in enumerate(prompts):
        ids = torch.tensor([prompt_ids(tokenizer, prompt)])
        logps = torch.log_softmax(model(ids).logits[0, -1], -1)
        best = logps.topk(4)
        sums = {}
        for logp, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            text = tokenizer.decode([token])  # several tokens of this vocabulary have no text
            sums[text] = sums.get(text, 0.0) + math.exp(logp)
        first = {text: math.exp(logp) for text, logp in found[place].first_logps.items()}
        assert first == pytest.approx(sums, abs=1e-5)


def test_a_prompt_beyond_the_context_fails_alone(model, tokenizer):
    prompts = [[{"role": "user", "content": "a" * 400}], *conversations(1)]
    found, _ = answered(engine(model, tokenizer), prompts, [0, 0])
    assert found[0].reason == "too_long" and found[1].token_ids


def test_embeddings_do_not_depend_on_padding(model, tokenizer):
    local = engine(model, tokenizer)
    together = torch.tensor(local.embed(["ab", "a 1 b 0 a", ""]))
    assert together.norm(dim=-1)[:2].tolist() == pytest.approx([1, 1], abs=1e-5)
    assert torch.allclose(together[:1], torch.tensor(local.embed(["ab"])), atol=1e-5)
