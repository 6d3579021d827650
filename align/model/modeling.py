"""The Qwen family: decoder layers, and the models with their heads, dense and mixtures of experts.

Block: x + attention(RMSNorm(x)), then x + feedforward(RMSNorm(x)); a last RMSNorm before the head.
Qwen (arXiv 2309.16609) section 2.2, Qwen2 (2407.10671) section 2.2, Qwen2.5 (2412.15115) section 2,
Qwen3 (2505.09388) section 2; `align.model.families` says which generation has what.

Shape letters: B batch, T tokens, D hidden_size, h head_dim.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    MoeCausalLMOutputWithPast,
    MoeModelOutputWithPast,
    SequenceClassifierOutputWithPast,
)
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from align.model.attention import QwenAttention
from align.model.balance import ExpertBalance, RouterLogits
from align.model.config import QwenConfig, QwenMoeConfig
from align.model.experts import QwenExperts, QwenRouter, QwenSparseMoe
from align.model.kernels import causal_lm_loss
from align.model.layers import QwenMLP, QwenRMSNorm, compute_dtype
from align.model.linear import QwenLinear
from align.model.long_attention import LongAttention, LongContext
from align.model.long_context import needs_long_attention
from align.model.masks import attention_masks
from align.model.rope import QwenRotaryEmbedding


class QwenDecoderLayer(GradientCheckpointingLayer):
    """One pre-norm block: attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: QwenConfig, layer_idx: int) -> None:
        super().__init__()
        attention = LongAttention if needs_long_attention(config) else QwenAttention
        self.self_attn = attention(config, layer_idx)
        if isinstance(config, QwenMoeConfig) and config.is_sparse(layer_idx):
            self.mlp = QwenSparseMoe(config)
        else:
            self.mlp = QwenMLP(config.hidden_size, config.intermediate_size)
        self.input_layernorm = QwenRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = QwenRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        # Normed once into the dtype of the products that read it, not cast by each of them.
        dtype = compute_dtype(hidden_states)
        attended, _ = self.self_attn(self.input_layernorm(hidden_states, dtype), **kwargs)
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states, dtype))


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
        elif isinstance(module, QwenRouter | QwenExperts):
            for weight in module.parameters():
                init.normal_(weight, mean=0.0, std=self.config.initializer_range)


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
    ) -> MoeModelOutputWithPast:
        """Hidden states (B, T, D) of tokens (B, T).

        Documents packed into one row are kept apart when `position_ids` (B, T) restart at each of
        them and `attention_mask` is None; a mask of ones switches that off.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        seen = past_key_values.get_seq_length() if past_key_values is not None else 0
        if position_ids is None:
            tokens = torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device)
            position_ids = (tokens + seen).unsqueeze(0)
        # Before a fresh cache is made: with any cache at hand, transformers takes restarting
        # positions for one document, and packed documents would see each other.
        masks = attention_masks(
            self.config, inputs_embeds, attention_mask, past_key_values, position_ids
        )
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if needs_long_attention(self.config):
            kwargs["long_context"] = LongContext.of(
                self.rotary_emb, position_ids, attention_mask, len(inputs_embeds), seen
            )

        hidden_states = inputs_embeds
        position_embeddings = self.rotary_emb(position_ids, compute_dtype(inputs_embeds))
        for layer in self.layers:
            hidden_states = layer(
                hidden_states,
                attention_mask=masks[layer.self_attn.window],
                position_embeddings=position_embeddings,
                position_ids=position_ids,
                past_key_values=past_key_values,
                use_cache=use_cache,
                **kwargs,
            )
        return MoeModelOutputWithPast(
            last_hidden_state=self.norm(hidden_states),
            past_key_values=past_key_values if use_cache else None,
        )


class QwenMoeModel(QwenModel):
    """The decoder of a mixture of experts, without a head.

    `balance` holds the loss that keeps the experts evenly loaded, and what it has counted.
    """

    config: QwenMoeConfig
    config_class = QwenMoeConfig
    _can_record_outputs: ClassVar = {
        **QwenPreTrainedModel._can_record_outputs,
        "router_logits": OutputRecorder(QwenRouter, index=0),
    }

    def __init__(self, config: QwenMoeConfig) -> None:
        super().__init__(config)
        self.balance = ExpertBalance(config)

    def forward(self, *args: Any, **kwargs: Any) -> MoeModelOutputWithPast:
        """As `QwenModel`; with `output_router_logits`, (tokens, experts) a layer with experts."""
        outputs = super().forward(*args, **kwargs)
        if outputs.router_logits is not None:
            outputs.router_logits = RouterLogits(outputs.router_logits, self.balance)
        return outputs


class QwenForCausalLM(QwenPreTrainedModel, GenerationMixin):
    """The decoder with a head over the vocabulary, tied to the embedding where the config says."""

    _tied_weights_keys: ClassVar = {"lm_head.weight": "model.embed_tokens.weight"}
    _tp_plan: ClassVar = {"lm_head": "colwise_gather_output"}
    _pp_plan: ClassVar = {"lm_head": (["hidden_states"], ["logits"])}
    _fsdp_plan: ClassVar = {"lm_head": "keep_full_weight"}

    _decoder: ClassVar = QwenModel

    def __init__(self, config: QwenConfig) -> None:
        super().__init__(config)
        self.model = self._decoder(config)
        self.lm_head = QwenLinear(config.hidden_size, config.vocab_size, bias=False)
        self.loss_function = causal_lm_loss
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
    ) -> MoeCausalLMOutputWithPast:
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
        return MoeCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            router_logits=outputs.router_logits,
        )


class QwenMoeForCausalLM(QwenForCausalLM):
    """`QwenForCausalLM` whose decoder is a mixture of experts."""

    config: QwenMoeConfig
    config_class = QwenMoeConfig
    _decoder: ClassVar = QwenMoeModel

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
        output_router_logits: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> MoeCausalLMOutputWithPast:
        """As `QwenForCausalLM`; with `output_router_logits` also `aux_loss`, which the loss has in
        it, `router_aux_loss_coef` times."""
        if output_router_logits is None:
            output_router_logits = self.config.output_router_logits
        outputs = super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            labels=labels,
            use_cache=use_cache,
            output_router_logits=output_router_logits,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )
        if outputs.router_logits is not None:
            mask = attention_mask if isinstance(attention_mask, Tensor) else None
            outputs.aux_loss = outputs.router_logits.balance_loss(mask)
            if labels is not None:
                outputs.loss = outputs.loss + self.config.router_aux_loss_coef * outputs.aux_loss
        return outputs


class QwenForSequenceClassification(QwenPreTrainedModel):
    """The decoder with a linear score, without bias, of each row's last token."""

    _decoder: ClassVar = QwenModel

    def __init__(self, config: QwenConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = self._decoder(config)
        self.score = QwenLinear(config.hidden_size, config.num_labels, bias=False)
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


class QwenMoeForSequenceClassification(QwenForSequenceClassification):
    """`QwenForSequenceClassification` whose decoder is a mixture of experts."""

    config: QwenMoeConfig
    config_class = QwenMoeConfig
    _decoder: ClassVar = QwenMoeModel
