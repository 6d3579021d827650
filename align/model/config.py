"""The configuration of a dense Qwen2 or Qwen2.5 model."""

from typing import Any, ClassVar

from transformers import PreTrainedConfig

from align.errors import AlignError

# The kinds of RoPE whose frequencies do not depend on the length of the text at hand.
SUPPORTED_ROPE = ("default", "linear", "yarn")


class ModelConfigError(AlignError):
    """A model configuration that this family cannot carry out."""


class QwenConfig(PreTrainedConfig):
    """Sizes and constants of a dense Qwen model; field names are those of transformers' Qwen2.

    Lengths are in tokens, widths in features. `num_key_value_heads` defaults to the number of
    query heads (no grouping), `head_dim` to `hidden_size / num_attention_heads`. RoPE lies in
    `rope_parameters` as transformers 5 has it; with nothing given, the base is Qwen2's 1e6.

    Raises:
        ModelConfigError: the sizes do not divide, or the configuration asks for sliding-window
            attention or for a kind of RoPE that is not in `SUPPORTED_ROPE`.
    """

    model_type = "align_qwen"
    keys_to_ignore_at_inference: ClassVar = ["past_key_values"]
    default_theta = 1_000_000.0
    # TRL reads `config.auto_map or {}` from any model it loads by path.
    auto_map: ClassVar = {}

    base_model_tp_plan: ClassVar = {
        "layers.*.self_attn.q_proj": "colwise",
        "layers.*.self_attn.k_proj": "colwise",
        "layers.*.self_attn.v_proj": "colwise",
        "layers.*.self_attn.o_proj": "rowwise",
        "layers.*.mlp.gate_proj": "colwise",
        "layers.*.mlp.up_proj": "colwise",
        "layers.*.mlp.down_proj": "rowwise",
    }
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
    max_position_embeddings: int = 32_768
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    rope_parameters: dict[str, Any] | None = None
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
            if self.hidden_size % self.num_attention_heads:
                raise ModelConfigError(
                    f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                    f"{self.num_attention_heads}: change one of them, or give head_dim"
                )
            self.head_dim = self.hidden_size // self.num_attention_heads
        if self.head_dim % 2:
            raise ModelConfigError(f"head_dim {self.head_dim} is odd: RoPE turns pairs of features")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ModelConfigError(
                f"num_attention_heads {self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads {self.num_key_value_heads}: each key head serves a whole "
                "group of query heads"
            )
        super().__post_init__(**kwargs)
        self._refuse_unsupported(kwargs)

    def _refuse_unsupported(self, extra: dict[str, Any]) -> None:
        other_layers = set(extra.get("layer_types") or ()) - {"full_attention"}
        if extra.get("use_sliding_window") or other_layers:
            raise ModelConfigError(
                "use_sliding_window=True is not supported: every layer here attends to all earlier "
                "tokens. Load this checkpoint with transformers' own Qwen2 classes instead"
            )
        rope_type = self.rope_parameters["rope_type"]
        if rope_type not in SUPPORTED_ROPE:
            raise ModelConfigError(
                f"rope_type {rope_type!r} is not supported, only {', '.join(SUPPORTED_ROPE)}"
            )
