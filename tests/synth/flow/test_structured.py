import pytest

from synth.flow import structured
from synth.flow.item import Answer

SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer", "minimum": 1, "maximum": 5}},
    "required": ["score"],
    "additionalProperties": {"type": "string"},
}


def read(text: str):
    return structured.reader(SCHEMA)(Answer(text, "stop", 1, {}))


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 3}',
        '<think>{"score": 4}?</think>\n{"score": 3}',
        ' {"score": 3}\n',
        '```json\n{"score": 3}\n```',
        '```\n{"score":\n3}\n```\n',
    ],
)
def test_json_alone_or_in_one_fence_is_read(text):
    assert read(text) == {"score": 3}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("the score is 3", "not JSON"),
        ('{"score": 3', "not JSON"),
        ('Sure! {"score": 3}', "not JSON"),
        ('{"score": 3} {"score": 4}', "not JSON"),
        ('{"score": 3, "score": 4}', "stands twice"),
        ('{"score": NaN}', "NaN"),
        ('{"score": 6}', r"at \$\.score"),
        ('{"score": "3"}', r"at \$\.score"),
        ('{"Score": 3}', "breaks the schema"),
        ("[" * 100_000, "levels"),
        ('{"score": 3, "said": "\\ud83d"}', "half of a character"),
    ],
)
def test_anything_else_says_what_is_wrong(text, problem):
    with pytest.raises(ValueError, match=problem):
        read(text)


def test_the_schema_is_stated_in_the_last_message_alone():
    asked = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    stated = structured.asked_for(asked, SCHEMA)
    assert stated[0] == asked[0] and '"minimum": 1' in stated[1]["content"]
    assert asked[1]["content"] == "u"
