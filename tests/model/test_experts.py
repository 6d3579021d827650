"""The grouped path gives what a loop over experts gives, forward and backward."""

import pytest
import torch
from torch.nn import functional as F

from align.model import preset
from align.model.experts import QwenExperts, QwenRouter, QwenSparseMoe
from align.model.layers import QwenMLP


def experts_of(number: int, width: int = 8) -> QwenExperts:
    torch.manual_seed(0)
    module = QwenExperts(
        preset("tiny-moe", hidden_size=16, head_dim=4, num_experts=number, num_experts_per_tok=1,
               moe_intermediate_size=width)
    )  # fmt: skip
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return module


def one_by_one(module: QwenExperts, x, weights, chosen):
    out = torch.zeros_like(x)
    for expert in range(len(module.gate_up_proj)):
        tokens, slots = torch.where(chosen == expert)
        gate, up = F.linear(x[tokens], module.gate_up_proj[expert]).chunk(2, -1)
        piece = F.linear(F.silu(gate) * up, module.down_proj[expert])
        out = out.index_add(0, tokens, piece * weights[tokens, slots, None].to(x.dtype))
    return out


def run(function, module, x, weights, chosen):
    module.zero_grad()
    leaves = [x.clone().requires_grad_(), weights.clone().requires_grad_()]
    out = function(*leaves, chosen)
    torch.manual_seed(1)
    out.backward(torch.randn_like(out))
    return [out, *(leaf.grad for leaf in leaves), *(w.grad.clone() for w in module.parameters())]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "loads",
    ["even", "some_unused", "all_on_one", "one_token"],
)
def test_grouped_experts_equal_a_loop(dtype, loads):
    module = experts_of(6).to(dtype)
    torch.manual_seed(2)
    tokens = 1 if loads == "one_token" else 70
    x, weights = torch.randn(tokens, 16).to(dtype), torch.rand(tokens, 2)
    chosen = torch.stack([torch.randperm(6)[:2] for _ in range(tokens)])
    if loads == "some_unused":
        chosen = chosen % 2
        chosen[:, 1] = 1 - chosen[:, 0]
    if loads == "all_on_one":
        chosen[:] = torch.tensor([4, 5])
    grouped = run(module, module, x, weights, chosen)
    looped = run(lambda *a: one_by_one(module, *a), module, x, weights, chosen)
    # bf16 has 8 bits; the paths round in other places.
    close = {"rtol": 0, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.1}
    for got, expected in zip(grouped, looped, strict=True):
        torch.testing.assert_close(got, expected, **close)


def test_autocast_runs_the_experts_in_its_dtype_and_the_router_in_fp32():
    config = preset("tiny-moe")
    moe = QwenSparseMoe(config)
    for weight in moe.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    x = torch.randn(1, 9, config.hidden_size)
    plain = moe(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, weights, _ = moe.gate(x[0].bfloat16())
        cast = moe(x)
    assert logits.dtype == weights.dtype == torch.float32
    assert cast.dtype == torch.float32
    assert 0 < (cast - plain).abs().max() < 0.05 * plain.abs().max()


def test_router_weights_are_softmax_probabilities_normalised_on_request():
    torch.manual_seed(0)
    x = torch.randn(5, 192)
    for normalised in (False, True):
        router = QwenRouter(preset("tiny-moe", norm_topk_prob=normalised))
        torch.nn.init.normal_(router.weight)
        logits, weights, chosen = router(x)
        probs = torch.softmax(x @ router.weight.T, -1)
        expected = probs.gather(1, chosen)
        if normalised:
            expected = expected / expected.sum(-1, keepdim=True)
        torch.testing.assert_close(weights, expected)
        torch.testing.assert_close(logits.argmax(-1), chosen[:, 0])


def test_the_shared_expert_sees_every_token_behind_its_gate():
    torch.manual_seed(0)
    moe = QwenSparseMoe(preset("tiny-moe", shared_expert_intermediate_size=32))
    for weight in moe.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    assert isinstance(moe.shared_expert, QwenMLP)
    x = torch.randn(2, 5, 192)
    with_shared = moe(x)
    share = torch.sigmoid(x @ moe.shared_expert_gate.weight.T) * moe.shared_expert(x)
    moe.shared_expert = None
    torch.testing.assert_close(with_shared - moe(x), share, rtol=0, atol=1e-5)
