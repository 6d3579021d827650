"""Trainers balance a mixture's experts, and log how evenly they are used."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

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


@pytest.fixture
def folder(tmp_path):
    mixture().save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [sft, dpo, grpo])
def test_every_trainer_logs_the_balance_and_the_load_of_a_step(folder, tmp_path, make):
    trainer = make(folder, tmp_path, gradient_accumulation_steps=2)
    trainer.__class__ = type("Balanced", (BalancedTraining, type(trainer)), {})
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
def test_a_dense_model_logs_nothing_of_experts(tmp_path):
    config = preset("tiny", vocab_size=len(byte_tokenizer()), num_hidden_layers=1, hidden_size=64)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    trainer = sft(tmp_path / "model", tmp_path)
    trainer.__class__ = type("Balanced", (BalancedTraining, type(trainer)), {})
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
