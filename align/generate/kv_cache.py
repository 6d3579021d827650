"""Keys and values in room kept ready, written in place."""

from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer


def growing_cache(model: PreTrainedModel) -> DynamicCache:
    """transformers' dynamic cache with its full-attention layers replaced by ours."""
    cache = DynamicCache(config=model.config)
    cache.layers = [
        GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


class GrowingLayer(DynamicLayer):
    """Keys and values, (rows, heads, positions, head size), as views into tensors with spare room.

    A decoding step then writes one position where DynamicLayer copies all that came before.
    """

    room = 64

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if start == 0 or end > self._keys.shape[-2]:
            self._keys = self._grown(self.keys, key_states, start, end)
            self._values = self._grown(self.values, value_states, start, end)
            self.is_initialized = True
        self._keys[:, :, start:end] = key_states
        self._values[:, :, start:end] = value_states
        self._show(end)
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: Tensor) -> None:
        self._keys = self._keys.repeat_interleave(repeats, 0)
        self._values = self._values.repeat_interleave(repeats, 0)
        self._show(self.get_seq_length())

    def batch_select_indices(self, indices: Tensor) -> None:
        self._keys = self._keys.index_select(0, indices)
        self._values = self._values.index_select(0, indices)
        self._show(self.get_seq_length())

    def _grown(self, old: Tensor | None, new: Tensor, start: int, end: int) -> Tensor:
        rows, heads, _, size = new.shape
        grown = new.new_empty(rows, heads, end + self.room, size)
        if start:
            grown[:, :, :start] = old
        return grown

    def _show(self, length: int) -> None:
        self.keys, self.values = self._keys[:, :, :length], self._values[:, :, :length]
