"""TRL's trainers take a checkpoint of ours by its path, train it, and leave one that loads."""

import copy

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
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

from align.model import (
    QwenForCausalLM,
    QwenForSequenceClassification,
    load,
    preset,
)

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tokenizer = byte_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "num_hidden_layers": 2, "hidden_size": 64}
    torch.manual_seed(0)
    model = QwenForCausalLM(preset("tiny", intermediate_size=128, **sizes))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def settings(output) -> dict:
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
    }


def sft(path, output):
    rows = [{"prompt": QUESTION, "completion": RIGHT}] * 8
    args = SFTConfig(**settings(output), packing=True, max_length=64)
    return SFTTrainer(str(path), args, train_dataset=Dataset.from_list(rows))


def dpo(path, output):
    args = DPOConfig(**settings(output))
    return DPOTrainer(str(path), args=args, train_dataset=Dataset.from_list(PREFERENCES))


def reward(path, output):
    args = RewardConfig(**settings(output))
    return RewardTrainer(str(path), args=args, train_dataset=Dataset.from_list(PREFERENCES))


def grpo(path, output):
    def checksum(completions, **columns):  # two samples hardly ever agree, so there is an advantage
        return [float(sum(map(ord, done[0]["content"])) % 97) for done in completions]

    args = GRPOConfig(**settings(output), num_generations=2, max_completion_length=8, beta=0.1)
    rows = Dataset.from_list([{"prompt": QUESTION}] * 4)
    return GRPOTrainer(str(path), reward_funcs=checksum, args=args, train_dataset=rows)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [sft, dpo, reward, grpo])
def test_a_trainer_trains_our_class_by_path_and_the_result_loads(folder, tmp_path, make):
    trainer = make(folder, tmp_path)
    expected = QwenForSequenceClassification if make is reward else QwenForCausalLM
    assert type(trainer.model) is expected
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 2 and all(torch.isfinite(torch.tensor(losses)))
    if make is dpo:  # policy and reference are the same model: ln 2 exactly
        assert losses[0] == pytest.approx(0.6931, abs=1e-4)
    still = [name for name, w in trainer.model.state_dict().items() if w.equal(before[name])]
    # k_proj.bias adds the same to all of a query's scores but for RoPE, so it may round to nothing.
    assert not [name for name in still if not name.endswith("k_proj.bias")]

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
