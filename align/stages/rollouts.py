"""GRPO's completions from our own decoding loop instead of `transformers.generate`."""

import hashlib
import logging
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from align.generate import Sampling
from align.generate.decode import decode

logger = logging.getLogger(__name__)


class EngineRollouts:
    """Mix in before TRL's GRPOTrainer: it samples by `align.generate.decode`.

    A group's prompt is read once, rows that have ended leave the batch, and what is drawn hangs on
    the seed, the step and the process, so a resumed run samples what an undisturbed one would. Left
    to TRL, with a line in the log that says why: vLLM, sharded weights, images and tools, and the
    sampling arguments that the loop doesn't have.
    """

    _rollouts_of_step = (-1, 0)
    _told_why = False

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        why = self._why_not_ours(images)
        if why:
            if not self._told_why:
                logger.warning("rollouts are sampled by TRL's own generation: %s", why)
                self._told_why = True
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, *args, **kwargs
            )
        return self._sampled(prompt_ids), None

    def _why_not_ours(self, images: Any) -> str | None:
        args = self.args
        reasons = {
            "use_vllm": args.use_vllm,
            "use_transformers_continuous_batching": self.use_transformers_continuous_batching,
            "weights are sharded": self.is_fsdp_enabled or self.is_deepspeed_enabled,
            "images": images is not None,
            "tools": bool(self.tools),
            "generation_kwargs": bool(args.generation_kwargs),
            "min_p": bool(args.min_p),
            "repetition_penalty": args.repetition_penalty != 1.0,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)

    def _sampled(self, prompt_ids: list[list[int]]) -> list[list[int]]:
        """A completion for each prompt, its end token included; equal prompts get other samples."""
        places: dict[tuple[int, ...], list[int]] = {}
        for place, prompt in enumerate(prompt_ids):
            places.setdefault(tuple(prompt), []).append(place)
        model = self.accelerator.unwrap_model(self.model)
        model = model.get_base_model() if isinstance(model, PeftModel) else model
        rows = iter(self._decoded(model, [*map(list, places)], [*map(len, places.values())]))
        completions: list[list[int]] = [[] for _ in prompt_ids]
        for some in places.values():
            for place in some:
                completions[place] = next(rows).token_ids
        return completions

    def _decoded(self, model: PreTrainedModel, prompts: list[list[int]], samples: list[int]) -> Any:
        args = self.args
        sampling = Sampling(
            temperature=args.temperature,
            top_p=args.top_p,
            top_k=args.top_k,
            max_tokens=args.max_completion_length,
        )
        was_training = model.training
        model.eval()
        try:
            with torch.autocast(model.device.type, torch.bfloat16, enabled=bool(args.bf16)):
                return decode(
                    model,
                    prompts,
                    [list(range(number)) for number in samples],
                    sampling,
                    self._seed(was_training),
                    self.eos_token_ids,
                    self.processing_class.pad_token_id,
                )
        finally:
            model.train(was_training)

    def _seed(self, training: bool) -> int:
        """Another one for each rollout of each step on each process."""
        step, number = self.state.global_step, 0
        if self._rollouts_of_step[0] == step:
            number = self._rollouts_of_step[1] + 1
        self._rollouts_of_step = (step, number)
        of = f"{self.args.seed}:{step}:{number}:{self.accelerator.process_index}:{training}"
        return int.from_bytes(hashlib.sha256(of.encode()).digest()[:8], "big")
