"""The loop: exact resume, every row once an epoch, processes that share out a batch, schedule."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from align.errors import AlignError
from align.pretrain.loop import CHECKPOINT, PretrainConfig, batch_indices, pretrain
from align.pretrain.optimizers import build_optimizers, lr_share
from align.pretrain.packing import pack

CONFIG = PretrainConfig(
    max_steps=8, batch_rows=4, warmup_steps=2, checkpoint_every=1, bf16=False, seed=7
)


def make_model():
    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=32,
            tie_word_embeddings=True,
        )
    )


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    documents = [generator.integers(1, 32, size=n).tolist() for n in generator.integers(4, 20, 20)]
    packed = pack(documents, 16, 0)
    assert 8 < len(packed) < 32  # so that 8 steps of 4 rows go past the first epoch
    return packed


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


class Killed(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("bf16", [False, True])
def test_a_killed_run_ends_with_the_same_bytes(rows, tmp_path, optimizer, bf16):
    config = replace(CONFIG, optimizer=optimizer, bf16=bf16, checkpoint_every=3)
    undisturbed = make_model()
    history = pretrain(undisturbed, rows, config, tmp_path / "whole")

    def kill_at(fatal):
        def on_step(step, total_steps, loss, tokens_per_second):
            if step == fatal:
                raise Killed

        return on_step

    for fatal in (2, 5, 7):  # before a first checkpoint, and on both sides of the epoch's end
        with pytest.raises(Killed):
            pretrain(make_model(), rows, config, tmp_path / "cut", on_step=kill_at(fatal))
    resumed = make_model()
    assert pretrain(resumed, rows, config, tmp_path / "cut") == history
    for name, value in weights(undisturbed).items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    other = make_model()  # the control: weights depend on the order of the rows
    pretrain(other, rows, replace(config, seed=8), tmp_path / "other")
    assert any(not torch.equal(v, other.state_dict()[n]) for n, v in weights(resumed).items())


def test_an_interrupted_save_leaves_the_last_checkpoint_whole(rows, tmp_path, monkeypatch):
    config = replace(CONFIG, checkpoint_every=4)
    whole = make_model()
    pretrain(whole, rows, config, tmp_path / "whole")

    def torn(state, path):
        Path(path).write_bytes(b"half")
        raise Killed

    def tear_later(step, total_steps, loss, tokens_per_second):
        if step == 6:
            monkeypatch.setattr(torch, "save", torn)

    with pytest.raises(Killed):
        pretrain(make_model(), rows, config, tmp_path / "cut", on_step=tear_later)
    monkeypatch.undo()
    resumed = make_model()
    pretrain(resumed, rows, config, tmp_path / "cut")
    assert all(torch.equal(v, resumed.state_dict()[n]) for n, v in weights(whole).items())


def test_a_checkpoint_of_other_settings_is_refused(rows, tmp_path):
    pretrain(make_model(), rows, CONFIG, tmp_path)
    with pytest.raises(ValueError, match="other settings"):
        pretrain(make_model(), rows, replace(CONFIG, lr=1e-4), tmp_path)


@pytest.mark.parametrize("num_rows", [7, 12, 33])
def test_every_row_is_seen_once_in_each_epoch(num_rows):
    stream = np.concatenate([batch_indices(step, num_rows, CONFIG) for step in range(num_rows)])
    epochs = stream[: num_rows * 4].reshape(4, num_rows)
    for epoch in epochs:
        assert sorted(epoch) == list(range(num_rows))
    assert (epochs[0] != epochs[1]).any()


def test_training_learns(tmp_path):
    packed = pack([[5, 6, 7, 8, 9, 10]] * 40, 16, 0)
    history = pretrain(make_model(), packed, replace(CONFIG, max_steps=60), tmp_path)
    assert history[-1]["loss"] < 0.1 * history[0]["loss"]


def test_a_loss_that_is_not_finite_stops_the_run(rows, tmp_path):
    model = make_model()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(AlignError, match="step 1 of 8"):
        pretrain(model, rows, CONFIG, tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()


def test_the_schedule_warms_up_and_ends_at_a_tenth():
    shares = [lr_share(step, 100, 10) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == shares[10] == 1.0
    assert shares[54] == pytest.approx(0.55, abs=0.02)
    assert shares[99] == pytest.approx(0.1)
    assert shares[10:] == sorted(shares[10:], reverse=True)


def test_muon_takes_the_hidden_matrices_and_adamw_the_rest():
    model = make_model()
    adamw, muon = build_optimizers(model, "muon", lr=1.0, muon_lr=2.0, weight_decay=0.1)
    names = {id(p): name for name, p in model.named_parameters()}

    def of(optimizer, decay=None):
        return {
            names[id(p)]
            for group in optimizer.param_groups
            if decay is None or (group["weight_decay"] > 0) == decay
            for p in group["params"]
        }

    assert of(muon) == {n for n in names.values() if "proj.weight" in n}
    assert of(adamw, decay=True) == {"model.embed_tokens.weight"}
    assert of(adamw) | of(muon) == set(names.values())
    assert not of(adamw) & of(muon)


TWO_PROCESSES = """
import sys, pickle, torch
sys.path.insert(0, {tests!r})
from accelerate import Accelerator
import align.pretrain.loop as loop
from test_loop import CONFIG, make_model
rows = pickle.load(open({rows!r}, "rb"))
accelerator = Accelerator(cpu=True)
seen, cut = [], loop._slice
loop._slice = lambda *a: (seen.append(cut(*a).tolist()), cut(*a))[1]
model = make_model()
history = loop.pretrain(model, rows, CONFIG, loop.Path({out!r}), accelerator=accelerator)
torch.save((seen, history, model.state_dict()), {out!r} + f"/rank{{accelerator.process_index}}.pt")
accelerator.end_training()
"""


def test_two_processes_share_every_batch_and_learn_what_one_does(rows, tmp_path):
    import pickle

    (tmp_path / "rows.pkl").write_bytes(pickle.dumps(rows))
    script = tmp_path / "two.py"
    script.write_text(
        TWO_PROCESSES.format(
            tests=str(Path(__file__).parent), rows=str(tmp_path / "rows.pkl"), out=str(tmp_path)
        )
    )
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    subprocess.run(
        [*command, "--standalone", str(script)],
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"},
    )
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    alone = make_model()
    history = pretrain(alone, rows, CONFIG, tmp_path / "alone")
    for step, (first, second) in enumerate(zip(ranks[0][0], ranks[1][0], strict=True)):
        assert not set(first) & set(second)
        assert first + second == batch_indices(step, len(rows), CONFIG).tolist()
    for rank in ranks:
        assert [h["loss"] for h in rank[1]] == pytest.approx([h["loss"] for h in history], rel=1e-3)
        for name, value in rank[2].items():
            assert torch.equal(value, ranks[0][2][name])
            assert torch.allclose(value, alone.state_dict()[name], atol=2e-2), name
