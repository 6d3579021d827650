"""GRPO's rollouts come from our decoding loop, and are what TRL expects of its own."""

import inspect
import logging

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM
from trl import GRPOConfig, GRPOTrainer

from align.generate import decode as decode_module
from align.generate.qwen_step import QwenStep
from align.model import preset
from align.stages import rollouts as module
from align.stages.rollouts import EngineRollouts
from tests.model.test_trl_contract import byte_tokenizer, settings

PROMPTS = [[{"role": "user", "content": text}] for text in ("2 + 2?", "7?", "a longer one: 3 + 4?")]


class OwnGRPOTrainer(EngineRollouts, GRPOTrainer):
    pass


@pytest.fixture(scope="module", params=["tiny", "tiny-moe"])
def folder(request, tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model")
    tokenizer = byte_tokenizer()
    config = preset(request.param, vocab_size=len(tokenizer), num_hidden_layers=2, hidden_size=64,
                    initializer_range=0.2)  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def trainer_of(folder, output, peft_config=None, seen=None, **more):
    def reward(completions, completion_ids, **_):
        if seen is not None:
            seen.extend(zip(completions, completion_ids, strict=True))
        return [float(sum(ids) % 97) for ids in completion_ids]

    given = {
        "num_generations": 3,
        "per_device_train_batch_size": 3,
        "max_completion_length": 12,
        **more,
    }
    args = GRPOConfig(**settings(output, **given))
    data = Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS * 3])
    return OwnGRPOTrainer(
        str(folder), reward_funcs=reward, args=args, train_dataset=data, peft_config=peft_config
    )


def test_trl_still_has_the_method_that_is_overridden():
    names = list(inspect.signature(GRPOTrainer._generate_single_turn).parameters)
    assert names[:5] == ["self", "prompt_ids", "images", "multimodal_fields", "num_generations"]


@pytest.mark.filterwarnings("ignore")
def test_a_group_gets_different_samples_that_end_with_their_end_token(folder, tmp_path):
    trainer = trainer_of(folder, tmp_path)
    ids, _, _ = trainer._tokenize_prompts([PROMPTS[0]] * 3 + [PROMPTS[2]] * 3)
    trainer.eos_token_ids = list(range(0, 256, 4))  # so that some end early
    completions, logps = trainer._generate_single_turn(ids, None, {}, 3)
    assert logps is None and len(completions) == 6
    assert len({tuple(c) for c in completions}) == 6
    for completion in completions:
        ends = [token in trainer.eos_token_ids for token in completion]
        assert not any(ends[:-1]) and (ends[-1] or len(completion) == 12)
    assert min(map(len, completions)) < 12


@pytest.mark.filterwarnings("ignore")
def test_rollouts_differ_by_step_and_by_call_and_repeat_for_both(folder, tmp_path):
    drawn = []
    for _ in range(2):
        trainer = trainer_of(folder, tmp_path)
        ids, _, _ = trainer._tokenize_prompts(PROMPTS)
        calls = [trainer._generate_single_turn(ids, None, {}, 1)[0] for _ in range(2)]
        trainer.state.global_step = 1
        drawn.append([*calls, trainer._generate_single_turn(ids, None, {}, 1)[0]])
    assert drawn[0] == drawn[1]
    first, second, third = drawn[0]
    assert first != second != third != first


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fp32_head", [False, True])
def test_training_takes_the_quick_step_unless_trl_changed_the_head(
    folder, tmp_path, monkeypatch, fp32_head
):
    made, of = [], QwenStep.of
    monkeypatch.setattr(QwenStep, "of", lambda model: made.append(of(model)) or made[-1])
    trainer_of(
        folder, tmp_path, gradient_checkpointing=True, cast_lm_head_to_fp32=fp32_head
    ).train()
    assert len(made) >= 2 and all((step is None) == fp32_head for step in made)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("lora", [False, True])
def test_training_on_them_goes_on_from_a_checkpoint_bit_for_bit(folder, tmp_path, lora, bf16):
    adapter = LoraConfig(r=4, target_modules=["q_proj", "v_proj"]) if lora else None
    more = {"bf16": bf16, "shuffle_dataset": False, "gradient_accumulation_steps": 1}
    seen = []
    whole = trainer_of(folder, tmp_path, adapter, seen, save_strategy="steps", save_steps=1, **more)
    whole.train()
    assert len(seen) == 2 * 3
    for completion, ids in seen:
        text = whole.processing_class.decode(ids, skip_special_tokens=True)
        assert completion[0]["content"] == text
    resumed = trainer_of(folder, tmp_path, adapter, **more)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    expected = whole.model.state_dict()
    for name, weight in resumed.model.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0, msg=name)


@pytest.mark.filterwarnings("ignore")
def test_what_the_loop_lacks_is_left_to_trl_and_said_once(folder, tmp_path, monkeypatch, caplog):
    def not_ours(*_, **__):
        raise AssertionError("our loop was asked")

    monkeypatch.setattr(module, "decode", not_ours)
    trainer = trainer_of(folder, tmp_path, repetition_penalty=1.2)
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        trainer.train()
    said = [record for record in caplog.records if "TRL's own generation" in record.message]
    assert len(said) == 1 and "repetition_penalty" in said[0].message
    assert decode_module.decode is not not_ours
