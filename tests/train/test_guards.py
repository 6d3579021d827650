import inspect
import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Trainer, TrainerCallback, TrainingArguments
from trl import DPOTrainer, GRPOTrainer, RewardTrainer, SFTTrainer

from align.train import CheckpointMarker, DivergedError, GuardedTraining, complete_checkpoint

WRITTEN = {
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "trainer_state.json",
    "training_args.bin",
}


class Poisoned(Trainer):
    """A trainer whose loss, or one gradient, is not finite at its third step."""

    poison = "loss"

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self.state.global_step == 2 and self.poison == "loss":
            return loss * float("nan")
        if self.state.global_step == 2 and self.poison == "gradient":
            # sqrt at 0: a finite loss with an infinite gradient
            weight = model.model.norm.weight
            return loss + (weight[0] - weight[0].detach()).sqrt()
        return loss


class GuardedPoisoned(GuardedTraining, Poisoned):
    pass


def trainer(cls, output, **settings):
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    ids = torch.arange(8)
    rows = [{"input_ids": (ids + i) % 32, "labels": (ids + i) % 32} for i in range(16)]
    arguments = {
        "max_steps": 4, "per_device_train_batch_size": 2, "use_cpu": True, "report_to": "none",
        "save_steps": 1, "logging_steps": 1, "disable_tqdm": True,
    }  # fmt: skip
    args = TrainingArguments(str(output), **(arguments | settings))
    return cls(Qwen2ForCausalLM(config), args, train_dataset=rows)


def is_finite(model):
    return all(bool(p.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_nan_loss_stops_training_before_the_weights_are_poisoned(tmp_path, accumulation):
    guarded = trainer(GuardedPoisoned, tmp_path, gradient_accumulation_steps=accumulation)
    with pytest.raises(DivergedError, match="step 3: the loss is nan") as error:
        guarded.train()
    assert is_finite(guarded.model)
    assert error.value.step == 3
    assert 0 < error.value.last_finite_loss < 10

    plain = trainer(Poisoned, tmp_path, gradient_accumulation_steps=accumulation)
    plain.train()  # the negative control: it runs to its end, and there is nothing left of it
    assert not is_finite(plain.model)
    assert all(entry.get("loss") == entry.get("loss") for entry in plain.state.log_history)


def test_an_infinite_gradient_under_a_finite_loss_stops_training(tmp_path):
    guarded = trainer(GuardedPoisoned, tmp_path)
    guarded.poison = "gradient"
    with pytest.raises(DivergedError, match=r"gradients of 1 parameters .* model\.norm\.weight"):
        guarded.train()
    assert is_finite(guarded.model)


def test_the_guard_leaves_a_healthy_run_alone(tmp_path):
    class Guarded(GuardedTraining, Trainer):
        pass

    runs = [trainer(cls, tmp_path / cls.__name__) for cls in (Guarded, Trainer)]
    for run in runs:
        run.train()
    for a, b in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("cls", [Trainer, SFTTrainer, DPOTrainer, RewardTrainer, GRPOTrainer])
def test_contract_training_step_takes_model_inputs_and_item_count(cls):
    inspect.signature(cls.training_step).bind(None, "model", "inputs", 3)


class Spy(TrainerCallback):
    """What lies in the checkpoint when on_save is called."""

    def __init__(self):
        self.seen = []

    def on_save(self, args, state, control, **kwargs):
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self.seen.append({path.name for path in folder.iterdir()})


def saved_run(output):
    run = trainer(Trainer, output)
    spy = Spy()
    run.add_callback(spy)
    run.add_callback(CheckpointMarker())
    run.train()
    return spy


def test_contract_on_save_comes_after_every_file_of_the_checkpoint(tmp_path):
    spy = saved_run(tmp_path)
    assert len(spy.seen) == 4
    for step, seen in enumerate(spy.seen, start=1):
        folder = tmp_path / f"checkpoint-{step}"
        assert seen >= WRITTEN
        assert {path.name for path in folder.iterdir()} == seen | {"complete.json"}
        assert set(json.loads((folder / "complete.json").read_text())) == seen


def test_the_newest_whole_checkpoint_is_found_and_broken_ones_are_passed_over(tmp_path):
    assert complete_checkpoint(tmp_path) is None
    saved_run(tmp_path)
    assert complete_checkpoint(tmp_path) == tmp_path / "checkpoint-4"

    (tmp_path / "checkpoint-4" / "complete.json").unlink()  # killed while it was written
    (tmp_path / "checkpoint-3" / "optimizer.pt").unlink()  # killed while it was deleted
    weights = tmp_path / "checkpoint-2" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])  # cut off
    with pytest.warns(UserWarning, match="checkpoint-[234] was not written to its end"):
        assert complete_checkpoint(tmp_path) == tmp_path / "checkpoint-1"


def test_a_checkpoint_of_step_10_is_newer_than_one_of_step_9(tmp_path):
    saved_run(tmp_path)
    shutil.move(tmp_path / "checkpoint-1", tmp_path / "checkpoint-10")
    assert complete_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_a_checkpoint_being_overwritten_is_not_whole_meanwhile(tmp_path):
    saved_run(tmp_path)

    class Killed(Trainer):
        def _save_optimizer_and_scheduler(self, output_dir):
            raise KeyboardInterrupt

    again = trainer(Killed, tmp_path)
    again.add_callback(CheckpointMarker())
    with pytest.raises(KeyboardInterrupt):
        again.train()  # from the start, in the same folder
    shutil.rmtree(tmp_path / "checkpoint-4")
    shutil.rmtree(tmp_path / "checkpoint-3")
    shutil.rmtree(tmp_path / "checkpoint-2")
    with pytest.warns(UserWarning, match="checkpoint-1"):
        assert complete_checkpoint(tmp_path) is None
