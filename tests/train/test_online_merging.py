import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_optimizer import is_optimizer_factory
from trl import DPOConfig, DPOTrainer

from align.train import MergeError, OnlineMergingAdamW, task_vectors, use_online_merging

WORDS = [f"w{i}" for i in range(60)]


def one_weight(value=1.0, tau=0.5, **settings):
    """A weight whose Adam step is -lr at the first step: its gradient is 1."""
    weight = torch.nn.Parameter(torch.tensor([value]))
    defaults = {"lr": 0.02, "reserve": 1.0, "eps": 0.0, "alpha": 0.1}
    optimizer = OnlineMergingAdamW(
        [("w", weight)], {"w": torch.tensor([tau])}, **(defaults | settings)
    )
    return weight, optimizer


def take_step(optimizer, gradient=1.0):
    for group in optimizer.param_groups:
        for param in group["params"]:
            param.grad = torch.as_tensor(gradient).expand(param.shape).clone()
    optimizer.step()


def mlp(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))


def tau_for(model, scale=0.01):
    generator = torch.Generator().manual_seed(5)
    return {
        n: scale * torch.randn(p.shape, generator=generator) for n, p in model.named_parameters()
    }


def train(model, optimizer, steps, start=0):
    for step in range(start, start + steps):
        data = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(data).square().sum().backward()
        optimizer.step()


def digest(model):
    data = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    return hashlib.sha256(data).hexdigest()


# --- the algorithm ---


@pytest.mark.parametrize("method", ["ondare", "onties"])
def test_reserve_1_and_alpha_0_is_torch_adamw(method):
    ours, theirs = mlp(), mlp()
    merging = OnlineMergingAdamW(
        ours.named_parameters(), tau_for(ours), lr=1e-3, method=method, alpha=0.0, reserve=1.0
    )
    train(ours, merging, 5)
    train(theirs, torch.optim.AdamW(theirs.parameters(), lr=1e-3, weight_decay=0.0), 5)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=6e-7)
    assert digest(ours) != digest(mlp())


def test_weight_decay_is_decoupled_and_comes_after_the_merge():
    weight, optimizer = one_weight(weight_decay=0.5)
    take_step(optimizer)
    assert weight.item() == pytest.approx((1 - 0.9 * 0.02 + 0.1 * 0.5) * (1 - 0.02 * 0.5))


def test_without_learning_rate_the_weights_drift_linearly_along_tau():
    weight, optimizer = one_weight(lr=0.0, tau=0.25, alpha=0.5)
    for _ in range(7):
        take_step(optimizer)
    assert weight.item() == 1 + 7 * 0.5 * 0.25  # linear, where 1.125 ** 7 would be geometric


@pytest.mark.parametrize(
    ("method", "alpha", "tau", "expected"),
    [
        ("ondare", 0.1, 0.5, 1.032),
        ("onties", 0.1, 0.5, 1.05),
        ("onties", 0.1, -0.5, 0.932),
        ("onties", 1e-3, 0.5, 0.98002),
    ],
)
def test_one_step_gives_the_published_rules_values(method, alpha, tau, expected):
    weight, optimizer = one_weight(method=method, alpha=alpha, tau=tau)
    take_step(optimizer)
    assert weight.item() == pytest.approx(expected, abs=1e-6)


def test_step_2_merges_the_sum_of_two_steps_once():
    def after(*rates, **settings):
        weight, optimizer = one_weight(**settings)
        for optimizer.param_groups[0]["lr"] in rates:
            take_step(optimizer)
        return weight.item()

    assert after(0.02, 0.01, merge_every=2) == pytest.approx(1.023, abs=1e-6)
    assert after(0.02, 0.01, merge_every=1) == pytest.approx(1.073, abs=1e-6)
    assert after(0.02, 0.01, 0.02, 0.01, merge_every=2) == pytest.approx(1.046, abs=1e-6)


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("method", ["ondare", "onties"])
def test_between_merges_every_tensor_moves_by_plain_adam(method, variant):
    ours, theirs = mlp(), mlp()
    merging = OnlineMergingAdamW(
        ours.named_parameters(), tau_for(ours), lr=1e-3, method=method, variant=variant,
        alpha=0.3, reserve=0.3, merge_every=3,
    )  # fmt: skip
    adam = torch.optim.AdamW(theirs.parameters(), lr=1e-3, weight_decay=0.0)
    train(ours, merging, 2)
    train(theirs, adam, 2)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=6e-7)
    train(ours, merging, 1, start=2)
    train(theirs, adam, 1, start=2)
    assert all(
        not torch.allclose(a, b, rtol=0, atol=1e-5)
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)
    )


@pytest.mark.parametrize(("variant", "scale"), [("paper", 1.0), ("released", 5.0)])
def test_ondare_has_the_mean_and_variance_of_its_masks(variant, scale):
    n, p, alpha, lr = 200_000, 0.2, 0.25, 0.02
    weight = torch.nn.Parameter(torch.zeros(n))
    optimizer = OnlineMergingAdamW(
        [("w", weight)], {"w": torch.full((n,), 0.1)}, lr=lr, eps=0.0, alpha=alpha, reserve=p,
        variant=variant,
    )  # fmt: skip
    take_step(optimizer)
    step, pull = -(1 - alpha) * lr * scale, alpha * 0.1 * scale
    variance = p * (1 - p) * (step**2 + pull**2)  # the two masks are independent
    assert weight.mean().item() == pytest.approx(p * (step + pull), abs=4 * (variance / n) ** 0.5)
    assert weight.var().item() == pytest.approx(variance, rel=0.03)


def test_masks_differ_between_steps_and_between_step_and_tau():
    weight = torch.nn.Parameter(torch.zeros(4000))
    optimizer = OnlineMergingAdamW(
        [("w", weight)], {"w": torch.full((4000,), 8.0)}, lr=1.0, eps=0.0, alpha=0.5, reserve=0.5
    )
    kept = []
    for _ in range(2):
        before = weight.detach().clone()
        take_step(optimizer)
        moved = (weight - before).detach().round(decimals=3)  # -0.5, 4, their sum, or 0
        kept += [(moved == -0.5) | (moved == 3.5), (moved == 4) | (moved == 3.5)]
    for i in range(4):
        for j in range(i):
            assert (kept[i] == kept[j]).float().mean().item() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(("size", "reserve", "kept"), [(1000, 0.1376, 138), (3, 0.01, 1)])
def test_onties_keeps_exactly_its_share_of_step_and_tau(size, reserve, kept):
    generator = torch.Generator().manual_seed(0)
    for alpha in (0.0, 1.0):  # only the Adam step; only tau
        weight = torch.nn.Parameter(torch.zeros(size))
        tau = torch.randn(size, generator=generator)
        optimizer = OnlineMergingAdamW(
            [("w", weight)], {"w": tau}, lr=0.1, eps=1.0, method="onties", alpha=alpha,
            reserve=reserve,
        )  # fmt: skip
        gradient = torch.randn(size, generator=generator)
        take_step(optimizer, gradient)
        largest = (tau if alpha else gradient).abs().topk(kept).indices
        assert weight.nonzero().flatten().tolist() == sorted(largest.tolist())


def test_a_pull_below_fp32_resolution_survives_when_the_step_moves_the_weight():
    # 0.02 + 1e-10 is 0.02 in fp32; beside a step that is added in the same sum it is not lost
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = OnlineMergingAdamW(
        [("w", weight)], {"w": torch.tensor([1e-3])}, lr=1e-6, alpha=1e-7, reserve=1.0, eps=0.0
    )
    take_step(optimizer)
    assert weight.item() == pytest.approx(-1e-6 * (1 - 1e-7) + 1e-10, rel=1e-6)


# --- paper and released variant ---


def test_released_ondare_scales_kept_coordinates_by_100_at_reserve_1_percent():
    for variant, size in (("released", 0.1), ("paper", 1e-3)):
        weight = torch.nn.Parameter(torch.zeros(20_000))
        optimizer = OnlineMergingAdamW(
            [("w", weight)], {"w": torch.zeros(20_000)}, lr=1e-3, alpha=0.0, reserve=0.01,
            variant=variant,
        )  # fmt: skip
        take_step(optimizer)
        moved = weight[weight != 0]
        assert 140 < moved.numel() < 260
        assert torch.allclose(moved, torch.tensor(-size), rtol=1e-4)


def test_released_ondare_pulls_the_same_1_percent_each_step_and_paper_does_not():
    def pulled(variant):
        weight = torch.nn.Parameter(torch.zeros(5000))
        optimizer = OnlineMergingAdamW(
            [("w", weight)], {"w": torch.full((5000,), 1e-3)}, lr=0.0, alpha=1e-4, reserve=0.01,
            variant=variant,
        )  # fmt: skip
        for _ in range(955):
            take_step(optimizer)
        return weight.detach() / 1e-3  # in units of tau

    released, paper = pulled("released"), pulled("paper")
    assert (released != 0).float().mean().item() == pytest.approx(0.01, abs=0.005)
    assert released.max().item() == pytest.approx(9.55, rel=1e-3)
    assert (paper != 0).float().mean().item() > 0.99
    assert paper.mean().item() == pytest.approx(955 * 0.01 * 1e-4, rel=0.02)


def test_released_ondare_clips_the_scaled_tau_at_1():
    for tau, expected in ((0.5, 1.0), (-0.5, -1.0), (0.005, 0.5)):
        weight = torch.nn.Parameter(torch.zeros(2000))
        optimizer = OnlineMergingAdamW(
            [("w", weight)], {"w": torch.full((2000,), tau)}, lr=0.0, alpha=1.0, reserve=0.01,
            variant="released",
        )  # fmt: skip
        take_step(optimizer)
        assert weight[weight != 0].unique().tolist() == pytest.approx([expected])


def test_released_onties_loses_half_of_the_adam_steps_to_the_sign_of_tau():
    def surviving(variant):
        generator = torch.Generator().manual_seed(0)
        weight = torch.nn.Parameter(torch.zeros(20_000))
        optimizer = OnlineMergingAdamW(
            [("w", weight)], {"w": 1e-3 * torch.randn(20_000, generator=generator)}, lr=1e-6,
            method="onties", alpha=1e-7, reserve=1.0, variant=variant,
        )  # fmt: skip
        take_step(optimizer, torch.randn(20_000, generator=generator))
        return (weight.abs() > 5e-7).float().mean().item()

    assert surviving("paper") == 1.0
    assert surviving("released") == pytest.approx(0.5, abs=0.015)


# --- state ---


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("method", ["ondare", "onties"])
@pytest.mark.parametrize("merge_every", [1, 4])
def test_resuming_gives_the_same_bits(tmp_path, method, variant, merge_every):
    def build(model):
        return OnlineMergingAdamW(
            model.named_parameters(), tau_for(model), lr=1e-3, weight_decay=0.1, method=method,
            alpha=0.2, reserve=0.3, merge_every=merge_every, variant=variant, seed=3,
        )  # fmt: skip

    straight = mlp()
    train(straight, build(straight), 6)

    first = mlp()
    optimizer = build(first)
    train(first, optimizer, 3)
    torch.save((first.state_dict(), optimizer.state_dict()), tmp_path / "checkpoint.pt")
    torch.rand(7)  # the global generator is no part of it
    weights, state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    second = mlp(seed=1)
    second.load_state_dict(weights)
    resumed = build(second)
    without_state = mlp(seed=1)
    without_state.load_state_dict(weights)
    resumed.load_state_dict(state)
    train(second, resumed, 3, start=3)
    train(without_state, build(without_state), 3, start=3)
    assert digest(second) == digest(straight)
    assert digest(without_state) != digest(straight)


def test_tau_is_not_in_the_state_dict():
    model = mlp()
    optimizer = OnlineMergingAdamW(model.named_parameters(), tau_for(model), merge_every=2)
    train(model, optimizer, 1)
    keys = {key for state in optimizer.state_dict()["state"].values() for key in state}
    assert keys == {"step", "exp_avg", "exp_avg_sq", "unmerged"}


def test_state_of_other_parameters_is_refused():
    model = mlp()
    named = list(model.named_parameters())
    state = OnlineMergingAdamW(named, tau_for(model)).state_dict()
    with pytest.raises(MergeError, match="another order"):
        OnlineMergingAdamW(named[::-1], tau_for(model)).load_state_dict(state)


def test_replicas_with_different_global_generators_agree():
    digests = set()
    for rank in range(2):
        model = mlp()
        optimizer = OnlineMergingAdamW(
            model.named_parameters(), tau_for(model), lr=1e-2, alpha=0.1, reserve=0.2, seed=9
        )
        torch.manual_seed(100 + rank)
        train(model, optimizer, 3)
        digests.add(digest(model))
    assert len(digests) == 1
    other_seed = mlp()
    optimizer = OnlineMergingAdamW(
        other_seed.named_parameters(), tau_for(other_seed), lr=1e-2, alpha=0.1, reserve=0.2, seed=8
    )
    train(other_seed, optimizer, 3)
    assert digest(other_seed) not in digests


SHARDED = """
import sys, torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from align.train.online_merging import OnlineMergingAdamW

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
mesh = init_device_mesh("cpu", (2,))
for method in ("ondare", "onties"):
    for variant in ("paper", "released"):
        generator = torch.Generator().manual_seed(0)
        start, tau, *grads = torch.randn(5, 7, 3, generator=generator)
        results = []
        for shard in (False, True):
            whole = torch.nn.Parameter(start.clone())
            optimizer = OnlineMergingAdamW([("w", whole)], {"w": tau}, lr=0.1, method=method,
                                           alpha=0.2, reserve=0.4, merge_every=2, variant=variant)
            spread = lambda x: distribute_tensor(x.clone(), mesh, [Shard(0)]) if shard else x
            param = torch.nn.Parameter(spread(start.clone()))
            optimizer.param_groups[0]["params"] = [param]  # as FSDP2's swap does
            for grad in grads:
                param.grad = spread(grad)
                optimizer.step()
            results.append(param.full_tensor() if shard else param)
        assert torch.equal(*results), (method, variant)
dist.destroy_process_group()
"""


def test_sharded_parameters_give_the_same_bits_as_whole_ones(tmp_path):
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", SHARDED, str(rank), str(tmp_path / "store")],
            stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )
        for rank in range(2)
    ]  # fmt: skip
    for rank in ranks:
        _, errors = rank.communicate(timeout=120)
        assert rank.returncode == 0, errors


# --- refusals ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "dare"}, "ondare, onties"),
        ({"variant": "mine"}, "paper, released"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"reserve": 0.0}, "reserve is 0.0"),
        ({"merge_every": 0}, "merge_every is 0"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(MergeError, match=message):
        one_weight(**settings)


def test_parameters_that_cannot_be_merged_are_refused():
    weight = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(MergeError, match="names"):
        OnlineMergingAdamW([weight], {})
    with pytest.raises(MergeError, match="no task vector: w"):
        OnlineMergingAdamW([("w", weight)], {"module.w": torch.zeros(2)})
    with pytest.raises(MergeError, match="half precision"):
        OnlineMergingAdamW([("w", torch.nn.Parameter(weight.bfloat16()))], {"w": torch.zeros(2)})
    flat = OnlineMergingAdamW([("w", weight)], {"w": torch.zeros(1, 2)})
    with pytest.raises(MergeError, match="FSDP"):
        take_step(flat)


# --- task vectors from folders ---


def qwen(seed, **settings):
    torch.manual_seed(seed)
    config = Qwen2Config(
        **{
            "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64,
            "tie_word_embeddings": True, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None,
        }
        | settings
    )  # fmt: skip
    return Qwen2ForCausalLM(config)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base, and an SFT model near it, each with its tokenizer."""
    root = tmp_path_factory.mktemp("models")
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    base = qwen(0)
    sft = qwen(0)
    with torch.no_grad():
        for param in sft.parameters():
            param.add_(0.01 * torch.randn_like(param))
    for name, model in (("base", base), ("sft", sft)):
        model.save_pretrained(root / name)
        fast.save_pretrained(root / name)
    return root / "base", root / "sft"


def test_task_vectors_are_sft_minus_base_with_tied_weights_once(folders):
    base, sft = (Qwen2ForCausalLM.from_pretrained(f, dtype=torch.float32) for f in folders)
    tau = task_vectors(*folders)
    named = dict(base.named_parameters())
    assert set(tau) == set(named) and "lm_head.weight" not in tau
    for name, param in sft.named_parameters():
        assert torch.equal(tau[name], param - named[name])


def test_task_vectors_of_sharded_and_half_precision_folders_are_subtracted_in_fp32(
    folders, tmp_path
):
    base, sft = folders
    for source, name in ((base, "base"), (sft, "sft")):
        model = Qwen2ForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
        model.save_pretrained(tmp_path / name, max_shard_size="4KB")
    assert len(list((tmp_path / "sft").glob("*.safetensors"))) > 1
    tau = task_vectors(tmp_path / "base", tmp_path / "sft")
    assert set(tau) == set(task_vectors(base, sft))
    name = "model.layers.1.mlp.up_proj.weight"
    assert tau[name].dtype == torch.float32
    assert (tau[name] - task_vectors(base, sft)[name]).abs().max() < 2e-3


def test_a_base_that_does_not_fit_is_refused(folders, tmp_path):
    sft = folders[1]
    qwen(0, vocab_size=70).save_pretrained(tmp_path / "vocabulary")
    qwen(0, intermediate_size=48).save_pretrained(tmp_path / "wider")
    with pytest.raises(MergeError, match="only the vocabulary differs"):
        task_vectors(tmp_path / "vocabulary", sft)
    with pytest.raises(MergeError, match="differ in shape") as error:
        task_vectors(tmp_path / "wider", sft)
    assert str(tmp_path / "wider") in str(error.value) and "down_proj" in str(error.value)
    qwen(0).model.save_pretrained(tmp_path / "headless")  # the same weights under other names
    with pytest.raises(MergeError, match="are not in it") as error:
        task_vectors(tmp_path / "headless", sft)
    assert str(sft) in str(error.value) and "model." in str(error.value)
    with pytest.raises(MergeError, match=r"no model\.safetensors"):
        task_vectors(tmp_path, sft)


def test_a_new_head_has_no_pull_and_is_announced(folders, tmp_path):
    untied = qwen(1, tie_word_embeddings=False)
    untied.save_pretrained(tmp_path / "untied")
    with pytest.warns(UserWarning, match=r"1 parameters .* lm_head\.weight"):
        tau = task_vectors(folders[0], tmp_path / "untied")
    assert not tau["lm_head.weight"].any()
    assert tau["model.embed_tokens.weight"].any()


# --- in trainers ---


def pairs():
    def words(start, count):
        return " ".join(WORDS[(start * 7 + i * 3) % len(WORDS)] for i in range(count))

    rows = [
        {"prompt": words(i, 4), "chosen": " " + words(i + 1, 5), "rejected": " " + words(i + 2, 5)}
        for i in range(16)
    ]
    return Dataset.from_list(rows)


def dpo_trainer(folder, output, steps=4, cls=DPOTrainer, **settings):
    arguments = {
        "max_steps": steps, "save_steps": 2, "per_device_train_batch_size": 4, "report_to": "none",
        "learning_rate": 1e-3, "lr_scheduler_type": "constant", "bf16": False, "use_cpu": True,
        "gradient_checkpointing": False, "logging_steps": 1, "disable_tqdm": True, "seed": 7,
        "weight_decay": 0.1, "model_init_kwargs": {"dtype": "float32"},
    }  # fmt: skip
    peft = settings.pop("peft_config", None)
    args = DPOConfig(output_dir=str(output), **(arguments | settings))
    return cls(model=str(folder), args=args, train_dataset=pairs(), peft_config=peft)


def test_dpo_resumed_from_a_checkpoint_ends_with_the_same_bits(folders, tmp_path):
    base, sft = folders
    settings = {"alpha": 0.01, "reserve": 0.5, "merge_every": 3}

    straight = dpo_trainer(sft, tmp_path / "straight")
    use_online_merging(straight, base, sft, **settings)
    straight.train()
    inner = straight.optimizer.optimizer
    assert isinstance(inner, OnlineMergingAdamW) and inner.seed == 7
    decays = {n: g["weight_decay"] for g in inner.param_groups for n in g["param_names"]}
    assert decays["model.norm.weight"] == 0 and decays["model.embed_tokens.weight"] == 0.1

    killed = dpo_trainer(sft, tmp_path / "killed")
    use_online_merging(killed, base, sft, **settings)

    def kill(*args, **kwargs):
        if killed.state.global_step == 3:
            raise KeyboardInterrupt
        return type(killed).training_step(killed, *args, **kwargs)

    killed.training_step = kill
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    resumed = dpo_trainer(sft, tmp_path / "killed")
    use_online_merging(resumed, base, sft, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "killed" / "checkpoint-2"))
    assert resumed.state.global_step == 4
    assert digest(resumed.model) == digest(straight.model)

    adam = dpo_trainer(sft, tmp_path / "adam")
    adam.train()
    assert digest(adam.model) != digest(straight.model)


def test_lora_is_refused(folders, tmp_path):
    from peft import LoraConfig

    lora = LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
    trainer = dpo_trainer(folders[1], tmp_path, peft_config=lora)
    with pytest.raises(MergeError, match="LoRA"):
        use_online_merging(trainer, *folders)


def plain_trainer(output, **settings):
    return Trainer(qwen(0), TrainingArguments(str(output), use_cpu=True), **settings)


def test_deepspeed_fsdp1_and_a_ready_optimizer_are_refused(folders, tmp_path):
    trainer = plain_trainer(tmp_path)
    use_online_merging(trainer, *folders)  # none of them: accepted
    trainer.is_deepspeed_enabled = True
    with pytest.raises(MergeError, match="DeepSpeed"):
        use_online_merging(trainer, *folders)
    trainer.is_deepspeed_enabled, trainer.is_fsdp_enabled = False, True
    with pytest.raises(MergeError, match="FSDP 1"):
        use_online_merging(trainer, *folders)
    trainer.is_fsdp_enabled = False
    trainer.create_optimizer()
    with pytest.raises(MergeError, match="optimizer already"):
        use_online_merging(trainer, *folders)


def test_a_model_that_is_not_the_sft_folders_is_refused(folders, tmp_path):
    trainer = plain_trainer(tmp_path)
    trainer.model = mlp()
    with pytest.raises(MergeError, match="4 of 4 parameters have no task vector"):
        use_online_merging(trainer, *folders)


def test_contract_transformers_calls_an_optimizer_factory_with_the_model(tmp_path):
    trainer, seen = plain_trainer(tmp_path), []

    def build(model, **kwargs):
        seen.append((model, kwargs))
        return torch.optim.SGD(model.parameters(), lr=1.0)

    assert is_optimizer_factory(lambda: build)
    trainer.optimizer_cls_and_kwargs = (lambda: build, {})
    assert isinstance(trainer.create_optimizer(), torch.optim.SGD)
    assert seen == [(trainer.model, {})]
