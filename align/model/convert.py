"""In from transformers' Qwen2 classes and out to them, and loading by path.

Both sides name and lay out their weights alike, so only the configuration is translated.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
)

from align.errors import AlignError
from align.model.config import QwenConfig
from align.model.modeling import QwenForCausalLM, QwenForSequenceClassification

_PEERS = {
    QwenForCausalLM: Qwen2ForCausalLM,
    QwenForSequenceClassification: Qwen2ForSequenceClassification,
}
_OURS_BY_ARCHITECTURE = {
    cls.__name__: ours for ours, stock in _PEERS.items() for cls in (ours, stock)
}
# What describes the class, or follows from other fields, and is not to be carried over.
_NOT_CARRIED = ("model_type", "architectures", "transformers_version", "layer_types")


class CheckpointError(AlignError):
    """A checkpoint or model that is not of this family, or does not hold all of its weights."""


def load(
    path: str | Path,
    *,
    dtype: torch.dtype | str = "auto",
    attn_implementation: str | None = None,
    device_map: Any = None,
) -> QwenForCausalLM | QwenForSequenceClassification:
    """Load a checkpoint of ours, or a stock Qwen2 one, into our classes.

    Args:
        path: a folder with config.json and safetensors, or a name on the hub.
        dtype: of the weights in memory; "auto" is the dtype they were saved in.
        attn_implementation: "sdpa", "eager", "flash_attention_2" and so on; default: the best here.
        device_map: as in `from_pretrained`; default: the CPU.

    Training leaves `use_cache` off in the saved configuration, which makes generation recompute
    every token; it is on again in what this returns.

    Raises:
        CheckpointError: no such checkpoint; another family or head; or weights missing, left over
            or of another shape.
        ModelConfigError: a configuration that asks for what these classes do not do.
    """
    try:
        config = AutoConfig.from_pretrained(str(path))
    except OSError as error:
        raise CheckpointError(
            f"{path}: neither a folder with a config.json nor a model on the hub: {error}"
        ) from error
    if not isinstance(config, QwenConfig | Qwen2Config):
        raise CheckpointError(
            f"{path}: model_type {config.model_type!r} is not of this family: expected "
            f"{QwenConfig.model_type!r} or {Qwen2Config.model_type!r}"
        )
    cls = _class_for(config, str(path))
    if isinstance(config, Qwen2Config):
        config = _translate(config, QwenConfig)
    config.use_cache = True
    return _checked(
        cls,
        str(path),
        config=config,
        dtype=dtype,
        attn_implementation=attn_implementation,
        device_map=device_map,
    )


def from_transformers(
    model: Qwen2ForCausalLM | Qwen2ForSequenceClassification,
) -> QwenForCausalLM | QwenForSequenceClassification:
    """A copy of a stock Qwen2 model in our classes; the weights are copied, not shared.

    Raises:
        CheckpointError: the model is of another class.
        ModelConfigError: its configuration asks for what these classes do not do.
    """
    for ours, stock in _PEERS.items():
        if type(model) is stock:
            return _copy_into(ours, model, QwenConfig)
    raise _wrong_class(model, [stock.__name__ for stock in _PEERS.values()])


def to_transformers(
    model: QwenForCausalLM | QwenForSequenceClassification,
) -> Qwen2ForCausalLM | Qwen2ForSequenceClassification:
    """A copy of our model in transformers' own Qwen2 classes, for engines that know only those.

    Raises:
        CheckpointError: the model is of another class.
    """
    for ours, stock in _PEERS.items():
        if type(model) is ours:
            return _copy_into(stock, model, Qwen2Config)
    raise _wrong_class(model, [ours.__name__ for ours in _PEERS])


def _wrong_class(model: object, expected: list[str]) -> CheckpointError:
    return CheckpointError(f"got a {type(model).__name__}, expected {' or '.join(expected)}")


def _class_for(config: PreTrainedConfig, path: str) -> type[PreTrainedModel]:
    architectures = config.architectures or []
    if len(architectures) != 1 or architectures[0] not in _OURS_BY_ARCHITECTURE:
        raise CheckpointError(
            f"{path}: architectures in config.json is {architectures}, expected one of "
            f"{', '.join(_OURS_BY_ARCHITECTURE)}"
        )
    return _OURS_BY_ARCHITECTURE[architectures[0]]


def _translate(config: PreTrainedConfig, target: type[PreTrainedConfig]) -> PreTrainedConfig:
    """The same fields under another model_type; fields that ours does not declare ride along."""
    # Checked on our side before the layers' kinds are left out as derived.
    if target is QwenConfig and getattr(config, "use_sliding_window", False):
        return QwenConfig(use_sliding_window=True)
    fields = config.to_dict()
    for name in _NOT_CARRIED:
        fields.pop(name, None)
    return target(**fields)


def _copy_into(
    cls: type[PreTrainedModel], model: PreTrainedModel, config_class: type[PreTrainedConfig]
) -> PreTrainedModel:
    # The loader adopts the tensors it is given, hence the clones.
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copied = _checked(
        cls,
        None,
        config=_translate(model.config, config_class),
        state_dict=weights,
        dtype=model.dtype,
        attn_implementation=model.config._attn_implementation,
    )
    copied.config._name_or_path = model.config._name_or_path
    if model.can_generate():
        copied.generation_config = copy.deepcopy(model.generation_config)
    return copied.to(model.device).train(model.training)


def _checked(cls: type[PreTrainedModel], path: str | None, **settings: Any) -> PreTrainedModel:
    """`from_pretrained`, with what it merely warns of made an error."""
    # Told to go on at a wrong shape, the loader lists it in its report, as it does all else.
    model, report = cls.from_pretrained(
        path, output_loading_info=True, ignore_mismatched_sizes=True, **settings
    )
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")
    problems = [f"{kind}: {sorted(report[kind])}" for kind in kinds if report.get(kind)]
    if problems:
        source = path or "the model given"
        raise CheckpointError(f"{source}: weights do not fit {cls.__name__}: {'; '.join(problems)}")
    return model
