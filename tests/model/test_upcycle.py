"""Upcycling's invariants: what is copied, what is drawn anew, and how much."""

import itertools

import pytest
import torch

from align.model import ModelConfigError, QwenForCausalLM, preset
from align.model.upcycle import active_parameters, copies, upcycle, upcycled_config

WIDTH = 48  # of the dense network


@pytest.fixture
def dense() -> QwenForCausalLM:
    torch.manual_seed(0)
    config = preset("tiny", vocab_size=61, hidden_size=32, head_dim=8, num_hidden_layers=2,
                    intermediate_size=WIDTH)  # fmt: skip
    model = QwenForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_()
    return model


def made(dense, *, reinitialised=0.5, seed=3, **fields):
    given = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    config = upcycled_config(dense.config, **{**given, **fields})
    return upcycle(dense, config, reinitialised=reinitialised, seed=seed)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((18_944, 64, 2560), 9),
        ((18_944, 64, 2560, 20_480), 10),
        ((5504, 60, 1408), 16),
        ((5504, 60, 1408, 5632), 17),
    ],
)
def test_copies_are_those_of_qwen2_57b_and_qwen1_5_moe(shape, expected):
    assert copies(*shape) == expected


def test_experts_of_one_copy_add_up_to_the_dense_network(dense):
    """Three experts of 16 units are one copy of 48, if no unit is drawn anew."""
    mixture = made(dense, reinitialised=0.0)
    x = torch.randn(5, 32)
    for old, new in zip(dense.model.layers, mixture.model.layers, strict=True):
        first_copy = torch.tensor([[0, 1, 2]] * 5)
        out = new.mlp.experts(x, torch.ones(5, 3), first_copy)
        torch.testing.assert_close(out, old.mlp(x), rtol=0, atol=1e-5)


def test_copies_are_shuffled_apart(dense):
    experts = made(dense, reinitialised=0.0).model.layers[0].mlp.experts.gate_up_proj
    for one, other in itertools.combinations(experts, 2):
        assert not one.equal(other)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_share_of_units_drawn_anew_is_exact_in_every_expert(dense, share):
    experts = made(dense, reinitialised=share).model.layers[1].mlp.experts
    old = dense.model.layers[1].mlp
    known = {tuple(row) for row in old.gate_proj.weight.tolist()}
    columns = {tuple(column) for column in old.down_proj.weight.T.tolist()}
    for gate_up, down in zip(experts.gate_up_proj, experts.down_proj, strict=True):
        kept = [tuple(row) in known for row in gate_up[:16].tolist()]
        assert sum(kept) == 16 * (1 - share)
        # A unit is kept or drawn whole: its gate row and its down column alike.
        assert kept == [tuple(column) in columns for column in down.T.tolist()]


def test_units_drawn_anew_have_the_old_ones_width(dense):
    with torch.no_grad():
        for layer in dense.model.layers:
            layer.mlp.up_proj.weight *= 7
    gate, up = (
        made(dense, reinitialised=1.0, num_experts=32)
        .model.layers[0]
        .mlp.experts.gate_up_proj.chunk(2, 1)
    )
    old = dense.model.layers[0].mlp
    assert gate.std().item() == pytest.approx(old.gate_proj.weight.std().item(), rel=0.05)
    assert up.std().item() == pytest.approx(old.up_proj.weight.std().item(), rel=0.05)


def test_everything_else_is_the_dense_models_bit_for_bit(dense):
    mixture = made(dense, shared_expert_intermediate_size=24)
    old, new = dense.state_dict(), mixture.state_dict()
    outside = [name for name in old if ".mlp." not in name]
    assert all(new[name].equal(old[name]) for name in outside)
    assert mixture.lm_head.weight is mixture.model.embed_tokens.weight
    assert {name for name in new if ".mlp." not in name} == set(outside)


def test_the_shared_expert_is_made_of_units_that_no_other_expert_took_from_its_copy(dense):
    """8 x 4 routed units and 16 shared ones are one copy of 48: together they are the network."""
    mixture = made(
        dense, reinitialised=0.0, moe_intermediate_size=4, shared_expert_intermediate_size=16
    )
    x = torch.randn(5, 32)
    mlp = mixture.model.layers[0].mlp
    everyone = torch.arange(8).expand(5, -1)
    out = mlp.experts(x, torch.ones(5, 8), everyone) + mlp.shared_expert(x)
    torch.testing.assert_close(out, dense.model.layers[0].mlp(x), rtol=0, atol=1e-5)


def test_a_seed_gives_the_same_bits_and_another_seed_others(dense):
    one, same, other = (made(dense, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(one[name].equal(same[name]) for name in one)
    assert not one["model.layers.0.mlp.experts.down_proj"].equal(
        other["model.layers.0.mlp.experts.down_proj"]
    )


def test_layers_that_stay_dense_are_copied(dense):
    mixture = made(dense, mlp_only_layers=[0])
    for name, weight in dense.model.layers[0].mlp.state_dict().items():
        assert mixture.model.layers[0].mlp.state_dict()[name].equal(weight)


def test_active_parameters_count_the_chosen_experts_alone(dense):
    mixture = made(dense)
    experts = sum(w.numel() for n, w in mixture.named_parameters() if ".experts." in n)
    total = sum(w.numel() for w in mixture.parameters())
    assert active_parameters(mixture) == total - experts * 6 // 8


def test_what_cannot_be_upcycled_is_named(dense):
    with pytest.raises(ModelConfigError, match="num_experts_per_tok 9"):
        made(dense, num_experts_per_tok=9)
    with pytest.raises(ModelConfigError, match="moe_intermediate_size 0"):
        made(dense, moe_intermediate_size=0)
    with pytest.raises(ModelConfigError, match="shared_expert_intermediate_size -8"):
        made(dense, shared_expert_intermediate_size=-8)
    with pytest.raises(ModelConfigError, match=r"reinitialised 1\.5"):
        made(dense, reinitialised=1.5)
    mixture = made(dense)
    with pytest.raises(ModelConfigError, match="dense Qwen, got QwenMoeForCausalLM"):
        upcycle(mixture, mixture.config)
