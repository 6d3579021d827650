"""Which of transformers' own Qwen classes is which of ours, and what their configurations share.

Weights are named and laid out alike on both sides, so only configurations are translated.
"""

import logging
from typing import Any, NamedTuple

from torch import Tensor
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen2MoeForSequenceClassification,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    Qwen3MoeForSequenceClassification,
)

from align.model.config import QwenConfig, QwenMoeConfig
from align.model.errors import CheckpointError
from align.model.modeling import (
    QwenForCausalLM,
    QwenForSequenceClassification,
    QwenMoeForCausalLM,
    QwenMoeForSequenceClassification,
)

logger = logging.getLogger(__name__)


class Peer(NamedTuple):
    """One of transformers' families: its classes, and the fields of ours that it stands for."""

    config: type[PreTrainedConfig]
    causal: type[PreTrainedModel]
    classifier: type[PreTrainedModel]
    stands_for: dict[str, Any]


PEERS = (
    Peer(
        Qwen2Config,
        Qwen2ForCausalLM,
        Qwen2ForSequenceClassification,
        {"qkv_bias": True, "qk_norm": False},
    ),
    Peer(
        Qwen3Config,
        Qwen3ForCausalLM,
        Qwen3ForSequenceClassification,
        {"qkv_bias": False, "qk_norm": True},
    ),
    Peer(
        Qwen2MoeConfig,
        Qwen2MoeForCausalLM,
        Qwen2MoeForSequenceClassification,
        {"qk_norm": False},
    ),
    Peer(
        Qwen3MoeConfig,
        Qwen3MoeForCausalLM,
        Qwen3MoeForSequenceClassification,
        {"qkv_bias": False, "qk_norm": True, "shared_expert_intermediate_size": 0},
    ),
)
# What describes the class, or follows from other fields, and is not to be carried over.
_NOT_CARRIED = ("model_type", "architectures", "transformers_version", "layer_types")
# What transformers lacks and a model trained here can do without, up to its trained length.
_FOR_LENGTH = ("use_logn_attn", "dual_chunk_attention_config", "sparse_attention_config")
# What is about training alone.
_FOR_TRAINING = ("router_z_loss_coef", "balance_over")


_MOE = (QwenMoeConfig, Qwen2MoeConfig, Qwen3MoeConfig)


def is_moe(config: PreTrainedConfig) -> bool:
    return isinstance(config, _MOE)


def ours_for(config: PreTrainedConfig, *, causal: bool) -> type[PreTrainedModel]:
    """Our class for a configuration of ours or of theirs."""
    if is_moe(config):
        return QwenMoeForCausalLM if causal else QwenMoeForSequenceClassification
    return QwenForCausalLM if causal else QwenForSequenceClassification


def peer_of(config: PreTrainedConfig) -> Peer:
    """The family of transformers that a configuration is of, or that computes what ours says.

    Raises CheckpointError where none does, and names the fields.
    """
    for peer in PEERS:
        if isinstance(config, peer.config):
            return peer
    kinds = [peer for peer in PEERS if issubclass(peer.config, _MOE) == is_moe(config)]
    for peer in kinds:
        if all(getattr(config, field) == value for field, value in peer.stands_for.items()):
            return peer
    fields = sorted({field for peer in kinds for field in peer.stands_for})
    found = {field: getattr(config, field) for field in fields}
    expected = " or ".join(f"{peer.config.model_type} with {peer.stands_for}" for peer in kinds)
    raise CheckpointError(f"no family of transformers has {found}: expected {expected}")


def to_ours(config: PreTrainedConfig) -> QwenConfig:
    """The same model described by our configuration; fields that ours lacks ride along.

    Raises CheckpointError for biases that no Qwen has.
    """
    if getattr(config, "attention_bias", False):
        raise CheckpointError(
            "attention_bias True: expected False, as in every Qwen3; ours has no bias on the output"
        )
    fields = _carried(config)
    if isinstance(config, Qwen3MoeConfig):
        fields["max_window_layers"] = 0  # it gives all layers the window, if it has one
        fields["num_experts"] = fields.pop("num_local_experts", config.num_experts)
    else:
        fields["layer_types"] = getattr(config, "layer_types", None)
    fields = {**fields, **peer_of(config).stands_for}
    return (QwenMoeConfig if is_moe(config) else QwenConfig)(**fields)


def to_theirs(config: QwenConfig) -> PreTrainedConfig:
    """The same model described by transformers' configuration.

    Raises CheckpointError for what their classes would compute otherwise; warns of what they leave
    out beyond the trained length.
    """
    peer, fields = peer_of(config), _carried(config)
    _refuse_other_results(config, peer)
    left_out = [name for name in _FOR_LENGTH if fields.pop(name, None) not in (None, False)]
    rope = fields["rope_parameters"]
    if rope["rope_type"] == "dynamic_ntk":
        fields["rope_parameters"] = {"rope_type": "default", "rope_theta": rope["rope_theta"]}
        left_out.append("rope_type 'dynamic_ntk'")
    if left_out:
        logger.warning(
            "%s has no %s: it reads texts beyond the trained length otherwise than ours",
            peer.config.model_type,
            ", ".join(left_out),
        )
    for name in (*_FOR_TRAINING, "layer_windows", *(set(peer.stands_for) - {"qkv_bias"})):
        fields.pop(name, None)
    if "qkv_bias" in peer.stands_for:
        fields.pop("qkv_bias")
    if peer.config is Qwen3MoeConfig:
        fields.pop("max_window_layers")
    elif config.use_sliding_window:
        fields["layer_types"] = config.layer_types
    return peer.config(**fields)


def renamed(
    weights: dict[str, Tensor], config: PreTrainedConfig, target: PreTrainedConfig
) -> dict[str, Tensor]:
    """Weights of a model with `config` as one with `target` has them.

    All names agree, but where no expert is shared: transformers' Qwen2-MoE then has one of width 0.
    """
    if getattr(config, "shared_expert_intermediate_size", None) != 0:
        return weights
    if isinstance(config, Qwen2MoeConfig):
        return {name: weight for name, weight in weights.items() if ".shared_expert" not in name}
    if isinstance(target, Qwen2MoeConfig):
        empty = dict(weights)
        for name, router in weights.items():
            if name.endswith(".mlp.gate.weight"):
                mlp, width = name.removesuffix("gate.weight"), router.shape[1]
                for part, shape in (("gate", (0, width)), ("up", (0, width)), ("down", (width, 0))):
                    empty[f"{mlp}shared_expert.{part}_proj.weight"] = router.new_empty(shape)
                empty[f"{mlp}shared_expert_gate.weight"] = router.new_zeros(1, width)
        return empty
    return weights


def _refuse_other_results(config: QwenConfig, peer: Peer) -> None:
    windows = {config.window(layer) for layer in range(config.num_hidden_layers)}
    if config.layer_windows is not None and windows != {None}:
        raise CheckpointError(f"layer_windows {config.layer_windows}: transformers has none")
    if peer.config is Qwen3MoeConfig and len(windows) > 1:
        raise CheckpointError(
            f"layers with windows {sorted(w or 0 for w in windows)}: transformers' Qwen3-MoE has "
            "one for all layers"
        )
    if config.rope_parameters.get("ramp") == "rotations":
        raise CheckpointError("YaRN's ramp 'rotations': transformers has 'dimensions' alone")


def _carried(config: PreTrainedConfig) -> dict[str, Any]:
    fields = config.to_dict()
    for name in _NOT_CARRIED:
        fields.pop(name, None)
    return fields
