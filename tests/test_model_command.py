"""`align model` as a person meets it."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM
from typer.testing import CliRunner

import cli
from align.model import load, preset
from tests.model.test_trl_contract import byte_tokenizer


def call(*words) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["model", *map(str, words)], env={"COLUMNS": "200"})
    return done.exit_code, done.output


@pytest.fixture(params=["tiny", "tiny-moe"])
def folder(request, tmp_path):
    torch.manual_seed(0)
    config = preset(request.param, vocab_size=len(byte_tokenizer()), num_hidden_layers=2)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "ours")
    byte_tokenizer().save_pretrained(tmp_path / "ours")
    return tmp_path / "ours"


def test_show_says_what_a_preset_has_and_costs():
    code, said = call("show", "qwen2.5-7b", "--batch", 2, "--length", 1024)
    assert code == 0
    for expected in ("7,615,616,512", "57,344 bytes", "biases on Q, K, V", "training on 2 x 1,024"):
        assert expected in said


def test_show_writes_json_for_programs():
    code, said = call("show", "qwen3-30b-a3b", "--json")
    assert code == 0
    found = json.loads(said)
    assert found["parameters"]["total"] == 30_532_122_624
    assert found["kv_bytes"] == 98_304


def test_show_reads_folders_of_either_format(folder, tmp_path):
    assert call("show", folder)[0] == 0
    Qwen2ForCausalLM(
        Qwen2Config(hidden_size=64, intermediate_size=64, num_hidden_layers=1, vocab_size=50,
                    num_attention_heads=2, num_key_value_heads=1)
    ).save_pretrained(tmp_path / "stock")  # fmt: skip
    code, said = call("show", tmp_path / "stock")
    assert code == 0 and "biases on Q, K, V" in said


def test_a_name_that_is_no_model_gets_a_suggestion_and_no_traceback():
    code, said = call("show", "qwen2.5-7")
    assert code == 2 and "did you mean 'qwen2.5-7b'" in said and "Traceback" not in said


def test_convert_there_and_back_is_bit_for_bit_and_takes_the_tokenizer(folder, tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    code, said = call("convert", folder, there)
    assert code == 0 and str(there) in said
    assert AutoConfig.from_pretrained(there).model_type.startswith("qwen2")
    assert (there / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    assert call("convert", there, back)[0] == 0
    expected = load(folder).state_dict()
    got = load(back).state_dict()
    assert got.keys() == expected.keys()
    assert all(got[name].equal(expected[name]) for name in got)


def test_convert_never_writes_over_what_is_there(folder, tmp_path):
    code, said = call("convert", folder, folder)
    assert code == 2 and "not an empty folder" in said
    code, said = call("convert", tmp_path / "nowhere", tmp_path / "new")
    assert code == 2 and "neither a folder with a config.json" in said
    assert not (tmp_path / "new").exists()


def test_a_truncated_file_is_a_users_error(folder, tmp_path):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    code, said = call("convert", folder, tmp_path / "new")
    assert code == 2 and "truncated" in said and "Traceback" not in said
