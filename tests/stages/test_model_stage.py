"""A model folder of the user's becomes an artifact: linked weights, one template, no pickles."""

from types import SimpleNamespace

import pytest

from align.model import QwenForCausalLM, preset
from align.pretrain.tokenizer import train_tokenizer
from align.recipe.schema import Model
from align.stages import model
from align.stages.job import StageError


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "mine"
    tokenizer = train_tokenizer(["a small corpus of words"] * 3, 280)
    tokenizer.save_pretrained(path)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    QwenForCausalLM(preset("tiny", vocab_size=len(tokenizer), **small)).save_pretrained(path)
    return path


def job(tmp_path, **config):
    output = tmp_path / "artifact"
    output.mkdir(exist_ok=True)
    stage = Model(kind="model", path="mine", **config)
    return SimpleNamespace(name="base", config=stage, root=tmp_path, output=output)


def test_weights_are_linked_and_facts_recorded(folder, tmp_path):
    outcome = model.run(job(tmp_path))
    weights = tmp_path / "artifact" / "model.safetensors"
    assert weights.samefile(folder / "model.safetensors")
    assert outcome.facts["end_of_turn"] == "<|im_end|>"
    assert len(outcome.facts["weights_sha256"]) == 64


def test_a_chat_template_of_the_users_own_replaces_the_models(folder, tmp_path):
    (tmp_path / "own.jinja").write_text("{{ messages[0]['content'] }}")
    before = model.run(job(tmp_path)).facts["chat_template_sha256"]
    after = model.run(job(tmp_path, chat_template="own.jinja")).facts["chat_template_sha256"]
    assert before != after
    assert (folder / "chat_template.jinja").read_text() != "{{ messages[0]['content'] }}"


def test_a_model_without_template_or_with_pickled_weights_is_refused(folder, tmp_path):
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(StageError, match="name a Jinja file as `chat_template`"):
        model.run(job(tmp_path))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(StageError, match="pickled weights are not loaded"):
        model.run(job(tmp_path))
