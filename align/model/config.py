"""The configurations of the Qwen family: dense models, and mixtures of experts."""

from typing import Any, ClassVar

from transformers import PreTrainedConfig

from align.model.errors import ModelConfigError
from align.model.long_context import check_long_context

_ATTENTION_TP_PLAN = {
    "layers.*.self_attn.q_proj": "colwise",
    "layers.*.self_attn.k_proj": "colwise",
    "layers.*.self_attn.v_proj": "colwise",
    "layers.*.self_attn.q_norm": "replicated_with_grad_allreduce",
    "layers.*.self_attn.k_norm": "replicated_with_grad_allreduce",
    "layers.*.self_attn.o_proj": "rowwise",
}
_MLP_TP_PLAN = {
    "layers.*.mlp.gate_proj": "colwise",
    "layers.*.mlp.up_proj": "colwise",
    "layers.*.mlp.down_proj": "rowwise",
}


class QwenConfig(PreTrainedConfig):
    """A dense Qwen model, of any generation; `align.model.families` says which fields make which.

    Lengths are in tokens, widths in features. Fields that transformers' Qwen2 or Qwen3 has are
    named as there. `num_key_value_heads` defaults to the number of query heads (no grouping),
    `head_dim` to `hidden_size / num_attention_heads`; `rope_parameters` to Qwen2's base of 1e6.

    What differs between generations: `qkv_bias` (biases on Q, K and V; Qwen1 to 2.5), `qk_norm` (an
    RMSNorm over each head's queries and keys; Qwen3), `tie_word_embeddings`, `head_dim`.

    Windows: as in transformers, `use_sliding_window` gives the layers from `max_window_layers` on
    a window of `sliding_window` tokens; `layer_windows` instead gives each layer its own (None:
    all earlier tokens), as Qwen1 does (arXiv 2309.16609, section 2.3).

    Beyond the trained length: `rope_parameters` (`align.model.rope`), `use_logn_attn`,
    `dual_chunk_attention_config`, `sparse_attention_config` (`align.model.long_context`).

    Raises:
        ModelConfigError: sizes that do not divide, or fields that contradict one another.
    """

    model_type = "align_qwen"
    keys_to_ignore_at_inference: ClassVar = ["past_key_values"]
    default_theta = 1_000_000.0
    ignore_keys_at_rope_validation: ClassVar = {"ramp"}
    # TRL reads `config.auto_map or {}` from any model it loads by path.
    auto_map: ClassVar = {}

    base_model_tp_plan: ClassVar = {**_ATTENTION_TP_PLAN, **_MLP_TP_PLAN}
    base_model_pp_plan: ClassVar = {
        "embed_tokens": (["input_ids"], ["inputs_embeds"]),
        "layers": (["hidden_states", "attention_mask"], ["hidden_states"]),
        "norm": (["hidden_states"], ["hidden_states"]),
    }

    vocab_size: int = 151_936
    hidden_size: int = 896
    intermediate_size: int = 4864
    num_hidden_layers: int = 24
    num_attention_heads: int = 14
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: str = "silu"
    qkv_bias: bool = True
    qk_norm: bool = False
    max_position_embeddings: int = 32_768
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    rope_parameters: dict[str, Any] | None = None
    use_logn_attn: bool = False
    use_sliding_window: bool = False
    sliding_window: int | None = 4096
    max_window_layers: int = 28
    layer_types: list[str] | None = None
    layer_windows: list[int | None] | None = None
    dual_chunk_attention_config: dict[str, Any] | None = None
    sparse_attention_config: dict[str, Any] | None = None
    attention_dropout: float = 0.0
    use_cache: bool = True
    tie_word_embeddings: bool = False
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        if self.head_dim is None:
            self._must_divide("hidden_size", "num_attention_heads", "change one, or give head_dim")
            self.head_dim = self.hidden_size // self.num_attention_heads
        if self.head_dim % 2:
            raise ModelConfigError(f"head_dim {self.head_dim} is odd: RoPE turns pairs of features")
        why = "each key head serves a whole group of query heads"
        self._must_divide("num_attention_heads", "num_key_value_heads", why)
        if self.hidden_act != "silu":
            raise ModelConfigError(f"hidden_act {self.hidden_act!r}: every Qwen has 'silu'")
        self._settle_windows()
        super().__post_init__(**kwargs)
        check_long_context(self)

    def _validate_dynamic_ntk_rope_parameters(self, *_: Any, **__: Any) -> None:
        """transformers asks for a check of every form by this name; ours is made above."""

    def window(self, layer: int) -> int | None:
        """How many tokens back a layer sees, itself included; None: all."""
        if self.layer_windows is not None:
            return self.layer_windows[layer]
        return self.sliding_window if self.layer_types[layer] == "sliding_attention" else None

    def _must_divide(self, whole: str, part: str, why: str) -> None:
        if getattr(self, part) < 1 or getattr(self, whole) % getattr(self, part):
            raise ModelConfigError(
                f"{whole} {getattr(self, whole)} is not a multiple of "
                f"{part} {getattr(self, part)}: {why}"
            )

    def _settle_windows(self) -> None:
        """Fill in `sliding_window` and `layer_types` as transformers' Qwen2 does."""
        if self.layer_types is not None and "sliding_attention" in self.layer_types:
            self.use_sliding_window = True
        self.sliding_window = self.sliding_window if self.use_sliding_window else None
        layers = self.num_hidden_layers
        if self.layer_types is None:
            first = self.max_window_layers if self.sliding_window is not None else layers
            self.layer_types = [
                "sliding_attention" if layer >= first else "full_attention"
                for layer in range(layers)
            ]
        for field in ("layer_types", "layer_windows"):
            given = getattr(self, field)
            if given is not None and len(given) != layers:
                raise ModelConfigError(
                    f"{field} names {len(given)} layers, num_hidden_layers is {layers}"
                )
        if self.layer_windows is not None and self.use_sliding_window:
            raise ModelConfigError(
                "layer_windows and use_sliding_window=True: both set the windows; give one of them"
            )
        windows = {*(self.layer_windows or []), self.sliding_window} - {None}
        if any(window < 1 for window in windows):
            raise ModelConfigError(
                f"a window of {min(windows)} tokens: every token must see itself, so at least 1"
            )


class QwenMoeConfig(QwenConfig):
    """A Qwen model whose feed-forward layers are mixtures of experts.

    `num_experts` experts of `moe_intermediate_size` features, of which a router picks
    `num_experts_per_tok` a token; `norm_topk_prob` makes the picked weights sum to 1 (Qwen3).
    `shared_expert_intermediate_size` is the width of the expert that sees every token, 0 for none.
    Layers in `mlp_only_layers`, and those whose number is not a multiple of `decoder_sparse_step`,
    stay dense, of `intermediate_size`.

    Training (`align.model.balance`): `router_aux_loss_coef` weighs the load-balancing loss,
    `router_z_loss_coef` the z-loss; `balance_over` says whose expert counts the first takes, the
    "micro_batch"'s or those of the whole "global_batch" (arXiv 2501.11873).

    Raises:
        ModelConfigError: as `QwenConfig`; more experts a token than there are; an unknown scope.
    """

    model_type = "align_qwen_moe"
    base_model_tp_plan: ClassVar = {
        **_ATTENTION_TP_PLAN,
        "layers.*.mlp.experts.gate_up_proj": "packed_colwise",
        "layers.*.mlp.experts.down_proj": "rowwise",
        "layers.*.mlp.experts": "moe_tp_experts",
        **_MLP_TP_PLAN,
    }

    moe_intermediate_size: int = 1408
    num_experts: int = 60
    num_experts_per_tok: int = 4
    norm_topk_prob: bool = False
    shared_expert_intermediate_size: int = 0
    decoder_sparse_step: int = 1
    mlp_only_layers: list[int] | None = None
    output_router_logits: bool = False
    router_aux_loss_coef: float = 0.001
    router_z_loss_coef: float = 0.0
    balance_over: str = "micro_batch"

    def __post_init__(self, **kwargs: Any) -> None:
        self.mlp_only_layers = self.mlp_only_layers or []
        super().__post_init__(**kwargs)
        if not 1 <= self.num_experts_per_tok <= self.num_experts:
            raise ModelConfigError(
                f"num_experts_per_tok {self.num_experts_per_tok}: expected 1 to num_experts "
                f"{self.num_experts}"
            )
        if self.balance_over not in ("micro_batch", "global_batch"):
            raise ModelConfigError(
                f"balance_over {self.balance_over!r}: expected 'micro_batch' or 'global_batch'"
            )
        if self.decoder_sparse_step < 1:
            raise ModelConfigError(
                f"decoder_sparse_step {self.decoder_sparse_step}: expected at least 1"
            )
        if not any(map(self.is_sparse, range(self.num_hidden_layers))):
            raise ModelConfigError(
                "mlp_only_layers and decoder_sparse_step leave no layer with experts: use "
                "QwenConfig for a dense model"
            )

    def is_sparse(self, layer: int) -> bool:
        """Whether a layer's feed-forward part is a mixture of experts."""
        return layer not in self.mlp_only_layers and (layer + 1) % self.decoder_sparse_step == 0
