"""The dense Qwen transformer: attention, feed-forward, layers, and the model classes.

Block: x + attention(RMSNorm(x)), then x + SwiGLU(RMSNorm(x)); a last RMSNorm before the head.
Grouped-query attention with biases on Q, K and V only; rotary positions. Qwen2 technical report
(arXiv 2407.10671) section 2.2.1, Qwen2.5 technical report (arXiv 2412.15115) section 2.

Attention and the model classes share this file because transformers learns from the source text of
a model's module whether its attention can be exchanged.

Shape letters: B batch, T tokens, D hidden_size, H query heads, K key/value heads, h head_dim.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutputWithPast,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from align.model.config import QwenConfig
from align.model.rope import QwenRotaryEmbedding, rotate


class QwenRMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps), then times weight (Zhang & Sennrich, arXiv 1910.07467, eq. 4).

    The mean is taken in fp32 and the result cast back *before* the weight is applied; in bf16 the
    other order gives other bits.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * (wide * scale).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """softmax(q k^T * scaling + mask) v, written out.

    Takes query (B, H, T, h), key and value (B, K, S, h), an additive mask (B, 1, T, S).
    Returns the output (B, T, H, h) and the weights (B, H, T, S).
    """
    key = key.repeat_interleave(module.num_key_value_groups, dim=1)
    value = value.repeat_interleave(module.num_key_value_groups, dim=1)
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class QwenAttention(nn.Module):
    """Grouped-query attention: key head j serves query heads j*g to (j+1)*g - 1, g = H / K."""

    def __init__(self, config: QwenConfig, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.scaling = config.head_dim**-0.5
        self.attention_dropout = config.attention_dropout
        self.is_causal = True
        query_width = config.num_attention_heads * config.head_dim
        key_width = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, query_width, bias=True)
        self.k_proj = nn.Linear(config.hidden_size, key_width, bias=True)
        self.v_proj = nn.Linear(config.hidden_size, key_width, bias=True)
        self.o_proj = nn.Linear(query_width, config.hidden_size, bias=False)

    def forward(
        self,
        x: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        by_head = (*x.shape[:-1], -1, self.head_dim)
        query = rotate(self.q_proj(x).view(by_head).transpose(1, 2), *position_embeddings)
        key = rotate(self.k_proj(x).view(by_head).transpose(1, 2), *position_embeddings)
        value = self.v_proj(x).view(by_head).transpose(1, 2)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)

        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention
        )
        out, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        return self.o_proj(out.reshape(*x.shape[:-1], -1).contiguous()), weights


class QwenMLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x)) (Shazeer, arXiv 2002.05202, eq. 6), no biases."""

    def __init__(self, config: QwenConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class QwenDecoderLayer(GradientCheckpointingLayer):
    """One pre-norm block: attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: QwenConfig, layer_idx: int) -> None:
        super().__init__()
        self.self_attn = QwenAttention(config, layer_idx)
        self.mlp = QwenMLP(config)
        self.input_layernorm = QwenRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = QwenRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        attended, _ = self.self_attn(self.input_layernorm(hidden_states), **kwargs)
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))


class QwenPreTrainedModel(PreTrainedModel):
    """What every Qwen model here tells transformers about itself."""

    config: QwenConfig
    config_class = QwenConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar = ["QwenDecoderLayer"]
    _skip_keys_device_placement: ClassVar = ["past_key_values"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs: ClassVar = {
        "hidden_states": QwenDecoderLayer,
        "attentions": QwenAttention,
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Normal(0, initializer_range) for matrices and embeddings, zero biases, norms at one."""
        super()._init_weights(module)
        if isinstance(module, QwenRotaryEmbedding):  # not in checkpoints, so never loaded
            init.copy_(module.inv_freq, module.inverse_frequencies()[0])


class QwenModel(QwenPreTrainedModel):
    """The decoder without a head."""

    def __init__(self, config: QwenConfig) -> None:
        super().__init__(config)
        # No padding_idx: it would freeze the row of <|endoftext|>, which pads *and* ends documents.
        # Padding is masked, and no loss hangs on it while no padded position predicts a label.
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            QwenDecoderLayer(config, index) for index in range(config.num_hidden_layers)
        )
        self.norm = QwenRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary_emb = QwenRotaryEmbedding(config)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | dict[str, Tensor] | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Hidden states (B, T, D) of tokens (B, T).

        Documents packed into one row are kept apart when `position_ids` (B, T) restart at each of
        them and `attention_mask` is None; a mask of ones switches that off.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if position_ids is None:
            seen = past_key_values.get_seq_length() if past_key_values is not None else 0
            tokens = torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device)
            position_ids = (tokens + seen).unsqueeze(0)
        if isinstance(attention_mask, dict):  # `generate` with a static cache made it beforehand
            mask = attention_mask["full_attention"]
        else:
            # Before a fresh cache is made: with any cache at hand, transformers takes restarting
            # positions for one document, and packed documents would see each other.
            mask = create_causal_mask(
                config=self.config,
                inputs_embeds=inputs_embeds,
                attention_mask=attention_mask,
                past_key_values=past_key_values,
                position_ids=position_ids,
            )
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)

        hidden_states = inputs_embeds
        position_embeddings = self.rotary_emb(position_ids, inputs_embeds.dtype)
        for layer in self.layers:
            hidden_states = layer(
                hidden_states,
                attention_mask=mask,
                position_embeddings=position_embeddings,
                position_ids=position_ids,
                past_key_values=past_key_values,
                use_cache=use_cache,
                **kwargs,
            )
        return BaseModelOutputWithPast(
            last_hidden_state=self.norm(hidden_states),
            past_key_values=past_key_values if use_cache else None,
        )


class QwenForCausalLM(QwenPreTrainedModel, GenerationMixin):
    """The decoder with a head over the vocabulary, tied to the embedding where the config says."""

    _tied_weights_keys: ClassVar = {"lm_head.weight": "model.embed_tokens.weight"}
    _tp_plan: ClassVar = {"lm_head": "colwise_gather_output"}
    _pp_plan: ClassVar = {"lm_head": (["hidden_states"], ["logits"])}
    _fsdp_plan: ClassVar = {"lm_head": "keep_full_weight"}

    def __init__(self, config: QwenConfig) -> None:
        super().__init__(config)
        self.model = QwenModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (B, T, vocab_size) and, with `labels` (B, T), the mean loss in nats a token.

        Labels are shifted inside: logits at t are held against the label at t + 1; -100 is left
        out. `logits_to_keep` keeps the last n positions, or those that a 1-D tensor names.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class QwenForSequenceClassification(QwenPreTrainedModel):
    """The decoder with a linear score, without bias, of each row's last token."""

    def __init__(self, config: QwenConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = QwenModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutputWithPast:
        """Scores (B, num_labels), and the loss with `labels`; padding may be left or right."""
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        hidden_states = outputs.last_hidden_state
        last = self._last_tokens(hidden_states, input_ids, attention_mask)
        rows = torch.arange(hidden_states.shape[0], device=hidden_states.device)
        # Scored before pooling, as transformers' Qwen2 does: the other order rounds differently.
        scores = self.score(hidden_states)
        pooled = scores[rows, last]
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=scores, labels=labels, pooled_logits=pooled, config=self.config
            )
        return SequenceClassifierOutputWithPast(
            loss=loss,
            logits=pooled,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _last_tokens(
        self, hidden_states: Tensor, input_ids: Tensor | None, attention_mask: Tensor | None
    ) -> Tensor:
        """(B,) index of each row's last token: by the mask if there is one, else by pad_token_id.

        The mask comes first because a text may itself end in the padding token.
        """
        batch, length = hidden_states.shape[:2]
        if attention_mask is not None:
            real = attention_mask[:, -length:].to(hidden_states.device)
        elif input_ids is not None and self.config.pad_token_id is not None:
            real = input_ids != self.config.pad_token_id
        elif batch == 1:
            return torch.tensor([length - 1], device=hidden_states.device)
        else:
            raise ValueError(
                f"cannot tell padding from text in a batch of {batch}: pass attention_mask, or set "
                "config.pad_token_id and pass input_ids"
            )
        return (torch.arange(length, device=hidden_states.device) * real).argmax(-1)
