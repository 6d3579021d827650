"""Trainers balance a mixture's experts, and log how evenly they are used."""

import numpy as np
import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM

from align.errors import AlignError
from align.model import preset
from align.pretrain.loop import PretrainConfig, pretrain
from align.pretrain.packing import pack
from align.train import BalancedTraining
from tests.model.test_trl_contract import byte_tokenizer, dpo, grpo, sft


def mixture(**fields):
    torch.manual_seed(0)
    config = preset(
        "tiny-moe",
        vocab_size=len(byte_tokenizer()),
        num_hidden_layers=2,
        hidden_size=64,
        balance_over="global_batch",
        **fields,
    )
    return AutoModelForCausalLM.from_config(config)


def balanced(trainer):
    trainer.__class__ = type("Balanced", (BalancedTraining, type(trainer)), {})
    return trainer


@pytest.fixture
def folder(tmp_path):
    mixture().save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [sft, dpo, grpo])
def test_every_trainer_logs_the_balance_and_the_load_of_a_step(folder, tmp_path, make):
    trainer = balanced(make(folder, tmp_path, gradient_accumulation_steps=2))
    counted = []
    balance = trainer.model.model.balance
    reset = balance.reset
    balance.reset = lambda: (counted.append(balance._counts), reset())
    trainer.train()
    lines = [line for line in trainer.state.log_history if "loss" in line]
    assert len(lines) == 2
    for line in lines:
        assert line["aux_loss"] >= 3.9  # the even load of four experts a token, but for rounding
        assert line["experts/max_load"] >= 1.0 >= line["experts/min_load"]
        assert 0.0 <= line["experts/unused"] < 1.0
    # One reset a step of two micro-batches, and none had anything left to forget but the last's.
    assert len(counted) == 2
    assert counted[0] is None and counted[1].sum() > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [sft, dpo, grpo])
def test_adapters_train_with_the_load_logged(folder, tmp_path, make):
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    trainer = balanced(make(folder, tmp_path, peft_config=lora, max_steps=1))
    trainer.train()
    (line,) = [line for line in trainer.state.log_history if "loss" in line]
    assert line["experts/max_load"] >= 1.0 >= line["experts/min_load"]
    assert line["aux_loss"] >= 3.9


@pytest.mark.filterwarnings("ignore")
def test_dpos_coefficient_leaves_the_z_loss_its_weight(tmp_path):
    """Given to TRL or written in the config, a coefficient means the same."""
    byte_tokenizer().save_pretrained(tmp_path)
    lines = []
    for own, given in ((0.1, None), (0.001, 0.1)):
        mixture(router_aux_loss_coef=own, router_z_loss_coef=0.01).save_pretrained(tmp_path)
        trainer = balanced(dpo(tmp_path, tmp_path, max_steps=1, router_aux_loss_coef=given))
        trainer.train()
        lines.append(trainer.state.log_history[0])
    for name in ("aux_loss", "loss"):
        assert lines[1][name] == pytest.approx(lines[0][name], abs=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_checkpointing_that_would_lose_the_balance_loss_is_refused(folder, tmp_path):
    """Reentrant checkpoints record router logits without a gradient; nothing else would tell."""
    reentrant = {"gradient_checkpointing_kwargs": {"use_reentrant": True}, "max_steps": 1}
    with pytest.raises(AlignError, match=r"'use_reentrant': True.*no gradient"):
        balanced(sft(folder, tmp_path, **reentrant)).train()
    trainer = balanced(sft(folder, tmp_path, router_aux_loss_coef=0.0, **reentrant))
    trainer.train()
    assert trainer.state.global_step == 1


@pytest.mark.filterwarnings("ignore")
def test_a_dense_model_logs_nothing_of_experts(tmp_path):
    config = preset("tiny", vocab_size=len(byte_tokenizer()), num_hidden_layers=1, hidden_size=64)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    trainer = balanced(sft(tmp_path / "model", tmp_path))
    trainer.train()
    assert not [k for line in trainer.state.log_history for k in line if k.startswith("experts/")]


def test_pretraining_balances_experts_and_remembers_their_load(tmp_path):
    """A strong coefficient keeps the load even where none lets it go."""
    documents = [np.arange(40) % 7 + 3 for _ in range(64)]
    rows = pack(documents, 32, 0)
    worst = {}
    for coefficient in (0.0, 1.0):
        model = mixture(router_aux_loss_coef=coefficient)
        settings = PretrainConfig(max_steps=12, batch_rows=8, bf16=False, warmup_steps=1, lr=3e-3)
        history = pretrain(model, rows, settings, tmp_path / str(coefficient))
        assert history[0]["experts/unused"] < 1
        worst[coefficient] = history[-1]["experts/max_load"]
    assert worst[1.0] < worst[0.0]
