"""The Online Merging Optimizer (Lu et al. 2024, arXiv 2405.17931): AdamW that merges as it trains.

Each Adam step d is merged with the task vector tau = SFT - base before it reaches the weights, so
that preference training keeps what fine-tuning taught: theta <- theta + F(d) (+) F(tau), the
paper's relaxed rule. `ondare` keeps random coordinates of both and adds them; `onties` keeps the
largest of both and lets them vote on the sign. Paper and released code differ; `variant` chooses:

               paper                        released
    ondare     kept coordinates unscaled    scaled by 1/reserve; tau then clipped to [-1, 1]
    ondare     a fresh mask for tau         one mask for tau, drawn once
    onties     sign of the weighted sum     sign of the unweighted sum

With `online_step > 1` the released code updates its first tensor only; neither variant repeats
that mistake. `alpha` does not carry over: over T steps "paper" pulls every weight by about
alpha * reserve * T of tau, "released" a share `reserve` of them by alpha * T / reserve; and
without the 1/reserve the learning rate has to grow by as much to learn at all.
"""

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from align.errors import AlignError

METHODS = ("ondare", "onties")
VARIANTS = ("paper", "released")
TAU_CLIP = 1.0  # the released code's clip_val


class MergeError(AlignError):
    """Online merging can't be done with what was given. The message says why and what to do."""


class OnlineMergingAdamW(torch.optim.Optimizer):
    """AdamW whose step is merged with a task vector (arXiv 2405.17931, Algorithms 1 and 2).

    With `reserve=1, alpha=0` it is `torch.optim.AdamW`, but that weight decay comes after the step.

    Args:
        params: `model.named_parameters()`, or groups whose "params" are (name, parameter) pairs.
            Parameters are fp32 or fp64.
        tau: task vector by parameter name, of the parameter's full shape; see `task_vectors`.
            Read at a parameter's first step, kept on its device, never part of the state dict.
        lr: step size. `alpha` is not scaled by it: during warm-up the pull is already whole.
        betas, eps, weight_decay: as in AdamW; the decay is decoupled and comes after the merge.
        method: "ondare" (random masks) or "onties" (largest magnitudes and a vote on the sign).
        alpha: weight of tau, in [0, 1]; the Adam step gets 1 - alpha. Applied once a merge.
        reserve: fraction of coordinates kept, in (0, 1]; one minus the paper's drop rate. OnTIES
            keeps exactly round(reserve * n) of a tensor's n coordinates, and at least one.
        merge_every: merge the sum of this many Adam steps at a time (the paper's K); the steps
            between are plain Adam, and so are the last ones if K does not divide their number.
        variant: "paper" or "released"; see the module's text.
        seed: masks depend on (seed, step, parameter name) alone, so replicas agree, sharding
            changes nothing, and a resumed run needs no generator state.

    Raises:
        MergeError: a setting out of range, a parameter without name or task vector, one in half
            precision, or (at the first step) one whose shape is not its task vector's.
    """

    def __init__(
        self,
        params: Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]],
        tau: Mapping[str, Tensor],
        *,
        lr: float = 1e-6,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        method: Literal["ondare", "onties"] = "ondare",
        alpha: float = 1e-7,
        reserve: float = 0.5,
        merge_every: int = 1,
        variant: Literal["paper", "released"] = "paper",
        seed: int = 0,
    ):
        _check_settings(method, alpha, reserve, merge_every, variant)
        self.method, self.alpha, self.reserve = method, alpha, reserve
        self.merge_every, self.variant, self.seed = merge_every, variant, seed
        self._tau = tau
        self._prepared: dict[str, Tensor] = {}
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if "param_names" not in group:
            raise MergeError("parameters need names here: pass model.named_parameters()")
        _check_parameters(zip(group["param_names"], group["params"], strict=True), self._tau)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in torch; MergeError if the state is of other parameters, or in another order."""
        ours = [group["param_names"] for group in self.param_groups]
        theirs = [group.get("param_names") for group in state_dict["param_groups"]]
        if ours != theirs:
            raise MergeError(
                "the saved optimizer state is of other parameters, or of the same in another order:"
                " resume with the model and optimizer settings that wrote the checkpoint"
            )
        super().load_state_dict(state_dict)

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            # Names, not parameters, are the keys: FSDP2 swaps the parameters, in the same order.
            for name, param in zip(group["param_names"], group["params"], strict=True):
                if param.grad is not None:
                    self._update(name, param, group)
        return loss

    def _update(self, name: str, param: Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(param)
            state["exp_avg_sq"] = torch.zeros_like(param)
            if self.merge_every > 1:
                state["unmerged"] = torch.zeros_like(param)
        state["step"] += 1
        step = int(state["step"])
        delta = _adam_step(param.grad, state, step, group)
        if self.merge_every == 1:
            param.add_(self._merge(name, param, delta, step))
        elif step % self.merge_every:
            state["unmerged"].add_(delta)
            param.add_(delta)
        else:
            unmerged = state["unmerged"]  # is in the weights already, so it is taken out again
            param.add_(self._merge(name, param, delta + unmerged, step) - unmerged)
            unmerged.zero_()
        param.mul_(1 - group["lr"] * group["weight_decay"])

    def _merge(self, name: str, param: Tensor, delta: Tensor, step: int) -> Tensor:
        """F(delta) (+) F(tau). One sum, because alpha * tau alone is often below what fp32 can add
        to a weight."""
        tau = self._task_vector(name, param)
        if self.method == "onties":
            return self._vote(self._trim(delta), tau)
        generator = self._generator(name, param.device, step)
        delta = self._drop(delta, generator)
        if self.variant == "paper":
            tau = self._drop(tau, generator)
        return (1 - self.alpha) * delta + self.alpha * tau

    def _task_vector(self, name: str, param: Tensor) -> Tensor:
        """tau with all of F that does not change from step to step, laid out as the parameter."""
        if name not in self._prepared:
            tau = self._tau[name].to(param.device, param.dtype)
            if tau.shape != param.shape:
                raise MergeError(
                    f"{name} is {tuple(param.shape)}, its task vector {tuple(tau.shape)}: give the"
                    " model's own base, and leave parameters unflattened (FSDP2, not FSDP 1)"
                )
            if self.method == "onties":
                tau = self._trim(tau)
            elif self.variant == "released":
                tau = self._drop(tau, self._generator(name, param.device, step=0))
                tau = tau.clamp(-TAU_CLIP, TAU_CLIP)
            self._prepared[name] = _laid_out_like(param, tau)
        return self._prepared[name]

    def _generator(self, name: str, device: torch.device, step: int) -> torch.Generator:
        digest = hashlib.sha256(f"{self.seed}/{step}/{name}".encode()).digest()
        # CPU generators use 32 bits of a seed.
        return torch.Generator(device).manual_seed(int.from_bytes(digest[:4], "big"))

    def _drop(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Keeps each coordinate with probability `reserve` (DARE's F)."""
        if self.reserve == 1:
            return values
        # The whole tensor's mask, on every shard: the run does not depend on how it is sharded.
        mask = torch.rand(values.shape, generator=generator, device=values.device) < self.reserve
        kept = values * _laid_out_like(values, mask)
        return kept / self.reserve if self.variant == "released" else kept

    def _trim(self, values: Tensor) -> Tensor:
        """Keeps the round(reserve * n) coordinates of largest magnitude (TIES's F).

        A sharded tensor is gathered for it, one tensor at a time.
        """
        whole = values.full_tensor() if isinstance(values, DTensor) else values
        count = max(1, round(self.reserve * whole.numel()))
        if count == whole.numel():
            return values
        kept = whole.abs().flatten().topk(count, sorted=False).indices
        mask = torch.zeros(whole.numel(), dtype=torch.bool, device=whole.device)
        mask[kept] = True
        return values * _laid_out_like(values, mask.view(whole.shape))

    def _vote(self, delta: Tensor, tau: Tensor) -> Tensor:
        """Per coordinate, the sum of those that have the elected sign (the paper's equation 7)."""
        ours, theirs = (1 - self.alpha) * delta, self.alpha * tau
        elected = torch.sign(ours + theirs if self.variant == "paper" else delta + tau)
        return ours * (torch.sign(ours) == elected) + theirs * (torch.sign(theirs) == elected)


def _check_settings(method: str, alpha: float, reserve: float, every: int, variant: str) -> None:
    for name, value, known in (("method", method, METHODS), ("variant", variant, VARIANTS)):
        if value not in known:
            raise MergeError(f"{name} is {value!r}; it is one of {', '.join(known)}")
    if not 0 <= alpha <= 1:
        raise MergeError(f"alpha is {alpha}; it is a weight from 0 to 1, and starts small (1e-7)")
    if not 0 < reserve <= 1:
        raise MergeError(f"reserve is {reserve}; it is the fraction kept, above 0 and up to 1")
    if every < 1:
        raise MergeError(f"merge_every is {every}; it is a number of steps, at least 1")


def _check_parameters(named: Iterable[tuple[str, Tensor]], tau: Mapping[str, Tensor]) -> None:
    named = list(named)
    missing = [name for name, _ in named if name not in tau]
    if missing:
        raise MergeError(
            f"{len(missing)} of {len(named)} parameters have no task vector: {_first(missing)}."
            " Give the folder this model was loaded from as the SFT model, and its base"
        )
    half = [name for name, param in named if param.dtype in (torch.float16, torch.bfloat16)]
    if half:
        raise MergeError(
            f"{len(half)} parameters are in half precision ({_first(half)}), where a step of online"
            " merging is rounded away: load the model in float32; bf16=True still computes in bf16"
        )


def _adam_step(grad: Tensor, state: dict[str, Any], step: int, group: dict[str, Any]) -> Tensor:
    """-lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps), in torch.optim.AdamW's order."""
    beta1, beta2 = group["betas"]
    state["exp_avg"].lerp_(grad, 1 - beta1)
    state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    scale = (state["exp_avg_sq"].sqrt() / (1 - beta2**step) ** 0.5).add_(group["eps"])
    return state["exp_avg"] / scale * (-group["lr"] / (1 - beta1**step))


def _laid_out_like(like: Tensor, whole: Tensor) -> Tensor:
    """`whole`, sharded as `like` is; every rank holds the same `whole`, so none is sent."""
    if not isinstance(like, DTensor):
        return whole
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


class TaskVectors(Mapping[str, Tensor]):
    """tau by parameter name, in fp32 on the CPU, subtracted when asked for: a whole copy in each
    process would not fit beside a large model."""

    def __init__(self, base: dict[str, Path], sft: dict[str, Path]):
        self._base, self._sft = base, sft

    def __getitem__(self, name: str) -> Tensor:
        after = _read(self._sft[name], name)
        if name not in self._base:
            return torch.zeros_like(after)
        return after - _read(self._base[name], name)

    def __contains__(self, name: object) -> bool:
        return name in self._sft

    def __iter__(self) -> Iterator[str]:
        return iter(self._sft)

    def __len__(self) -> int:
        return len(self._sft)


def task_vectors(base: str | Path, sft: str | Path) -> Mapping[str, Tensor]:
    """SFT minus base for each parameter, from two transformers folders with safetensors files.

    Tied weights are stored, and so counted, once. A parameter that the base lacks (a new head) has
    tau = 0, with a warning that names it. MergeError: no safetensors in a folder, most parameters
    are not in the base, or a shape differs (another size, or another vocabulary).
    """
    base, sft = Path(base), Path(sft)
    before, after = _weight_files(base), _weight_files(sft)
    new = [name for name in after if name not in before]
    if len(new) * 2 > len(after):
        raise MergeError(
            f"{base} is not the base of {sft}: {len(new)} of {len(after)} parameters are not in it"
            f" ({_first(new)})"
        )
    _check_shapes(base, before, sft, after)
    if new:
        warnings.warn(
            f"{len(new)} parameters of {sft} are not in its base {base}, so nothing pulls them"
            f" (tau = 0): {_first(new)}",
            stacklevel=2,
        )
    return TaskVectors(before, after)


def _check_shapes(base: Path, before: dict[str, Path], sft: Path, after: dict[str, Path]) -> None:
    differing = {}
    for name in sorted(after.keys() & before.keys()):
        old, new = _shape(before[name], name), _shape(after[name], name)
        if old != new:
            differing[name] = f"{name} {old} and {new}"
    if not differing:
        return
    advice = "give the model that the SFT model was trained from"
    if all(name.endswith(("embed_tokens.weight", "lm_head.weight")) for name in differing):
        advice = "only the vocabulary differs: resize the base's to the SFT model's and save it"
    raise MergeError(
        f"{base} does not fit {sft}: {len(differing)} parameters differ in shape"
        f" ({_first(list(differing.values()))}); {advice}"
    )


def _weight_files(folder: Path) -> dict[str, Path]:
    """Parameter name -> the safetensors file that holds it."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.is_file():
        files = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {name: folder / file for name, file in files.items()}
    if not single.is_file():
        raise MergeError(f"{folder} holds no model.safetensors: give a save_pretrained folder")
    with safe_open(single, framework="pt") as weights:
        return dict.fromkeys(weights.keys(), single)


def _shape(file: Path, name: str) -> list[int]:
    with safe_open(file, framework="pt") as weights:
        return weights.get_slice(name).get_shape()


def _read(file: Path, name: str) -> Tensor:
    with safe_open(file, framework="pt") as weights:
        return weights.get_tensor(name).float()


def _first(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def use_online_merging(trainer: Any, base: str | Path, sft: str | Path, **settings: Any) -> None:
    """Makes a transformers or TRL trainer (DPOTrainer and its relatives) train by online merging.

    Call it between making the trainer and `train()`. Learning rate, betas, epsilon and weight decay
    come from `trainer.args`, and so does the seed unless given. `base` and `sft` are folders of the
    pretrained model and of the one training starts from, read from disk because a resumed run's
    model has moved on. `settings` are those of `OnlineMergingAdamW`.

    Raises MergeError for LoRA, DeepSpeed, FSDP 1, an optimizer already there, or a wrong base.
    """
    _check_trainer(trainer)
    args, settings = trainer.args, {"seed": trainer.args.seed, **settings}
    tau = task_vectors(base, sft)
    _check_parameters(_trainable(trainer.model), tau)

    def build(model: torch.nn.Module) -> OnlineMergingAdamW:
        decayed = set(trainer.get_decay_parameter_names(model))
        named = _trainable(model)
        groups = [
            {"params": [pair for pair in named if pair[0] in decayed]},
            {"params": [pair for pair in named if pair[0] not in decayed], "weight_decay": 0.0},
        ]
        return OnlineMergingAdamW(
            [group for group in groups if group["params"]],
            tau,
            lr=args.learning_rate,
            betas=(args.adam_beta1, args.adam_beta2),
            eps=args.adam_epsilon,
            weight_decay=args.weight_decay,
            **settings,
        )

    # What is no optimizer class, the trainer calls as `first()(model, **second)`.
    trainer.optimizer_cls_and_kwargs = (lambda: build, {})


def _trainable(model: torch.nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, param) for name, param in model.named_parameters() if param.requires_grad]


def _check_trainer(trainer: Any) -> None:
    model = trainer.model
    adapters = hasattr(model, "peft_config") or getattr(model, "_hf_peft_config_loaded", False)
    refusals = {
        "LoRA trains adapters, and online merging pulls the full weights toward the SFT model:"
        " train without peft_config, or merge the adapter into the model first": adapters,
        "DeepSpeed hands an optimizer flat pieces of parameters, which have no task vector:"
        " use FSDP2 or plain data parallelism": trainer.is_deepspeed_enabled,
        "FSDP 1 flattens the parameters, which then have no task vector: set fsdp_version 2": (
            trainer.is_fsdp_enabled and not trainer.accelerator.is_fsdp2
        ),
        "the trainer has an optimizer already, which would be used instead: make it without"
        " `optimizers`, and call this before training starts": trainer.optimizer is not None,
    }
    for message, applies in refusals.items():
        if applies:
            raise MergeError(message)
