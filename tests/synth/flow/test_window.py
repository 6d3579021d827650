import json
from collections import deque
from types import SimpleNamespace

import pytest

import verifiers
from synth.flow.asking import Asking
from synth.flow.progress import Steps
from synth.flow.settings import Settings
from synth.flow.store import Store
from synth.flow.window import Window
from synth.rows.messages import user
from synth.synthesis import SynthesisError
from tests.synth.scripted import Completion, Failure, Sampling, Scripted, last
from verifiers import Verdict

METHOD = SimpleNamespace(METHOD="any", VERSION=7)
SCORE = {"type": "object", "required": ["score"], "properties": {"score": {"type": "integer"}}}


def window(script, rows=("a", "b"), *, store=None, engine=None, **settings):
    chosen = Settings(sampling=Sampling(), **settings)
    asking = Asking(Store() if store is None else store, chosen, Steps())
    found = [{"id": name, "text": name} for name in rows]
    return Window(METHOD, found, engine or Scripted(script), chosen, asking)


def question(item):
    return user(item.columns["text"])


def reasons(w: Window) -> list[tuple[str, str]]:
    return [(reject.source, reject.reason) for reject in w.rejects]


def test_answers_come_as_children_and_the_bad_ones_are_rejected_by_name():
    said = {0: "fine", 1: Completion("cut", "length"), 2: Failure("http_500", "sorry")}
    w = window(lambda messages, sample: said[sample])
    groups = w.generate("ask", w.items, question, n=3)
    assert [[child.text for child in group] for group in groups] == [["fine"], ["fine"]]
    assert groups[0][0].columns is w.items[0].columns and groups[0][0].source.id == "a"
    assert reasons(w) == [
        (source, f"ask:{why}") for source in "ab" for why in ("truncated", "failed:http_500")
    ]


def test_an_answer_that_cannot_be_read_is_asked_again_with_what_was_wrong():
    def script(messages, sample):
        if len(messages) == 1:
            return "score: 3"
        assert messages[1]["content"] == "score: 3" and "not JSON" in last(messages)
        return '{"score": 3}' if messages[0]["content"].startswith("a") else "still not"

    w = window(script)
    first, second = w.generate("ask", w.items, question, schema=SCORE)
    assert [child.value for child in first] == [{"score": 3}] and second == []
    assert first[0].records[0]["asked_again"] is True
    assert reasons(w) == [("b", "ask:unparsed")]
    assert w.engine.num_asked == 4
    none = window(script, reasks=0)
    assert none.generate("ask", none.items, question, schema=SCORE) == [[], []]
    assert none.engine.num_asked == 2


def test_a_schema_goes_to_engines_that_follow_it_and_into_the_prompt_of_others():
    seen = []

    def script(messages, sample):
        seen.append(last(messages))
        return '{"score": 1}'

    for follows in (True, False):
        w = window(script, ["a"], engine=Scripted(script, follows_schemas=follows))
        w.generate("ask", w.items, question, schema=SCORE)
    assert seen[0] == "a" and seen[1].startswith("a\n\nAnswer with JSON alone")


def test_judged_items_stay_and_undecided_ones_are_no_bad_ones():
    def script(messages, sample):
        if last(messages).startswith("a"):
            return '{"score": 4}' if sample else Failure("timeout")
        return Failure("timeout", "no answer in 600 s")

    w = window(script)
    judged = w.judge("judge", w.items, question, schema=SCORE, parse=lambda v: v["score"], n=2)
    assert judged == [(w.items[0], [4])]
    assert [record.get("undecided") for record in w.items[0].records] == ["failed:timeout", None]
    assert reasons(w) == [("b", "judge:undecided")]
    assert "no answer in 600 s" in w.rejects[0].detail
    kept = window(script)
    assert kept.judge("judge", kept.items, question, required=False)[1] == (kept.items[1], [])
    assert kept.rejects == []


def test_verdicts_are_kept_and_undecided_ones_told_apart():
    calls = deque()  # a list's content would be taken for a constant of the verifier

    def verifier(completion, reference, **columns):
        calls.append(completion)
        correct = {"a": True, "b": False}.get(completion)
        return Verdict(correct, float(bool(correct)), "verifier_error" if correct is None else "ok")

    store = Store()
    for _ in range(2):
        w = window(None, "abc", store=store)
        for item in w.items:
            item.columns = {**item.columns, "answer": "x"}
        decided = w.verify("check", w.items, verifier, completion=lambda i: i.columns["text"])
        assert [verdict.correct for _, verdict in decided] == [True, False]
        assert reasons(w) == [("c", "check:undecided:verifier_error")]
    assert list(calls) == ["a", "b", "c", "c"]  # what could not be told is tried again


def test_code_verifiers_note_how_well_they_were_isolated():
    sandbox = pytest.importorskip("verifiers.sandbox")
    try:
        level = sandbox.Sandbox(workers=1).isolation.level
    except sandbox.SandboxUnavailable:
        pytest.skip("nothing isolates here")
    w = window(None, ["def evaluate(response):\n    return response == 'yes'"])
    row = {"answer": w.items[0].columns["text"]}
    ((item, verdict),) = w.verify(
        "run", w.items, verifiers.get("function"), completion=lambda i: "yes", row=lambda i: row
    )
    assert verdict.correct and item.records[-1]["isolation"] == level


def test_rows_say_where_they_come_from():
    w = window(lambda messages, sample: f"{last(messages)}{sample}", seed=5)
    (better, worse), (other, _) = w.generate("ask", w.items, question, n=2)
    w.keep({"prompt": 1}, chosen=better, rejected=worse)
    w.keep({"prompt": 2}, other)
    w.finish()
    pair, single = (json.loads(row["provenance"]) for row in w.rows)
    assert [row["id"] for row in w.rows] == ["a", "b"]
    assert pair["method"] == "any" and pair["method_version"] == 7 and pair["parents"] == ["a"]
    (record,) = pair["chosen"]
    assert record | {"key": 0, "seed": 0} == {
        "step": "ask",
        "model": "scripted:1",
        "sampling": {"temperature": 1.0, "max_tokens": 16},
        "seed": 0,
        "key": 0,
        "sample": 0,
    }
    assert pair["rejected"][0]["sample"] == 1
    assert [record["sample"] for record in single["steps"]] == [0]


def test_rows_of_the_same_parents_have_different_ids_whatever_else_is_in_the_window():
    def ids(rows):
        w = window(lambda messages, sample: "x", rows)
        for group in w.generate("ask", w.items, question):
            for child in group:
                w.keep({}, child)
                w.keep({}, child)
        return {
            row["id"] + str(n % 2): json.loads(row["provenance"])["row"]
            for n, row in enumerate(w.rows)
        }

    both = ids("ab")
    assert len(set(both.values())) == 4
    assert ids("b").items() <= both.items()


def test_nothing_is_lost_in_silence():
    w = window(lambda messages, sample: "x", "abc")
    groups = w.generate("ask", w.items, question, n=2)
    w.keep({}, groups[0][0])
    w.reject(groups[1][0], "looks:bad", "why")
    w.expand("split", w.items[2], [{"part": 1}, {"part": 2}])
    w.finish()
    assert w.num_items == 3 + 6 + 2 == w.num_used + len(w.rejects)
    assert w.num_used == 2  # the row's item and its source
    counted = [reason for _, reason in reasons(w)]
    assert counted.count("looks:bad") == 1 and counted.count("nothing_left") == 2
    assert counted.count("unused") == 6


def test_the_policy_on_failures_is_to_go_on_or_to_stop():
    with pytest.raises(SynthesisError, match=r"ask: a request failed \(http_500: sorry\)"):
        w = window(lambda messages, sample: Failure("http_500", "sorry"), on_failure="stop")
        w.generate("ask", w.items, question)
    many = [f"r{n}" for n in range(2000)]
    with pytest.raises(SynthesisError, match=r"ask: \d+ of 2000 requests failed, the last"):
        w = window(lambda m, s: Failure("http_500") if int(last(m)[1:]) % 3 else "x", many)
        w.generate("ask", w.items, question)
    w = window(lambda m, s: "x" if int(last(m)[1:]) % 20 else Failure("http_500"), many)
    assert sum(map(len, w.generate("ask", w.items, question))) == 1900


def test_half_a_surrogate_pair_can_be_stored_and_written():
    w = window(lambda messages, sample: "a\ud83d", ["a"])
    ((child,),) = w.generate("ask", w.items, question)
    w.keep({"completion": child.text}, child)
    assert child.text.encode() == b"a?"


def test_how_a_source_row_was_made_is_carried_along():
    w = window(lambda messages, sample: "x", ["a"])
    w.items[0].columns["provenance"] = '{"row":"before","method":"other"}'
    ((child,),) = w.generate("ask", w.items, question)
    w.keep({}, child)
    provenance = json.loads(w.rows[0]["provenance"])
    assert provenance["before"] == [{"row": "before", "method": "other"}]
    assert provenance["parents"] == ["a"] and provenance["method"] == "any"


def test_a_first_token_is_enough_where_its_odds_are_asked_for():
    said = Completion("A", "length", first_logps={"A": -0.1, "B": -2.4})
    w = window(lambda messages, sample: said, ["a"])
    read = w.judge("ask", w.items, question, parse=lambda a: a.first_logps["A"], top_logprobs=2)
    assert read == [(w.items[0], [-0.1])]
