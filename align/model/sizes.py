"""What a configuration costs in parameters, memory and arithmetic; no weights are built.

Letters: L layers, D hidden_size, H query heads, K key/value heads, h head_dim, I intermediate_size,
V vocabulary, N parameters, T tokens of a text.
"""

from dataclasses import asdict, dataclass

from align.model.config import QwenConfig, QwenMoeConfig

BF16, FP32 = 2, 4


@dataclass(frozen=True)
class Parameters:
    """total, counted once where the head is tied; non_embedding, without embedding and head;
    active, those that a token passes through."""

    total: int
    non_embedding: int
    active: int


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one process that trains all weights under bf16 autocast, and shares none.

    states: weights, gradients and AdamW's two averages in fp32, and the weights' bf16 copies.
    activations: what the layers keep for the backward pass; checkpointed: the same where each layer
    keeps its input alone and is computed again. logits: they and their gradient.
    """

    states: int
    activations: int
    checkpointed: int
    logits: int


@dataclass(frozen=True)
class Sizes:
    """Of a configuration, at a batch of texts of a length.

    kv_bytes: of a token's keys and values, in bf16. forward_flops, training_flops: a token, on
    average over a text of that length, causal: 2 a weight that multiplies, 4 H h a layer and token
    seen; three times that for training. The head counts, looking up embeddings does not.
    """

    parameters: Parameters
    kv_bytes: int
    forward_flops: int
    training_flops: int
    training_memory: TrainingMemory

    def as_dict(self) -> dict:
        return asdict(self)


def sizes(config: QwenConfig, *, batch: int = 1, length: int = 4096) -> Sizes:
    """`batch` texts of `length` tokens."""
    parameters = _parameters(config)
    query, layers = config.num_attention_heads * config.head_dim, config.num_hidden_layers
    lookup = 0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size
    forward = 2 * (parameters.active - lookup) + 4 * layers * query * length // 2
    return Sizes(
        parameters=parameters,
        kv_bytes=2 * config.num_key_value_heads * config.head_dim * layers * BF16,
        forward_flops=forward,
        training_flops=3 * forward,
        training_memory=_training_memory(config, parameters, batch * length),
    )


def _parameters(config: QwenConfig) -> Parameters:
    width, layers = config.hidden_size, range(config.num_hidden_layers)
    query = config.num_attention_heads * config.head_dim
    key = config.num_key_value_heads * config.head_dim
    attention = 2 * width * query + 2 * width * key + 2 * width
    attention += (query + 2 * key) * config.qkv_bias + 2 * config.head_dim * config.qk_norm
    feedforward = [_feedforward(config, layer) for layer in layers]
    body = attention * len(layers) + sum(whole for whole, _ in feedforward) + width
    idle = sum(whole - active for whole, active in feedforward)
    embeddings = config.vocab_size * width * (1 if config.tie_word_embeddings else 2)
    return Parameters(body + embeddings, body, body + embeddings - idle)


def _feedforward(config: QwenConfig, layer: int) -> tuple[int, int]:
    """A layer's parameters, and those that a token passes through."""
    width = config.hidden_size
    if not (isinstance(config, QwenMoeConfig) and config.is_sparse(layer)):
        dense = 3 * width * config.intermediate_size
        return dense, dense
    expert = 3 * width * config.moe_intermediate_size
    shared = 3 * width * config.shared_expert_intermediate_size
    always = width * config.num_experts + shared + (width if shared else 0)
    return always + config.num_experts * expert, always + config.num_experts_per_tok * expert


def _training_memory(config: QwenConfig, parameters: Parameters, tokens: int) -> TrainingMemory:
    """By what `align.model` saves: the residual stream in fp32 at both norms and the rest in bf16:
    both normed inputs, queries, keys and values, the attention's output, and gate, up and their
    product. Attention's own scores are not kept."""
    width = config.hidden_size
    query = config.num_attention_heads * config.head_dim
    key = config.num_key_value_heads * config.head_dim
    outside = 2 * FP32 * width + 2 * BF16 * width + BF16 * (2 * query + 2 * key)
    kept = 0
    widest = 0
    for layer in range(config.num_hidden_layers):
        if isinstance(config, QwenMoeConfig) and config.is_sparse(layer):
            units = 2 * config.num_experts_per_tok * config.moe_intermediate_size
            units += 3 * config.shared_expert_intermediate_size
            inner = BF16 * units + FP32 * (width + 2 * config.num_experts)  # the router's, in fp32
        else:
            inner = BF16 * 3 * config.intermediate_size
        kept += outside + inner
        widest = max(widest, outside + inner)
    return TrainingMemory(
        states=parameters.total * (4 * FP32 + BF16),
        activations=tokens * kept,
        checkpointed=tokens * (FP32 * width * config.num_hidden_layers + widest),
        logits=tokens * config.vocab_size * 2 * BF16,
    )
