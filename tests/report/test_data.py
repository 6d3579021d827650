"""`align data show` and `align data stats`."""

import json

import pytest
from datasets import Dataset
from transformers import Qwen2Config, Qwen2ForCausalLM
from trl import SFTConfig, SFTTrainer
from typer.testing import CliRunner

import synth
import verifiers
from align.report import data_rows, data_stats
from align.report.data_view import Template
from align.report.read import ReportError
from align.stages import tables
from cli import app
from tests.model.test_trl_contract import byte_tokenizer
from tests.synth.scripted import Sampling, Scripted, last


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """A stage's folder: 4 pairs, and what was rejected beside them."""
    folder = tmp_path_factory.mktemp("run") / "pairs"
    folder.mkdir()
    rows = [
        {"id": f"i{n}", "prompt": [{"role": "user", "content": f"What is {n}?"}], "answer": f"{n}"}
        for n in range(4)
    ]
    script = Scripted(lambda m, s: "so " * 5 * (s == 0) + f"\n#### {int(last(m)[8:-1]) + s}")
    made = synth.run(
        "rejection_sampling",
        rows,
        script,
        verifier=verifiers.get("math"),
        sampling=Sampling(),
        samples=3,
        output="preference",
    )
    tables.write_table(folder / "data.parquet", made.rows)
    tables.write_table(folder / "rejected.parquet", [vars(reject) for reject in made.rejects])
    manifest = {"config": {"model": "model"}, "rows": {"dropped": made.counts.dropped}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def show(*words: object) -> str:
    done = CliRunner().invoke(app, ["data", *map(str, words)], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    return done.output


def test_rows_are_shown_with_template_and_history(stage):
    shown = show("show", stage, "--limit", 2)
    assert "no tokenizer at hand: shown as ChatML" in shown
    assert "<|im_start|>user\nWhat is 0?<|im_end|>\n<|im_start|>assistant\n" in shown
    assert (
        "chosen:" in shown and "so so so" in shown and "#### 0" in shown and "What is 1?" in shown
    )
    assert "What is 2?" not in shown
    assert "says True (equal)" in shown and "says False (not_equal)" in shown


def test_rejected_rows_are_shown_with_their_reason(stage):
    shown = show("show", stage, "--rejected", "--limit", 1)
    assert "unpaired" in shown and "verifiers.math" in shown


@pytest.mark.parametrize(
    ("where", "number"),
    [
        ("answer=2", 1),
        ("answer!=2", 3),
        ("answer>1", 2),
        ("answer<=1", 2),
        ("prompt.content~is 3", 1),
        ("provenance.chosen.sample=0", 4),
        ("provenance.rejected.sample=0", 0),
        ("provenance.chosen.verdict.correct=true", 4),
        ("nothing=1", 0),
    ],
)
def test_conditions_choose_rows(stage, where, number):
    rows = data_rows.open_data(stage).rows()
    assert len(list(data_rows.chosen(rows, [where]))) == number


def test_a_condition_that_is_none_and_a_folder_without_rows_are_named(stage, tmp_path):
    with pytest.raises(ReportError, match="--where answer: write it as COLUMN=VALUE"):
        data_rows.condition("answer")
    with pytest.raises(ReportError, match="there are no rows here; give a stage's folder"):
        data_rows.open_data(tmp_path)
    with pytest.raises(ReportError, match="there are no rejected rows here"):
        data_rows.open_data(tmp_path, rejected=True)
    done = CliRunner().invoke(app, ["data", "show", str(tmp_path)])
    assert done.exit_code == 2 and "Traceback" not in done.output


def test_stats_count_what_there_is(stage):
    found = data_stats.stats(data_rows.open_data(stage))
    assert found.num_rows == found.num_distinct_prompts == 4
    assert found.lengths["chosen"] == [20 + 2] * 4 and found.num_chosen_longer == 4
    assert found.dropped == {"unpaired": 4}
    shown = show("stats", stage)
    assert "4 rows, 4 distinct prompts" in shown and "4  unpaired" in shown
    assert "chosen is the longer one in 100%" in shown
    assert "4  unpaired" in show("stats", stage, "--rejected")


def test_the_coloured_part_is_what_trl_puts_the_loss_on(tmp_path):
    """A contract with TRL: its labels begin where our colour does."""
    tokenizer = byte_tokenizer()
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]
    completion = [{"role": "assistant", "content": "4, I think"}]
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 32}
    trainer = SFTTrainer(
        Qwen2ForCausalLM(Qwen2Config(**sizes, **heads)),
        SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none"),
        train_dataset=Dataset.from_list([{"prompt": prompt, "completion": completion}]),
        processing_class=tokenizer,
    )
    (row,) = trainer.train_dataset
    masked = [label for label in row["labels"] if label != -100]
    given, trained = Template(tokenizer).split(prompt, completion)
    assert tokenizer.decode(masked) == trained
    assert given + trained == tokenizer.decode(row["input_ids"])
    assert trained.startswith("4, I think") and given.endswith("assistant\n")


def test_a_template_that_rewrites_the_prompt_is_an_error():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    with pytest.raises(ReportError, match="no telling where the loss begins"):
        Template(tokenizer).split(
            [{"role": "user", "content": "a"}], [{"role": "assistant", "content": "b"}]
        )
