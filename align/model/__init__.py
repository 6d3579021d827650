"""The Qwen2 and Qwen2.5 dense family, written from source as a transformers model.

Importing this package registers the classes with transformers' `AutoConfig`, `AutoModel`,
`AutoModelForCausalLM` and `AutoModelForSequenceClassification`, so that TRL, PEFT and `generate`
load a checkpoint of ours by its path. Weights keep Hugging Face's Qwen2 names and layout: `load`
reads stock Qwen2 checkpoints too, and `to_transformers` gives back what other engines serve.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
)

from align.model.config import ModelConfigError, QwenConfig
from align.model.convert import CheckpointError, from_transformers, load, to_transformers
from align.model.modeling import QwenForCausalLM, QwenForSequenceClassification, QwenModel
from align.model.presets import PRESETS, preset

AutoConfig.register(QwenConfig.model_type, QwenConfig)
AutoModel.register(QwenConfig, QwenModel)
AutoModelForCausalLM.register(QwenConfig, QwenForCausalLM)
AutoModelForSequenceClassification.register(QwenConfig, QwenForSequenceClassification)

__all__ = [
    "PRESETS",
    "CheckpointError",
    "ModelConfigError",
    "QwenConfig",
    "QwenForCausalLM",
    "QwenForSequenceClassification",
    "QwenModel",
    "from_transformers",
    "load",
    "preset",
    "to_transformers",
]
