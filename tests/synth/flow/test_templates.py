from pathlib import Path

import pytest

import synth
from synth.flow.templates import PROMPTS, Prompts
from synth.synthesis import SynthesisError

GOOD = "version: 2\n[system]\nBe brief.\n[user]\nTranslate $text for $$5:\n\n$text\n"


def prompts(tmp_path: Path, text: str) -> Prompts:
    (tmp_path / "ask.en.txt").write_text(text)
    return Prompts("any", "en", tmp_path)


def test_a_file_becomes_a_conversation(tmp_path):
    prompt = prompts(tmp_path, GOOD).get("ask")
    assert prompt.version == 2 and prompt.name == "any/ask.en"
    assert prompt.fill({"text": "a $b ${c}", "more": 1}) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Translate a $b ${c} for $5:\n\na $b ${c}"},
    ]


def test_an_edited_file_is_read_again(tmp_path):
    assert prompts(tmp_path, GOOD).get("ask").version == 2
    assert prompts(tmp_path, GOOD.replace("version: 2", "version: 33")).get("ask").version == 33


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[user]\nx", r"ask\.en\.txt:1: a prompt file starts with a line as 'version: 1'"),
        ("version: 1\nx\n[user]\ny", r"ask\.en\.txt:2: after the version comes"),
        ("version: 1\n[user]\ncosts 5$ now", r"\[user\] has a \$ without a name"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, problem):
    with pytest.raises(SynthesisError, match=problem):
        prompts(tmp_path, text).get("ask")


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(SynthesisError, match=r"no column 'text' to fill \$text with; there are id"):
        prompts(tmp_path, GOOD).get("ask").fill({"id": 1})


def test_an_unknown_language_names_those_there_are():
    with pytest.raises(SynthesisError, match="no prompt 'evolve_x' in language 'fr'"):
        Prompts("evolve", "fr").get("evolve_x")


def test_every_prompt_file_of_ours_can_be_read_and_has_the_same_blanks_in_every_language():
    files = sorted(PROMPTS.rglob("*.txt"))
    blanks: dict[str, dict[str, set[str]]] = {}
    for file in files:
        name, language, _ = file.name.split(".")
        prompt = Prompts(file.parent.name, language).get(name)
        found = {i for _, template in prompt.messages for i in template.get_identifiers()}
        blanks.setdefault(f"{file.parent.name}/{name}", {})[language] = found
        assert file.parent.name in synth.NAMES
    for name, by_language in blanks.items():
        assert len({frozenset(found) for found in by_language.values()}) == 1, (name, by_language)
