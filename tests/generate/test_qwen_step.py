"""The quick step says what the model itself says, and steps aside where it can't."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from align.generate import Sampling
from align.generate import decode as module
from align.generate.decode import decode
from align.generate.qwen_step import QwenStep
from align.model import preset, to_transformers

SHAPES = {
    "qwen2": {},
    "qwen3": {"qk_norm": True, "qkv_bias": False, "head_dim": 32},
    "moe": {"num_experts": 8, "num_experts_per_tok": 2, "shared_expert_intermediate_size": 24},
}
CHUNKS = {"chunk_size": 64, "local_size": 16, "original_max_position_embeddings": 64}
LONG = {
    "windows": {"layer_windows": [8, None]},
    "chunks": {"dual_chunk_attention_config": CHUNKS},
    "logn": {"use_logn_attn": True},
}


def model_of(**fields):
    torch.manual_seed(0)
    name = "tiny-moe" if "num_experts" in fields else "tiny"
    config = preset(
        name,
        vocab_size=61,
        hidden_size=64,
        num_hidden_layers=2,
        initializer_range=0.3,
        **fields,
    )
    return AutoModelForCausalLM.from_config(config).eval()


def sampled(model, prompts, sampling, ends=(), samples=2):
    asked = [list(range(samples))] * len(prompts)
    return decode(model, prompts, asked, sampling, 7, list(ends), 0, top_logprobs=2)


@pytest.fixture
def prompts():
    torch.manual_seed(1)
    return [torch.randint(1, 61, (length,)).tolist() for length in (3, 9, 17, 17)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0, max_tokens=30),
        Sampling(temperature=0.9, top_p=0.9, top_k=20, max_tokens=30),
    ],
    ids=["greedy", "sampled"],
)
def test_tokens_are_those_of_the_models_own_forward(monkeypatch, prompts, shape, sampling):
    """Prompts of several lengths, two samples each, and rows that end one after another."""
    model = model_of(**SHAPES[shape])
    assert QwenStep.of(model) is not None
    quick = sampled(model, prompts, sampling, ends=range(50, 61))
    monkeypatch.setattr(module.QwenStep, "of", lambda _: None)
    general = sampled(model, prompts, sampling, ends=range(50, 61))
    assert len({len(row.token_ids) for row in general}) > 2
    for got, expected in zip(quick, general, strict=True):
        assert got.token_ids == expected.token_ids
        assert got.stopped == expected.stopped
        assert got.logps == pytest.approx(expected.logps, abs=1e-4)


def test_greedy_tokens_are_those_of_transformers_generate(prompts):
    model = model_of()
    theirs = to_transformers(model)
    for prompt in prompts:
        (row,) = sampled(model, [prompt], Sampling(temperature=0, max_tokens=20), samples=1)
        out = theirs.generate(
            torch.tensor([prompt]), max_new_tokens=20, do_sample=False, pad_token_id=0
        )
        assert row.token_ids == out[0, len(prompt) :].tolist()


def test_bf16_stays_as_close_to_fp32_as_the_models_own_forward(monkeypatch, prompts):
    """On the same tokens: log-probabilities of greedy ones, by either path."""
    exact = model_of()
    rounded = model_of().bfloat16()
    greedy = Sampling(temperature=0, max_tokens=1)
    quick = sampled(rounded, prompts, greedy)
    monkeypatch.setattr(module.QwenStep, "of", lambda _: None)
    general, true = sampled(rounded, prompts, greedy), sampled(exact, prompts, greedy)
    for got, other, expected in zip(quick, general, true, strict=True):
        error, usual = (abs(row.logps[0] - expected.logps[0]) for row in (got, other))
        assert error <= 2 * usual + 0.02


@pytest.mark.parametrize("name", LONG)
def test_what_it_does_not_compute_is_left_to_the_model(name):
    assert QwenStep.of(model_of(**LONG[name])) is None


def test_adapters_are_left_to_the_model_and_still_sampled_from(prompts):
    lora = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    adapted = get_peft_model(model_of(), lora)
    assert QwenStep.of(adapted) is None and QwenStep.of(adapted.get_base_model()) is None
    greedy = Sampling(temperature=0, max_tokens=8)
    got = sampled(adapted.get_base_model(), prompts, greedy)
    merged = adapted.merge_and_unload()
    assert QwenStep.of(merged) is not None
    expected = sampled(merged, prompts, greedy)
    assert [row.token_ids for row in got] == [row.token_ids for row in expected]


def hook_into(model):
    model.model.layers[1].register_forward_hook(lambda module, args, out: out * 2)


def embed_twice(model):
    model.model.embed_tokens.register_forward_pre_hook(lambda module, args: args)


def replace_head(model):
    forward = model.lm_head.forward
    model.lm_head.forward = lambda x: forward(x).float() * -1  # as TRL's fp32 head does it


def replace_class(model):
    model.__class__ = type("Steered", (type(model),), {"forward": type(model).forward})


@pytest.mark.parametrize("change", [hook_into, embed_twice, replace_head, replace_class])
def test_what_somebody_changed_is_left_to_the_model(change, prompts):
    model = model_of()
    assert QwenStep.of(model) is not None
    change(model)
    assert QwenStep.of(model) is None


@pytest.mark.parametrize("shape", SHAPES)
def test_what_training_leaves_behind_does_not_slow_it_down(shape):
    model = model_of(**SHAPES[shape])
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable()
    model(torch.tensor([[1, 2]]), output_hidden_states=True, output_attentions=True)
    assert model.model.layers[0]._forward_hooks and model.model.embed_tokens._forward_hooks
    assert QwenStep.of(model) is not None


def test_another_family_is_left_to_its_model():
    assert QwenStep.of(to_transformers(model_of())) is None
