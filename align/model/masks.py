"""Which earlier tokens each token of a batch may see."""

from torch import Tensor
from transformers.cache_utils import Cache
from transformers.masking_utils import (
    create_causal_mask,
    create_sliding_window_causal_mask,
    sliding_window_overlay,
)

from align.model.config import QwenConfig


def attention_masks(
    config: QwenConfig,
    inputs_embeds: Tensor,
    attention_mask: Tensor | dict[str, Tensor] | None,
    past_key_values: Cache | None,
    position_ids: Tensor,
) -> dict[int | None, Tensor | None]:
    """A mask for each window that a layer has (None: no window), in the form that the attention
    implementation wants; None where it needs none.

    attention_mask: (B, tokens so far), or the masks that `generate` makes for a static cache.
    Raises ValueError for such masks beside `layer_windows`, which transformers knows nothing of.
    """
    windows = {config.window(layer) for layer in range(config.num_hidden_layers)}
    if isinstance(attention_mask, dict):
        if config.layer_windows is not None:
            raise ValueError("layer_windows can't be used with a static cache: use the dynamic one")
        names = {window: "sliding_attention" if window else "full_attention" for window in windows}
        return {window: attention_mask[name] for window, name in names.items()}
    given = {
        "config": config,
        "inputs_embeds": inputs_embeds,
        "attention_mask": attention_mask,
        "past_key_values": past_key_values,
        "position_ids": position_ids,
    }
    masks: dict[int | None, Tensor | None] = {}
    for window in windows:
        if window is None:
            masks[window] = create_causal_mask(**given)
        elif config.layer_windows is None:
            masks[window] = create_sliding_window_causal_mask(**given)
        else:
            overlay = sliding_window_overlay(window)
            masks[window] = create_causal_mask(**given, and_mask_function=overlay)
    return masks
