import json
import time

import pytest

from verifiers import VerifierError, format

THINK = {"kind": "think"}
TAGS = {"kind": "think", "answer_tag": "answer"}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z]"},
        "age": {"type": "integer", "minimum": 0},
        "born": {"type": "string", "format": "date"},
        "tags": {"type": "array", "uniqueItems": True},
        "child": {"$ref": "#"},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
JSON = {"kind": "json", "schema": PERSON}


@pytest.mark.parametrize(
    ("completion", "spec", "reason"),
    [
        ("<think>2+2</think>4", THINK, "well_formed"),
        ("\n<think>\n2+2\n</think>\n\n4\n", THINK, "well_formed"),
        ("<think>2+2</think>4", TAGS, "missing_answer"),
        ("<think>2+2</think>\n<answer>4</answer>\n", TAGS, "well_formed"),
        ("4", THINK, "missing_think"),
        ("", THINK, "missing_think"),
        ("<think>2+2", THINK, "unclosed_think"),
        ("2+2</think>4", THINK, "unopened_think"),
        ("</think>4<think>", THINK, "unopened_think"),
        ("<think>a<think>b</think>c</think>4", THINK, "nested_think"),
        ("<think>a<think>b</think>4", THINK, "nested_think"),
        ("<think>a</think>b<think>c</think>4", THINK, "duplicate_think"),
        ("<think>a</think></think>4", THINK, "duplicate_think"),
        ("<think>a</think>4<think>", THINK, "duplicate_think"),
        ("Well. <think>a</think>4", THINK, "text_before_think"),
        ("<think> \n </think>4", THINK, "empty_think"),
        ("<think></think>4", THINK | {"allow_empty_think": True}, "well_formed"),
        ("<think>a</think>\n", THINK, "empty_answer"),
        ("<think>a</think><answer> </answer>", TAGS, "empty_answer"),
        ("<think>a</think><answer>4", TAGS, "unclosed_answer"),
        ("<think>a</think>4</answer>", TAGS, "unopened_answer"),
        ("<think>a</think><answer>4</answer><answer>5</answer>", TAGS, "duplicate_answer"),
        ("<think>a</think><answer><answer>4</answer></answer>", TAGS, "nested_answer"),
        ("<think><answer>4</answer></think>", TAGS, "nested_answer"),
        ("<think>a</think>so <answer>4</answer>", TAGS, "text_between_tags"),
        ("<think>a</think><answer>4</answer> so", TAGS, "text_after_answer"),
        ("<answer>4</answer><think>a</think>", TAGS, "text_before_think"),
        ("<THINK>a</THINK>4", THINK, "missing_think"),
        ("Write <think>...</think> and then the answer.", THINK, "text_before_think"),
        ("<think>" + "a" * format.THINK_CHARS + "</think>4", THINK, "too_long"),
    ],
)
def test_tags_stand_once_in_order_and_hold_something(
    completion: str, spec: dict, reason: str
) -> None:
    verdict = format.verify(completion, spec)
    assert (verdict.correct, verdict.reason) == (reason == "well_formed", reason)
    assert verdict.score == float(reason == "well_formed")


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ('{"name": "Ann", "age": 3}', "well_formed"),
        (' {"name": "Ann", "age": 3, "born": "2020-02-29", "tags": [1, "1"]}\n', "well_formed"),
        ('{"name": "Ann", "age": 3, "child": {"name": "Bo", "age": 0}}', "well_formed"),
        ('{"name": "Ann", "age": 3, "child": {"name": "bo", "age": 0}}', "violates_schema"),
        ('{"name": "Ann", "age": -3}', "violates_schema"),
        ('{"name": "Ann"}', "violates_schema"),
        ('{"name": "Ann", "age": true}', "violates_schema"),
        ('{"name": "Ann", "age": 3, "more": 1}', "violates_schema"),
        ('{"name": "Ann", "age": 3, "born": "2021-02-29"}', "violates_schema"),
        ('{"name": "Ann", "age": 3, "tags": [1, 1.0]}', "violates_schema"),
        ("[]", "violates_schema"),
        ('{"name": "Ann", "age": 3, "age": 4}', "duplicate_key"),
        ('{"name": "Ann", "age": NaN}', "not_json"),
        ('{"name": "Ann", "age": -Infinity}', "not_json"),
        ('{"name": "Ann", "age": 1e999}', "not_json"),
        ('{"name": "Ann", "age": ' + "9" * 5000 + "}", "not_json"),
        ("{'name': 'Ann', 'age': 3}", "not_json"),
        ('{"name": "Ann", "age": 3,}', "not_json"),
        ('{"name": "Ann", "age": 3} so', "not_json"),
        ('```json\n{"name": "Ann", "age": 3}\n```', "not_json"),
        ("", "not_json"),
        ("\x00", "not_json"),
        ("\ud800", "not_json"),
        ("Answer with JSON that has a name and an age.", "not_json"),
        ("[" * 9000 + "]" * 9000, "too_deep"),
        ('{"child":' * 1900 + "1" + "}" * 1900, "too_deep"),
        ("[" * 20_001, "too_long"),
    ],
)
def test_json_is_read_strictly_and_validated(completion: str, reason: str) -> None:
    verdict = format.verify(completion, JSON)
    assert (verdict.correct, verdict.reason) == (reason == "well_formed", reason)


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ('So:\n```json\n{"name": "Ann", "age": 3}\n```\nDone.', "well_formed"),
        ('```JSON\n{"name": "Ann",\n "age": 3}\n```', "well_formed"),
        ('```python\nx\n```\n```json\n{"name": "Ann", "age": 3}\n```', "well_formed"),
        ('{"name": "Ann", "age": 3}', "missing_fence"),
        ('```\n{"name": "Ann", "age": 3}\n```', "missing_fence"),
        ('```json\n{"name": "Ann", "age": 3}', "missing_fence"),
        ("```json\n1\n```\n```json\n1\n```", "several_fences"),
        ("```json\nAnn\n```", "not_json"),
    ],
)
def test_fenced_json_is_the_one_json_block(completion: str, reason: str) -> None:
    verdict = format.verify(completion, JSON | {"fenced": True})
    assert (verdict.correct, verdict.reason) == (reason == "well_formed", reason)


def test_the_format_column_goes_before_the_reference() -> None:
    assert format.verify("<think>a</think>4", "4", format=json.dumps(THINK)).correct
    assert format.verify("4", "4", format=THINK).correct is False
    assert format.verify("4", None, format={"kind": "json", "fenced": None}).correct


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (None, "kind is one of think, json"),
        ("4", "kind is one of think, json"),
        ("not json", "is no JSON"),
        ({"kind": "xml"}, "kind is one of think, json"),
        ({"kind": "think", "answer": "a"}, "no key 'answer'; did you mean 'answer_tag'"),
        ({"kind": "think", "answer_tag": "a b"}, "answer_tag is 'a b'"),
        ({"kind": "json", "schema": {"type": "strin"}}, "schema is not valid"),
        ({"kind": "json", "schema": {"pattern": "("}}, "schema is not valid"),
        (
            {"kind": "json", "schema": {"$schema": "http://json-schema.org/draft-07/schema#"}},
            "draft",
        ),
        ({"kind": "json", "schema": {"$ref": "https://example.com/a.json"}}, "nothing is fetched"),
        ({"kind": "json", "schema": {"$ref": "file:///etc/passwd"}}, "nothing is fetched"),
        ({"kind": "json", "schema": {"$ref": "#/$defs/a"}}, "nothing is fetched"),
        ({"kind": "json", "schema": {"format": "dat"}}, "format 'dat' .* did you mean 'date'"),
    ],
)
def test_a_spec_that_no_completion_could_meet_is_an_error(spec: object, message: str) -> None:
    with pytest.raises(VerifierError, match=message):
        format.verify('"4"', spec)


@pytest.mark.parametrize("spec", [THINK, TAGS, JSON, JSON | {"fenced": True}])
@pytest.mark.parametrize(
    "hostile",
    ["<think>" * 300_000, "</think>" * 300_000, "<think>" * 70_000 + "</think>" * 70_000,
     "x" * 100_000_000, "```json\n" * 2000, "[" * 19_000, '"' * 19_999, '"\\"' + '\\"' * 9000,
     '{"a":' * 3900, '{"name": "' + "A" * 19_000 + '"}', "[" + "1," * 9000 + "1]", "\x00" * 19_000],
    ids=lambda value: f"{value[:8]!r}*{len(value)}" if isinstance(value, str) else None,
)  # fmt: skip
def test_hostile_text_is_not_well_formed_and_costs_little(hostile: str, spec: dict) -> None:
    format.verify("", JSON)  # imports
    started = time.perf_counter()
    assert format.verify(hostile, spec).correct is False
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": r"\s+$"}, " " * 19_000 + "x"),
        ({"pattern": "^.*a.*$"}, "b" * 19_900),
        ({"items": {"format": "email"}}, ["@" * 19_000, 1, "b"]),
        ({"uniqueItems": True}, [[n, str(n)] if n % 2 else n for n in range(1200)] + [0]),
        ({"enum": list(range(1000))}, list(range(4000))),
    ],
)
def test_innocent_schemas_stay_cheap_on_hostile_json(schema: dict, value: object) -> None:
    format.verify("", JSON)  # imports
    started = time.perf_counter()
    assert format.verify(json.dumps(value), {"kind": "json", "schema": schema}).correct is False
    assert time.perf_counter() - started < 5.0
