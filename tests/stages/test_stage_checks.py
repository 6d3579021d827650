"""Checks that a stage makes before hours are spent: checkpoints, tokens, what GRPO has used."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from trl import GRPOConfig

from align.stages import grpo
from align.stages.job import Artifact, StageError
from align.stages.models import check_same_tokens


def config(**settings) -> GRPOConfig:
    fixed = {"output_dir": "unused", "use_cpu": True, "bf16": False, "report_to": "none"}
    return GRPOConfig(**{**fixed, "per_device_train_batch_size": 8, **settings})


JOB = SimpleNamespace(name="grpo")


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, 1),
        ({"gradient_accumulation_steps": 2}, 1),
        ({"steps_per_generation": 4}, 4),
        ({"num_iterations": 2}, 2),
        ({"steps_per_generation": 4, "num_iterations": 2, "gradient_accumulation_steps": 2}, 4),
    ],
)
def test_a_checkpoint_inside_a_generation_batch_is_refused(settings, steps):
    """TRL 1.16 buffers a generation batch outside of its checkpoints, so such a one is inexact."""
    grpo._check_checkpoints(JOB, config(save_steps=2 * steps, **settings))
    if steps > 1:
        with pytest.raises(StageError, match=f"use a multiple of {steps}"):
            grpo._check_checkpoints(JOB, config(save_steps=2 * steps + 1, **settings))


@pytest.mark.parametrize(
    ("steps", "num_queries", "used"), [(3, 100, 6), (50, 100, 100), (60, 100, 100), (60, 101, 100)]
)
def test_queries_are_counted_as_trl_takes_them(steps, num_queries, used):
    args = config(per_device_train_batch_size=16, num_generations=8)  # two queries a step
    assert grpo._queries_used(args, steps, num_queries) == used


def job_with(**facts_by_stage) -> SimpleNamespace:
    inputs = {name: Artifact(Path(name), facts) for name, facts in facts_by_stage.items()}
    return SimpleNamespace(name="dpo", inputs=inputs)


def test_models_of_another_template_are_refused():
    facts = {"tokenizer_sha256": "a", "chat_template_sha256": "b", "end_of_turn": "<|im_end|>"}
    check_same_tokens(job_with(sft=facts, base=dict(facts)), "sft", "base")
    other = {**facts, "chat_template_sha256": "c"}
    with pytest.raises(StageError, match="'sft' and 'base' differ in their chat template"):
        check_same_tokens(job_with(sft=facts, base=other), "sft", "base")


def test_queries_of_highest_reward_variance_come_first(tmp_path, monkeypatch):
    rows = [{"id": str(i), "prompt": []} for i in range(3)]
    scored = [{"id": str(i), "variance": v} for i, v in enumerate((0.1, 0.9, 0.5))]
    monkeypatch.setattr(grpo, "_score", lambda *_: scored)
    job = SimpleNamespace(work=tmp_path, output=tmp_path / "artifact", is_main=True)
    job.output.mkdir()
    ordered = grpo._by_variance(job, config(), rows, None)
    assert [row["id"] for row in ordered] == ["1", "2", "0"]
    monkeypatch.setattr(grpo, "_score", lambda *_: pytest.fail("scored again"))
    assert grpo._by_variance(job, config(), rows, None) == ordered
