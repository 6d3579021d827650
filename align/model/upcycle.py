"""A mixture of experts from a dense model, as Qwen2 made its own (arXiv 2407.10671, section 2.2.2).

Each feed-forward network is copied as often as its experts need, each copy's units are shuffled,
and the row of copies is cut into experts. Half of each expert's units are then drawn anew, so that
experts can become different. All else is the dense model's, bit for bit.

What the report leaves open is decided here: whole units are drawn anew (a gate row, an up row and
a down column), from a normal distribution with the standard deviation of the matrix they replace;
shared experts, which see every token, keep all of theirs; routers start at the configured width.
"""

import copy
import math

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from align.model.config import QwenConfig, QwenMoeConfig
from align.model.errors import ModelConfigError
from align.model.experts import QwenSparseMoe
from align.model.layers import QwenMLP
from align.model.modeling import QwenForCausalLM, QwenMoeForCausalLM


def copies(dense_width: int, num_experts: int, expert_width: int, shared_width: int = 0) -> int:
    """How often a network of `dense_width` units is copied; the last copy's rest is dropped.

    9 for Qwen2-57B's 64 experts of 2,560 from 18,944, and 10 with its 8 shared ones.
    """
    return math.ceil((num_experts * expert_width + shared_width) / dense_width)


@torch.no_grad()
def upcycle(
    dense: QwenForCausalLM, config: QwenMoeConfig, *, reinitialised: float = 0.5, seed: int = 0
) -> QwenMoeForCausalLM:
    """The mixture that `config` (see `upcycled_config`) describes, made of `dense`'s weights.

    reinitialised: share of each routed expert's units to draw anew. The same seed gives the same
    bits on any device. Raises ModelConfigError for a mixture given, or a share outside 0 to 1.
    """
    if not isinstance(dense, QwenForCausalLM) or isinstance(dense.config, QwenMoeConfig):
        raise ModelConfigError(f"upcycling starts from a dense Qwen, got {type(dense).__name__}")
    if not 0 <= reinitialised <= 1:
        raise ModelConfigError(f"reinitialised {reinitialised}: expected a share from 0 to 1")
    with no_init_weights():  # every weight is overwritten
        mixture = QwenMoeForCausalLM._from_config(
            config, dtype=dense.dtype, attn_implementation=dense.config._attn_implementation
        )
    mixture.tie_weights()  # which transformers leaves to the initialisation
    mixture.generation_config = copy.deepcopy(dense.generation_config)
    kept = {name: w for name, w in dense.state_dict().items() if ".mlp." not in name}
    mixture.load_state_dict(mixture.state_dict() | kept)
    draw = torch.Generator().manual_seed(seed)
    for old, new in zip(dense.model.layers, mixture.model.layers, strict=True):
        new.mlp.load_state_dict(_experts(old.mlp, new.mlp, config, reinitialised, draw))
    return mixture.to(dense.device).train(dense.training)


def upcycled_config(
    dense: QwenConfig,
    *,
    num_experts: int,
    num_experts_per_tok: int,
    moe_intermediate_size: int,
    shared_expert_intermediate_size: int = 0,
    **fields: object,
) -> QwenMoeConfig:
    """`dense`'s configuration with experts; `fields` are further ones of `QwenMoeConfig`."""
    for name, given, least in (
        ("num_experts", num_experts, 1),
        ("moe_intermediate_size", moe_intermediate_size, 1),
        ("shared_expert_intermediate_size", shared_expert_intermediate_size, 0),
    ):
        if given < least:
            raise ModelConfigError(f"{name} {given}: expected at least {least}")
    kept = dense.to_dict()
    for name in ("model_type", "architectures", "transformers_version"):
        kept.pop(name, None)
    return QwenMoeConfig(
        **{
            **kept,
            "num_experts": num_experts,
            "num_experts_per_tok": num_experts_per_tok,
            "moe_intermediate_size": moe_intermediate_size,
            "shared_expert_intermediate_size": shared_expert_intermediate_size,
            **fields,
        }
    )


def _experts(
    old: QwenMLP,
    new: QwenSparseMoe | QwenMLP,
    config: QwenMoeConfig,
    reinitialised: float,
    draw: torch.Generator,
) -> dict[str, Tensor]:
    """The weights of a layer's mixture by name; a layer that stays dense is copied."""
    gate, up, down = old.gate_proj.weight, old.up_proj.weight, old.down_proj.weight
    if isinstance(new, QwenMLP):
        return dict(old.state_dict())
    number, width = config.num_experts, config.moe_intermediate_size
    shared = config.shared_expert_intermediate_size
    units = torch.cat(
        [
            torch.randperm(len(gate), generator=draw)
            for _ in range(copies(len(gate), number, width, shared))
        ]
    )
    routed = units[: number * width].view(number, width)
    made = {
        "gate.weight": _normal(new.gate.weight, config.initializer_range, draw),
        "experts.gate_up_proj": torch.cat((gate[routed], up[routed]), 1),
        "experts.down_proj": down[:, routed].permute(1, 0, 2).contiguous(),
    }
    anew = torch.rand(number, width, generator=draw).argsort(1)[:, : round(reinitialised * width)]
    _draw_anew(made, anew, [_std(weight) for weight in (gate, up, down)], draw)
    if shared:
        own = units[number * width : number * width + shared]
        made["shared_expert_gate.weight"] = _normal(
            new.shared_expert_gate.weight, config.initializer_range, draw
        )
        made |= {
            "shared_expert.gate_proj.weight": gate[own],
            "shared_expert.up_proj.weight": up[own],
            "shared_expert.down_proj.weight": down[:, own].contiguous(),
        }
    return made


def _draw_anew(
    made: dict[str, Tensor], units: Tensor, stds: list[float], draw: torch.Generator
) -> None:
    """Overwrite the units (experts, how many) of each expert in place; stds: gate, up, down."""
    gate, up = made["experts.gate_up_proj"].chunk(2, 1)
    down = made["experts.down_proj"].transpose(1, 2)
    expert = torch.arange(len(units))[:, None]
    for part, std in zip((gate, up, down), stds, strict=True):
        part[expert, units] = _normal(part[expert, units], std, draw)


def _std(weight: Tensor) -> float:
    # In double precision, so that a device's order of adding does not reach the numbers drawn.
    return weight.double().std().item()


def _normal(like: Tensor, std: float, draw: torch.Generator) -> Tensor:
    return (torch.randn(like.shape, generator=draw) * std).to(like.device, like.dtype)


def active_parameters(model: PreTrainedModel) -> int:
    """Parameters that a token passes through: of the routed experts only those it is sent to."""
    config, total = model.config, 0
    for name, weight in model.named_parameters():
        routed = ".experts." in name
        share = config.num_experts_per_tok / config.num_experts if routed else 1
        total += round(weight.numel() * share)
    return total
