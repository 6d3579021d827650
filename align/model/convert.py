"""In from transformers' Qwen classes and out to them, and loading by path."""

import copy
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from align.model.config import QwenConfig
from align.model.errors import CheckpointError
from align.model.modeling import QwenForCausalLM, QwenForSequenceClassification
from align.model.peers import PEERS, is_moe, ours_for, peer_of, renamed, to_ours, to_theirs
from align.model.presets import preset
from align.model.safetensors_files import check_whole

_OURS = (QwenForCausalLM, QwenForSequenceClassification)


def load(
    path: str | Path,
    *,
    dtype: torch.dtype | str = "auto",
    attn_implementation: str | None = None,
    device_map: Any = None,
) -> QwenForCausalLM | QwenForSequenceClassification:
    """Load a checkpoint of ours, or one of transformers' Qwens, into our classes.

    Args:
        path: a folder with config.json and safetensors, or a name on the hub.
        dtype: of the weights in memory; "auto" is the dtype they were saved in.
        attn_implementation: "sdpa", "eager", "flash_attention_2" and so on; default: the best here.
        device_map: as in `from_pretrained`; default: the CPU.

    Training leaves `use_cache` off in the saved configuration, which makes generation recompute
    every token; it is on again in what this returns.

    Raises:
        CheckpointError: no such checkpoint; another family or head; a file cut short; or weights
            missing, left over or of another shape.
        ModelConfigError: a configuration that contradicts itself.
    """
    config = read_config(path)
    causal = _is_causal(config, str(path))
    if Path(path).is_dir():
        check_whole(Path(path))
    settings = {
        "dtype": dtype,
        "attn_implementation": attn_implementation,
        "device_map": device_map,
    }
    if not isinstance(config, QwenConfig) and is_moe(config):
        # On disk their experts lie one by one, and only their own classes are loaded packed.
        stock = peer_of(config).causal if causal else peer_of(config).classifier
        return _moved(_checked(stock, str(path), **settings), config)
    ours = config if isinstance(config, QwenConfig) else to_ours(config)
    ours.use_cache = True
    return _checked(ours_for(ours, causal=causal), str(path), config=ours, **settings)


def read_config(path: str | Path) -> PreTrainedConfig:
    """The configuration of a checkpoint of ours, or of one of transformers' Qwens.

    Raises CheckpointError: none there, or of another family.
    """
    try:
        config = AutoConfig.from_pretrained(str(path))
    except OSError as error:
        raise CheckpointError(
            f"{path}: neither a folder with a config.json nor a model on the hub: {error}"
        ) from error
    if not isinstance(config, (QwenConfig, *(peer.config for peer in PEERS))):
        families = ", ".join(peer.config.model_type for peer in PEERS)
        raise CheckpointError(
            f"{path}: model_type {config.model_type!r} is not of this family: expected "
            f"{QwenConfig.model_type}, align_qwen_moe, {families}"
        )
    return config


def is_of_family(path: str | Path) -> bool:
    """Whether `load` knows the checkpoint's family, from its configuration alone."""
    try:
        read_config(path)
    except CheckpointError:
        return False
    return True


def described(name: str) -> QwenConfig:
    """Our configuration of a preset, or of a checkpoint in either format.

    Raises ModelConfigError for a name that is neither.
    """
    if not Path(name).is_dir():
        return preset(name)
    config = read_config(name)
    return config if isinstance(config, QwenConfig) else to_ours(config)


def from_transformers(
    model: PreTrainedModel,
) -> QwenForCausalLM | QwenForSequenceClassification:
    """A copy of one of transformers' Qwen models in our classes; weights are copied, not shared.

    Raises:
        CheckpointError: the model is of another class, or has what no class of ours computes.
        ModelConfigError: a configuration that contradicts itself.
    """
    for peer in PEERS:
        if type(model) in (peer.causal, peer.classifier):
            ours = ours_for(model.config, causal=type(model) is peer.causal)
            return _copied(ours, model, to_ours(model.config))
    stock = [cls.__name__ for peer in PEERS for cls in (peer.causal, peer.classifier)]
    raise _wrong_class(model, stock)


def to_transformers(
    model: QwenForCausalLM | QwenForSequenceClassification,
) -> PreTrainedModel:
    """A copy of our model in transformers' own classes, for engines that know only those.

    Raises:
        CheckpointError: the model is of another class, or none of theirs computes the same.
    """
    for head in _OURS:
        if isinstance(model, head):
            peer = peer_of(model.config)
            stock = peer.causal if head is QwenForCausalLM else peer.classifier
            return _copied(stock, model, to_theirs(model.config))
    raise _wrong_class(model, [cls.__name__ for cls in _OURS])


def _wrong_class(model: object, expected: list[str]) -> CheckpointError:
    return CheckpointError(f"got a {type(model).__name__}, expected {' or '.join(expected)}")


def _is_causal(config: PreTrainedConfig, path: str) -> bool:
    """Which of the two heads the checkpoint has."""
    heads = {ours_for(config, causal=causal).__name__: causal for causal in (True, False)}
    if not isinstance(config, QwenConfig):
        peer = peer_of(config)
        heads |= {peer.causal.__name__: True, peer.classifier.__name__: False}
    architectures = config.architectures or []
    if len(architectures) != 1 or architectures[0] not in heads:
        raise CheckpointError(
            f"{path}: architectures in config.json is {architectures}, expected one of "
            f"{', '.join(heads)}"
        )
    return heads[architectures[0]]


def _moved(stock: PreTrainedModel, config: PreTrainedConfig) -> PreTrainedModel:
    """`stock`'s weights in our class; the loader takes the tensors over, nothing is copied."""
    causal = type(stock) is peer_of(config).causal
    ours = to_ours(stock.config)
    ours.use_cache = True
    return _with_weights(ours_for(ours, causal=causal), stock, ours, stock.state_dict())


def _copied(
    cls: type[PreTrainedModel], model: PreTrainedModel, config: PreTrainedConfig
) -> PreTrainedModel:
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copied = _with_weights(cls, model, config, weights)
    return copied.to(model.device).train(model.training)


def _with_weights(
    cls: type[PreTrainedModel],
    model: PreTrainedModel,
    config: PreTrainedConfig,
    weights: dict[str, torch.Tensor],
) -> PreTrainedModel:
    filled = _checked(
        cls,
        None,
        config=config,
        state_dict=renamed(weights, model.config, config),
        dtype=model.dtype,
        attn_implementation=model.config._attn_implementation,
    )
    # As if made, not loaded: transformers saves a loaded model's experts packed if it got them so.
    filled._weight_conversions = None
    filled.config._name_or_path = model.config._name_or_path
    if model.can_generate():
        filled.generation_config = copy.deepcopy(model.generation_config)
    return filled


def _checked(cls: type[PreTrainedModel], path: str | None, **settings: Any) -> PreTrainedModel:
    """`from_pretrained`, with what it merely warns of made an error."""
    # Told to go on at a wrong shape, the loader lists it in its report, as it does all else.
    model, report = cls.from_pretrained(
        path, output_loading_info=True, ignore_mismatched_sizes=True, **settings
    )
    problems = [
        f"{kind}: {sorted(report[kind])}"
        for kind in ("missing_keys", "unexpected_keys", "error_msgs")
        if report.get(kind)
    ]
    problems += [
        f"mismatched_keys: {name} has shape {list(found)}, expected {list(expected)}"
        for name, found, expected in sorted(report.get("mismatched_keys") or ())
    ]
    if problems:
        source = path or "the model given"
        raise CheckpointError(f"{source}: weights do not fit {cls.__name__}: {'; '.join(problems)}")
    return model
