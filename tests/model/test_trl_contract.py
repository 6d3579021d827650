"""TRL's trainers take a checkpoint of ours by its path, train it, and leave one that loads."""

import copy

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)

from align.model import load, preset
from align.model.convert import read_config
from align.model.peers import ours_for

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QUESTION = [{"role": "user", "content": "2 + 2?"}]
RIGHT, WRONG = ([{"role": "assistant", "content": text}] for text in ("#### 4", "#### 5"))
PREFERENCES = [{"prompt": QUESTION, "chosen": RIGHT, "rejected": WRONG}] * 4


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, and Qwen's three chat tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({char: i for i, char in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHATML,
    )


SHAPES = {
    "qwen2": {},
    "qwen3": {"qk_norm": True, "qkv_bias": False, "head_dim": 32},
    "qwen2_moe": {"norm_topk_prob": False, "shared_expert_intermediate_size": 64},
    "qwen3_moe": {"qk_norm": True, "qkv_bias": False, "head_dim": 32},
}


@pytest.fixture(scope="module", params=SHAPES)
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    config = preset(
        "tiny-moe" if "moe" in request.param else "tiny",
        vocab_size=len(tokenizer),
        num_hidden_layers=2,
        hidden_size=64,
        intermediate_size=128,
        **SHAPES[request.param],
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def class_of(folder, causal: bool) -> type:
    return ours_for(read_config(folder), causal=causal)


def settings(output, **more) -> dict:
    return {
        "output_dir": str(output),
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-2,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 1,
        **more,
    }


def sft(path, output, peft_config=None, **more):
    rows = [{"prompt": QUESTION, "completion": RIGHT}] * 8
    args = SFTConfig(**settings(output, **more), packing=True, max_length=64)
    data = Dataset.from_list(rows)
    return SFTTrainer(str(path), args, train_dataset=data, peft_config=peft_config)


def dpo(path, output, peft_config=None, **more):
    args, data = DPOConfig(**settings(output, **more)), Dataset.from_list(PREFERENCES)
    return DPOTrainer(str(path), args=args, train_dataset=data, peft_config=peft_config)


def reward(path, output, peft_config=None, **more):
    args, data = RewardConfig(**settings(output, **more)), Dataset.from_list(PREFERENCES)
    return RewardTrainer(str(path), args=args, train_dataset=data, peft_config=peft_config)


def grpo(path, output, peft_config=None, **more):
    def checksum(completions, **columns):  # two samples hardly ever agree, so there is an advantage
        return [float(sum(map(ord, done[0]["content"])) % 97) for done in completions]

    args = GRPOConfig(
        **settings(output, **more), num_generations=2, max_completion_length=8, beta=0.1
    )
    rows = Dataset.from_list([{"prompt": QUESTION}] * 4)
    return GRPOTrainer(
        str(path),
        reward_funcs=checksum,
        args=args,
        train_dataset=rows,
        peft_config=peft_config,
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [sft, dpo, reward, grpo])
def test_a_trainer_trains_our_class_by_path_and_the_result_loads(folder, tmp_path, make):
    trainer = make(folder, tmp_path)
    expected = class_of(folder, causal=make is not reward)
    assert type(trainer.model) is expected
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 2 and all(torch.isfinite(torch.tensor(losses)))
    if make is dpo:  # policy and reference are the same model: ln 2 exactly, beside the experts'
        first = trainer.state.log_history[0]
        balance = 0.001 * first["aux_loss"] if "aux_loss" in first else 0.0
        assert losses[0] - balance == pytest.approx(0.6931, abs=1e-4)
    still = [name for name, w in trainer.model.state_dict().items() if w.equal(before[name])]
    # k_proj.bias adds the same to all of a query's scores but for RoPE, so it may round to nothing.
    assert not [name for name in still if not name.endswith("k_proj.bias")]
    assert all(layer.gradient_checkpointing for layer in trainer.model.model.layers)

    trainer.save_model(tmp_path / "trained")
    loaded = load(tmp_path / "trained")
    assert type(loaded) is expected
    assert loaded.config.use_cache is True
    assert all(w.equal(trainer.model.state_dict()[n]) for n, w in loaded.state_dict().items())


@pytest.mark.filterwarnings("ignore")
def test_the_fused_head_that_trains_agrees_with_the_head_that_generates(folder, tmp_path):
    """TRL computes log-probabilities from hidden states and the head's weight, past our forward."""
    trainer = grpo(folder, tmp_path)
    torch.manual_seed(0)
    tokens = torch.randint(0, 256, (2, 12))
    mask = torch.ones_like(tokens)
    mask[1, :3] = 0
    with torch.no_grad():
        fused = trainer._get_per_token_logps_and_entropies(trainer.model, tokens, mask, 5)[0]
        logits = load(folder)(tokens, attention_mask=mask).logits[:, -6:-1]
    own = logits.log_softmax(-1).gather(-1, tokens[:, -5:, None]).squeeze(-1)
    torch.testing.assert_close(fused, own, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [sft, dpo, reward, grpo])
def test_lora_trains_its_adapters_and_nothing_else(folder, tmp_path, make):
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "o_proj"])
    trainer = make(folder, tmp_path, peft_config=lora)
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.train()
    after = trainer.model.state_dict()
    changed = {name for name, weight in after.items() if not weight.equal(before[name])}
    assert {name for name in changed if "lora_B" in name}
    assert all("lora" in name or "score" in name for name in changed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [sft, dpo, grpo])
def test_a_resumed_trainer_ends_with_the_same_weights(folder, tmp_path, make):
    """transformers' own mixtures of experts lose theirs here: resume loads unpacked names."""
    whole = make(folder, tmp_path, save_strategy="steps", save_steps=1)
    whole.train()
    resumed = make(folder, tmp_path)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert resumed.state.global_step == 2
    expected = whole.model.state_dict()
    for name, weight in resumed.model.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0, msg=name)


@pytest.mark.filterwarnings("ignore")
def test_packed_rows_have_the_loss_of_their_documents(folder, tmp_path):
    """Of the fused head and all; a cache or a mask would let documents see one another."""
    documents = [torch.randint(0, 256, (length,)) for length in (7, 4, 9)]
    row = torch.cat(documents)[None]
    positions = torch.cat([torch.arange(len(d)) for d in documents])[None]
    labels = row.clone()
    labels[positions == 0] = -100
    model = sft(folder, tmp_path).model.eval()
    packed = model(input_ids=row, position_ids=positions, labels=labels, fused_lm_head=True)
    alone = [
        model(input_ids=d[None], labels=d[None], fused_lm_head=True).log_probs for d in documents
    ]
    expected = torch.cat([part[0] for part in alone])
    got = packed.log_probs[0][packed.label_mask[0]]
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
