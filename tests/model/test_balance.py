"""The load-balancing loss against its toy vectors, transformers' own, and a global batch."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.utils import convert_to_fp32
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func
from trl.trainer.utils import add_fused_lm_head

from align.model import ModelConfigError, QwenMoeForCausalLM, preset
from align.model.balance import ExpertBalance, RouterLogits


def balance(experts=4, top_k=1, **fields) -> ExpertBalance:
    fields = {"router_aux_loss_coef": 1.0, **fields}
    return ExpertBalance(
        preset("tiny-moe", num_experts=experts, num_experts_per_tok=top_k, **fields)
    )


def collapsed_on(*experts: int, tokens: int = 8) -> torch.Tensor:
    """Logits of tokens that split evenly between two of four experts, almost surely."""
    logits = torch.full((tokens, 4), -30.0)
    for token in range(tokens):
        logits[token, experts[token % len(experts)]] = 30.0
    return logits


def test_a_micro_batch_on_half_of_the_experts_scores_two():
    assert balance().loss((collapsed_on(0, 1),), None).item() == pytest.approx(2.0)
    assert balance().loss((collapsed_on(0, 1, 2, 3),), None).item() == pytest.approx(1.0)


def test_two_micro_batches_on_different_halves_are_even_over_the_global_batch():
    """arXiv 2501.11873: alone each scores 2, together they use all experts evenly."""
    halves = collapsed_on(0, 1), collapsed_on(2, 3)
    alone = balance()
    assert [alone.loss((half,), None).item() for half in halves] == pytest.approx([2.0, 2.0])
    together = balance(balance_over="global_batch")
    assert together.loss((halves[0],), None).item() == pytest.approx(2.0)  # nothing else yet
    assert together.loss((halves[1],), None).item() == pytest.approx(1.0)
    together.reset()
    assert together.loss((halves[1],), None).item() == pytest.approx(2.0)


def test_micro_batches_share_the_load_of_the_whole_batch_and_only_probabilities_have_a_gradient():
    """arXiv 2501.11873: f over the whole batch, a constant; P of the micro-batch at hand."""
    torch.manual_seed(0)
    logits, mask = torch.randn(4 * 5, 8), torch.ones(4, 5, dtype=torch.long)
    mask[1, :2] = mask[3, :4] = 0
    judge = balance(8, 3, balance_over="global_batch")
    first, second = (half.clone().requires_grad_() for half in logits.split(10))
    judge.loss((first,), mask[:2])
    got = judge.loss((second,), mask[2:])

    real = mask.flatten().bool()
    chosen = logits[real].topk(3, -1).indices
    load = torch.nn.functional.one_hot(chosen, 8).sum(1).float().mean(0)
    same = second.detach().clone().requires_grad_()
    expected = 8 * (load * same[real[10:]].softmax(-1).mean(0)).sum()
    torch.testing.assert_close(got, expected)
    for loss in (got, expected):
        loss.backward()
    torch.testing.assert_close(second.grad, same.grad)


WORKER = """
import sys
import torch.distributed as dist
from tests.model.test_balance import balance, collapsed_on

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
for over in ("micro_batch", "global_batch"):
    judge = balance(balance_over=over)
    # Each on a half of its own, then both on expert 0.
    losses = [judge.loss((collapsed_on(*own, tokens=8),), None).item() for own in (
        ((0, 1), (2, 3))[rank], (0,)
    )]
    print(over, *(round(loss, 3) for loss in losses), judge.metrics()["experts/max_load"])
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_share_their_counts_over_the_global_batch_alone(tmp_path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for rank in range(2)
    ]
    told = []
    for process in started:
        printed, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        told.append(printed.splitlines())
    # Eight tokens each way: 4 an expert, then 16 more on expert 0, so 20 of 32, 2.5 times even.
    # By the micro-batch: half of the experts, then one; of its own tokens rank 0 has 12 of 16
    # on expert 0, rank 1 has 8.
    assert told[0] == ["micro_batch 2.0 4.0 3.0", "global_batch 1.0 2.5 2.5"]
    assert told[1] == ["micro_batch 2.0 4.0 2.0", "global_batch 1.0 2.5 2.5"]


def test_layers_are_judged_one_by_one_where_transformers_pools_them():
    layers = collapsed_on(0, 1), collapsed_on(2, 3)
    assert balance().loss(layers, None).item() == pytest.approx(2.0)
    assert load_balancing_loss_func(layers, 4, 1).item() == pytest.approx(1.0)


@pytest.mark.parametrize("padded", [False, True])
def test_one_layer_equals_transformers_in_value_and_gradient(padded):
    torch.manual_seed(0)
    logits = torch.randn(2 * 7, 8)
    mask = torch.ones(2, 7, dtype=torch.long)
    if padded:
        mask[1, :3] = 0
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    got = balance(8, 3).loss((ours,), mask if padded else None)
    expected = load_balancing_loss_func((theirs,), 8, 3, mask if padded else None)
    torch.testing.assert_close(got, expected)
    for loss in (got, expected):
        loss.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert ours.grad.abs().max() > 0
    if padded:
        assert ours.grad.view(2, 7, 8)[1, :3].eq(0).all()


def test_the_z_loss_has_its_own_weight_under_the_one_coefficient():
    torch.manual_seed(0)
    logits = torch.randn(10, 4) * 3
    settings = {"router_aux_loss_coef": 0.01, "router_z_loss_coef": 0.001}
    plain = balance(router_aux_loss_coef=0.01).loss((logits,), None)
    both = balance(**settings).loss((logits,), None)
    z_loss = logits.logsumexp(-1).square().mean()
    torch.testing.assert_close(0.01 * both, 0.01 * plain + 0.001 * z_loss)


def test_a_z_loss_that_no_coefficient_carries_is_refused():
    with pytest.raises(ModelConfigError, match=r"router_z_loss_coef 0\.001 .* would be lost"):
        balance(router_aux_loss_coef=0.0, router_z_loss_coef=0.001)
    assert balance(router_aux_loss_coef=0.0).loss((collapsed_on(0, 1),), None) > 0


def test_metrics_tell_the_load_of_an_optimizer_step():
    judge = balance()
    assert judge.metrics() == {}
    judge.loss((collapsed_on(0, 1),), None)
    judge.loss((collapsed_on(0, 2),), None)
    assert judge.metrics() == {
        "experts/max_load": 2.0,  # expert 0 has half of the tokens, a quarter would be even
        "experts/min_load": 0.0,
        "experts/unused": 0.25,
    }
    with torch.no_grad():
        judge.loss((collapsed_on(3),), None)
    assert judge.metrics()["experts/unused"] == 0.25  # evaluation doesn't count
    judge.reset()
    assert judge.metrics() == {}


@pytest.fixture
def collapsing_model() -> QwenMoeForCausalLM:
    """Two layers whose routers send every token to experts 0 and 1, and to 2 and 3."""
    torch.manual_seed(0)
    config = preset("tiny-moe", num_hidden_layers=2, num_experts=4, num_experts_per_tok=2)
    model = QwenMoeForCausalLM(config)
    with torch.no_grad():
        for layer, experts in zip(model.model.layers, ((0, 1), (2, 3)), strict=True):
            layer.post_attention_layernorm.weight.zero_()[0] = 1.0
            layer.mlp.gate.weight.zero_()[list(experts), 0] = 1e-3
            # Tokens of either sign in feature 0 must choose the same experts.
            layer.post_attention_layernorm.register_forward_hook(lambda _m, _a, out: out.abs())
    return model


def test_trls_fused_loss_takes_the_loss_a_layer(collapsing_model):
    """The contract with TRL 1.16: it looks transformers' function up when it computes the loss."""
    add_fused_lm_head(collapsing_model)
    tokens = torch.randint(0, 4096, (2, 9))
    out = collapsing_model(
        input_ids=tokens, labels=tokens, output_router_logits=True, fused_lm_head=True
    )
    logits = collapsing_model.model(tokens, output_router_logits=True).router_logits
    assert isinstance(logits, RouterLogits)
    # A layer's two of four experts take all tokens: f is 1 for two of them, P about a quarter.
    expected = ExpertBalance(collapsing_model.config).loss(tuple(logits), None)
    torch.testing.assert_close(out.aux_loss, expected)
    own = collapsing_model(tokens, labels=tokens, output_router_logits=True)
    torch.testing.assert_close(own.aux_loss, expected)


def test_the_loss_holds_the_balance_weighed(collapsing_model):
    tokens = torch.randint(0, 4096, (2, 9))
    plain = collapsing_model(tokens, labels=tokens)
    weighed = collapsing_model(tokens, labels=tokens, output_router_logits=True)
    assert plain.aux_loss is None
    torch.testing.assert_close(weighed.loss, plain.loss + 0.001 * weighed.aux_loss)


def test_router_logits_can_be_copied_and_cast(collapsing_model):
    """accelerate makes the outputs' tuples anew in mixed precision, and has no balance to give."""
    tokens = torch.randint(0, 4096, (2, 9))
    logits = collapsing_model.model(tokens, output_router_logits=True).router_logits
    loss = logits.balance_loss()
    torch.testing.assert_close(copy.copy(logits).balance_loss(), loss)
    detached = RouterLogits((each.detach() for each in logits), logits.balance)
    torch.testing.assert_close(pickle.loads(pickle.dumps(detached)).balance_loss(), loss)

    with torch.autocast("cpu", torch.bfloat16):
        outputs = collapsing_model(tokens, labels=tokens, output_router_logits=True)
    cast = convert_to_fp32(outputs)  # what accelerate's `prepare_model` puts around a forward
    torch.testing.assert_close(cast.aux_loss, loss, rtol=1e-2, atol=0)
    with pytest.raises(ValueError, match="lost its model's balance"):
        load_balancing_loss_func(cast.router_logits)


def test_checkpointed_layers_give_the_router_the_same_gradient(collapsing_model):
    tokens = torch.randint(0, 4096, (2, 9))
    router = collapsing_model.train().model.layers[0].mlp.gate.weight
    gradients = []
    for checkpointed in (False, True):
        if checkpointed:
            collapsing_model.gradient_checkpointing_enable()
        loss = collapsing_model(tokens, output_router_logits=True, use_cache=False).aux_loss
        (gradient,) = torch.autograd.grad(loss, router)
        gradients.append(gradient)
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0
