"""The Qwen family, dense and mixtures of experts, written from source as transformers models.

Importing this package registers the classes with transformers' `AutoConfig`, `AutoModel`,
`AutoModelForCausalLM` and `AutoModelForSequenceClassification`, so that TRL, PEFT and `generate`
load a checkpoint of ours by its path. Weights keep the names and layout of transformers' Qwen2,
Qwen3, Qwen2-MoE and Qwen3-MoE: `load` reads those checkpoints too, and `to_transformers` gives back
what other engines serve.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
)

from align.model.config import QwenConfig, QwenMoeConfig
from align.model.convert import from_transformers, load, to_transformers
from align.model.errors import CheckpointError, ModelConfigError
from align.model.modeling import (
    QwenForCausalLM,
    QwenForSequenceClassification,
    QwenModel,
    QwenMoeForCausalLM,
    QwenMoeForSequenceClassification,
    QwenMoeModel,
)
from align.model.presets import PRESETS, preset

for _config, _model, _causal, _classifier in (
    (QwenConfig, QwenModel, QwenForCausalLM, QwenForSequenceClassification),
    (QwenMoeConfig, QwenMoeModel, QwenMoeForCausalLM, QwenMoeForSequenceClassification),
):
    AutoConfig.register(_config.model_type, _config)
    AutoModel.register(_config, _model)
    AutoModelForCausalLM.register(_config, _causal)
    AutoModelForSequenceClassification.register(_config, _classifier)

__all__ = [
    "PRESETS",
    "CheckpointError",
    "ModelConfigError",
    "QwenConfig",
    "QwenForCausalLM",
    "QwenForSequenceClassification",
    "QwenModel",
    "QwenMoeConfig",
    "QwenMoeForCausalLM",
    "QwenMoeForSequenceClassification",
    "QwenMoeModel",
    "from_transformers",
    "load",
    "preset",
    "to_transformers",
]
