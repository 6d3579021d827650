"""The upcycle stage: a dense model's folder becomes a mixture's, which training goes on from."""

import json
import math
from pathlib import Path

import pytest
import torch

from align.model import QwenForCausalLM, QwenMoeForCausalLM, load, preset
from align.pretrain.tokenizer import train_tokenizer
from align.recipe.schema import Sft, Upcycle
from align.stages import sft, upcycle
from align.stages.job import Artifact, Job, StageError
from align.stages.models import load_tokenizer, save_model

MIXTURE = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 12}


@pytest.fixture
def base(tmp_path) -> Artifact:
    tokenizer = train_tokenizer(["a small corpus of words"] * 3, 280)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8}
    torch.manual_seed(0)
    model = QwenForCausalLM(preset("tiny", vocab_size=len(tokenizer), **sizes))
    model.generation_config.eos_token_id = [3, 4]
    return Artifact(tmp_path / "base", save_model(model, tokenizer, tmp_path / "base"))


def job(root: Path, stage, **inputs: Artifact) -> Job:
    return Job(
        name="mixture",
        config=stage,
        fingerprint="0",
        inputs=inputs,
        root=root,
        work=root / stage.kind,
        answers=root / "answers",
        run_seed=5,
        is_main=True,
        num_processes=1,
        progress=lambda *_, **__: None,
    )


def upcycled(base: Artifact, **fields) -> tuple[Job, dict, dict]:
    """The job, its metrics and its facts."""
    stage = Upcycle(kind="upcycle", model="base", **{**MIXTURE, **fields})
    task = job(base.path.parent, stage, base=base)
    outcome = upcycle.run(task)
    return task, outcome.metrics, outcome.facts


def test_the_mixture_keeps_the_tokens_and_what_ends_an_answer(base):
    task, _, facts = upcycled(base)
    for fact in ("tokenizer_sha256", "chat_template_sha256", "end_of_turn"):
        assert facts[fact] == base.manifest[fact]
    assert facts["weights_sha256"] != base.manifest["weights_sha256"]
    model = load(task.output)
    assert isinstance(model, QwenMoeForCausalLM)
    assert model.generation_config.eos_token_id == [3, 4]
    before = load_tokenizer(base.path).get_vocab()
    assert load_tokenizer(task.output).get_vocab() == before


def test_the_counts_are_those_of_the_mixture_that_was_saved(base):
    task, metrics, _ = upcycled(base, shared_expert_intermediate_size=16)
    parameters = sum(weight.numel() for weight in load(task.output).parameters())
    unpicked = 2 * 6 * 3 * 12 * 16  # layers, experts a token does not see, matrices of 12 x 16
    assert metrics == {
        "parameters": parameters,
        "active_parameters": parameters - unpicked,
        "copies": math.ceil((8 * 12 + 16) / 32),
    }


def test_a_stage_with_the_same_seed_makes_the_same_file(base):
    assert upcycled(base)[2] == upcycled(base)[2]


def test_a_mixture_is_not_upcycled_again(base):
    task, _, facts = upcycled(base)
    with pytest.raises(StageError, match="'base' is a mixture of experts already"):
        upcycled(Artifact(task.output, facts))


def test_sft_goes_on_from_the_mixture(base, tmp_path):
    task, _, facts = upcycled(base)
    row = {
        "prompt": [{"role": "user", "content": "small?"}],
        "completion": [{"role": "assistant", "content": "words"}],
    }
    (tmp_path / "rows.jsonl").write_text(4 * (json.dumps(row) + "\n"))
    args = {"max_steps": 1, "per_device_train_batch_size": 4, "learning_rate": 1e-2}
    stage = Sft(kind="sft", model="mixture", data=["rows.jsonl"], args=args)
    trained = job(tmp_path, stage, mixture=Artifact(task.output, facts))
    outcome = sft.run(trained)
    assert math.isfinite(outcome.metrics["loss"])
    before, after = load(task.output), load(trained.output)
    assert isinstance(after, QwenMoeForCausalLM)
    for name in ("mlp.gate.weight", "mlp.experts.down_proj"):
        moved = before.get_parameter(f"model.layers.0.{name}")
        assert not moved.equal(after.get_parameter(f"model.layers.0.{name}"))
