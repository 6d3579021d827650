"""Attention for texts beyond the trained length: what `QwenAttention` does not need to know.

LogN scales queries by their position. Dynamic RoPE and Dual Chunk Attention turn a key by an angle
that depends on what comes after it, so the cache holds keys as they were before turning. A long
prompt may be read by vertical-slash sparse attention.

Shape letters: B batch, T tokens at hand, S tokens so far, h head_dim.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from align.model.attention import QwenAttention
from align.model.config import QwenConfig
from align.model.dual_chunk import DualChunk, dual_chunk_attention
from align.model.long_context import caches_unturned_keys, logn_scale, trained_length
from align.model.rope import QwenRotaryEmbedding, rotate
from align.model.sparse import VerticalSlash, vertical_slash_attention


@dataclass(frozen=True)
class LongContext:
    """Where the tokens of one forward pass stand.

    query_positions (B, T), key_positions (B, S); key_mask (B, S), False for padding, or None;
    lengths (B,) tokens of each row so far; longest of them; restarts: documents are packed;
    turn: rotates (B, heads, n, h) by (B, n) positions.
    """

    query_positions: Tensor
    key_positions: Tensor
    key_mask: Tensor | None
    lengths: Tensor
    longest: int
    restarts: bool
    turn: Callable[[Tensor, Tensor], Tensor]

    @classmethod
    def of(
        cls,
        rotary: QwenRotaryEmbedding,
        position_ids: Tensor,
        attention_mask: Tensor | dict[str, Tensor] | None,
        batch: int,
        seen: int,
    ) -> "LongContext":
        """position_ids (B or 1, T) of the tokens at hand; `seen` tokens are cached before them.

        Raises ValueError for the masks of a static cache: it has places that hold no key yet.
        """
        if isinstance(attention_mask, dict):
            raise ValueError(
                "this configuration's long-context attention can't use a static cache: generate "
                "with the dynamic one"
            )
        queries = position_ids.expand(batch, -1)
        if seen == 0:
            keys = queries
        elif attention_mask is not None:
            keys = (attention_mask.long().cumsum(1) - 1).clamp(min=0)
        else:
            keys = torch.arange(seen + queries.shape[1], device=queries.device).expand(batch, -1)
        padded = attention_mask is not None and not bool(attention_mask.all())
        lengths = keys.amax(1) + 1

        def turn(x: Tensor, positions: Tensor) -> Tensor:
            return rotate(x, *rotary(positions, x.dtype, lengths))

        return cls(
            query_positions=queries,
            key_positions=keys,
            key_mask=attention_mask.bool() if padded else None,
            lengths=lengths,
            longest=int(lengths.max()),
            restarts=bool((queries.diff(dim=1) < 0).any()),
            turn=turn,
        )


class LongAttention(QwenAttention):
    """`QwenAttention`, and what the configuration asks for beyond the trained length."""

    def __init__(self, config: QwenConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        chunks, sparse = config.dual_chunk_attention_config, config.sparse_attention_config
        self.unturned = caches_unturned_keys(config)
        self.trained = trained_length(config) if config.use_logn_attn else None
        self.dual_chunk = DualChunk.from_config(chunks) if chunks is not None else None
        self.sparse = VerticalSlash.from_config(sparse) if sparse is not None else None

    def forward(
        self,
        x: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        *,
        long_context: LongContext,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """As `QwenAttention.forward`; weights only where eager attention made the output."""
        at = long_context
        query, key, value = self.heads(x)
        if self.trained is not None:
            query = query * logn_scale(at.query_positions, self.trained)[:, None, :, None].to(
                query.dtype
            )
        if not self.unturned:
            query, key = rotate(query, *position_embeddings), rotate(key, *position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        weights = None
        if self.dual_chunk is not None and at.longest > self.dual_chunk.chunk_length:
            out = self._in_chunks(query, key, value, at)
        else:
            if self.unturned:
                query = at.turn(query, at.query_positions)
                key = at.turn(key, at.key_positions)
            if self._reads_sparsely(query, key, at):
                out, _ = vertical_slash_attention(
                    query,
                    key,
                    value,
                    settings=self.sparse,
                    layer=self.layer_idx,
                    scaling=self.scaling,
                    key_mask=at.key_mask,
                )
            else:
                out, weights = self.attend(query, key, value, attention_mask, **kwargs)
        return self.o_proj(out.reshape(*x.shape[:-1], -1)), weights

    def _in_chunks(self, query: Tensor, key: Tensor, value: Tensor, at: LongContext) -> Tensor:
        if at.restarts:
            raise ValueError(
                f"packed documents of more than {self.dual_chunk.chunk_length} tokens: Dual Chunk "
                "Attention reads one text a row; give each document a row of its own"
            )
        return dual_chunk_attention(
            query,
            key,
            value,
            query_positions=at.query_positions,
            key_positions=at.key_positions,
            key_mask=at.key_mask,
            turn=at.turn,
            settings=self.dual_chunk,
            scaling=self.scaling,
        )

    def _reads_sparsely(self, query: Tensor, key: Tensor, at: LongContext) -> bool:
        """Whole prompts beyond the threshold, at inference: the estimate has no gradient."""
        return (
            self.sparse is not None
            and not torch.is_grad_enabled()
            and not at.restarts
            and query.shape[2] == key.shape[2]
            and at.longest > self.sparse.threshold
        )
