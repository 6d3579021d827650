import json
from collections.abc import Callable
from itertools import permutations, product

import pytest

import synth
import verifiers
from synth.flow.stream import Stream
from synth.instruction_verification import checking, judging, running
from synth.instruction_verification.inside import truth
from synth.instruction_verification.instruction import Case, Function
from synth.instruction_verification.running import Seen, combined
from synth.instruction_verification.thresholds import PRESETS, meets
from synth.instruction_verification.writing import source_of
from tests.synth.scripted import Completion, Failure, Sampling, Scripted, last
from tests.verifiers.conftest import shared_sandbox  # noqa: F401
from verifiers import code, functions
from verifiers.sandbox import Call

pytestmark = pytest.mark.usefixtures("shared_sandbox")

LOWER = "Answer in small letters only."
QUERIES = ["What is rain?", "Who reads?", "Why is it so?"]

RIGHT = [
    "def evaluate(response):\n    return response == response.lower()",
    "def evaluate(response):\n    return not any(c.isupper() for c in response)",
    "import re\n\ndef evaluate(response):\n    return re.search('[A-Z]', response) is None",
]
ALWAYS = "def evaluate(response):\n    return True"
CRASHES = "def evaluate(response):\n    return response.text.islower()"
LOOPS = "def evaluate(response):\n    while True: pass"
DOWNLOADS = (
    "from urllib.request import urlopen\n\ndef evaluate(response):\n"
    "    words = urlopen('http://example.com/words').read()\n    return response in words"
)


def written(function: str, *cases: tuple[str, object]) -> str:
    found = [{"response": text, "why": "so it is", "follows": label} for text, label in cases]
    return json.dumps({"cases": found, "function": function})


def pairs_of(number: int) -> list[tuple[str, bool]]:
    return [(f"rain {number}", True), (f"Rain {number}", False)]


STEPS = {
    "You invent": "augment",
    "You check by program": "write",
    "You read Python": "back",
    "You compare two": "relate",
    "You judge whether": "quality",
    "Answer the query": "respond",
}


def model(**answers: object) -> Scripted:
    """Of each step a list, one answer a sample, or a function of what is asked and the sample."""
    given = {
        "back": lambda asked, sample: "Use small letters only.",
        "relate": lambda asked, sample: '{"reason": "The same.", "relation": "entailment"}',
        "quality": lambda asked, sample: '{"analysis": "Good.", "score": 9}',
        "respond": lambda asked, sample: f"it is wet {sample}",
        **answers,
    }

    def script(messages, sample):
        starts = tuple(message["content"][:20] for message in messages)
        step = next(name for words, name in STEPS.items() if words in " ".join(starts))
        answer = given[step]
        return answer(last(messages), sample) if callable(answer) else answer[sample]

    return Scripted(script)


@pytest.fixture
def run(tmp_path) -> Callable[..., synth.Synthesis]:
    queries = tmp_path / "queries.txt"
    queries.write_text("\n".join(QUERIES))

    def run(engine, rows=({"id": "lower", "text": LOWER},), **settings):
        chosen = {
            "sampling": Sampling(),
            "seeds": queries,
            "reasks": 0,
            "max_failed": 1.0,
            "cpu_s": 0.2,
            **settings,
        }
        made = synth.run("instruction_verification", list(rows), engine, **chosen)
        counts = made.counts
        of_items = [r for r in made.rejects if not r.reason.startswith("select:")]
        assert counts.items == counts.used + len(of_items)
        assert sum(counts.dropped.values()) == len(made.rejects)
        return made

    return run


def planted() -> list[str]:
    """Five functions (three right, one that always agrees, one that crashes) and ten cases, two of
    them mislabelled."""
    wrong = [("Rain 3", True), ("rain 3", False)]
    functions = [*RIGHT, ALWAYS, CRASHES]
    cases = [pairs_of(0), pairs_of(1), pairs_of(2), wrong, pairs_of(4)]
    return [written(f, *some) for f, some in zip(functions, cases, strict=True)]


@pytest.mark.parametrize("guards", [True, False])
@pytest.mark.parametrize("thresholds", ["paper", "released"])
def test_of_a_planted_set_the_right_functions_and_cases_are_left(run, thresholds, guards):
    made = run(
        model(write=planted()),
        verifier_samples=5,
        samples=1,
        thresholds=thresholds,
        guards=guards,
        min_query_chars=1,
    )
    assert {row["answer"] for row in made.rows} == {combined(RIGHT)}
    # The released code's "any function agrees" lets the function that always agrees keep one of the
    # two mislabelled cases; with the guards it has no say.
    lets_through = thresholds == "released" and not guards
    assert made.counts.dropped == {
        "case:disagrees": 1 if lets_through else 2,
        "function:constant" if guards else "function:inaccurate": 1,
        "function:runtime_error": 1,
        **({} if lets_through else {"nothing_left": 1}),  # the answer with nothing right in it
    }
    assert made.metrics["functions_kept"] == 3 / 5
    assert made.metrics["cases_kept"] == (9 if lets_through else 8) / 10


BAD_ANSWERS = [  # to `write`, with what becomes of the answer, or of its function and its cases
    ("Here is a function that does it.", ["write:unparsed"]),
    (written(RIGHT[0], ("\ud83d", True)), ["write:unparsed"]),  # can be stored nowhere
    ('{"function": "def evaluate(response): ..."}', ["write:unparsed"]),
    (Completion(written(RIGHT[0], *pairs_of(0)), "length"), ["write:truncated"]),
    (Failure("http_500"), ["write:failed:http_500"]),
    (written(RIGHT[0] + "  \n", ("rain 0", "True")), ["function:duplicate", "case:duplicate"]),
    (
        written("def check(response): return True", ("a", "maybe")),
        ["function:undefined", "case:unreadable"],
    ),
    (
        written("def evaluate(response:", ("Rain 0", "False")),
        ["function:compile_error", "case:duplicate"],
    ),
    (written(LOOPS, ("rain 9", False)), ["function:out_of_time", "case:disagrees"]),
    (written(DOWNLOADS, ("Rain 9", True)), ["function:runtime_error", "case:disagrees"]),
    (
        written(ALWAYS, ("", True), ("", False)),
        ["function:constant", "case:disagrees"],
    ),
    (
        written(
            "def evaluate(response):\n    return len(response)", ("RAIN", "true"), ("rAIN", True)
        ),
        ["function:not_bool", "case:disagrees", "case:disagrees"],
    ),
    (
        written(
            "def evaluate(response):\n    return '1' in response", ("it", False), ("he", False)
        ),
        ["function:inaccurate", "case:disagrees", "case:disagrees"],
    ),
]
GOOD_ANSWERS = [
    written(RIGHT[0], *pairs_of(0), ("it is", "True")),
    written(f"```python\n{RIGHT[1]}\n```", *pairs_of(1)),
    written(RIGHT[2].replace("is None", "is None and 'true' or 'FALSE'"), *pairs_of(2)),
]
RESPONSES = ["it falls.", "It falls.", "it  falls.\n", "rain!", "", Completion("it", "length")]


def scored(asked: str, sample: int) -> object:
    if "rain!" in asked:
        return '{"analysis": "It says too little.", "score": 7}'
    return '{"analysis": "It says what happens.", "score": 8}'


def test_the_good_rows_come_out_and_each_bad_thing_goes_under_its_reason(run):
    answers = [*GOOD_ANSWERS, *(answer for answer, _ in BAD_ANSWERS)]
    made = run(
        model(write=answers, respond=RESPONSES, quality=scored),
        verifier_samples=len(answers),
        samples=len(RESPONSES),
    )
    assert {row["query"] for row in made.rows} == set(QUERIES) and len(made.rows) == 3
    for row in made.rows:
        assert row["prompt"] == [{"role": "user", "content": f"{row['query']}\n\n{LOWER}"}]
        assert row["completion"] == [{"role": "assistant", "content": "it falls."}]
        assert (row["instruction"], row["pass_rate"], row["quality"]) == (LOWER, 1.0, 8.0)
        assert "text" not in row
    expected = [reason for _, reasons in BAD_ANSWERS for reason in reasons]
    expected += 7 * ["nothing_left"]  # answers of which neither function nor cases are used
    expected += 3 * [
        "follow:not_followed",
        "quality:low",
        "respond:duplicate",
        "respond:truncated",
        "respond:unparsed",
    ]
    assert made.counts.dropped == {
        reason: expected.count(reason) for reason in sorted(set(expected))
    }
    assert made.metrics["followed"] == 2 / 3


def test_a_response_that_passes_is_set_against_one_that_fails(run):
    made = run(
        model(write=planted(), respond=["it falls.", "Rain!", "a b", "It is"], quality=scored),
        verifier_samples=5,
        samples=4,
        output="preference",
        pairs_per_prompt=4,
    )
    assert len(made.rows) == 12
    for row in made.rows:
        assert row["chosen"][0]["content"] in ("it falls.", "a b")
        assert row["rejected"][0]["content"] in ("Rain!", "It is")
        assert row["pass_rate"] == 1.0 and row["quality"] == 8.0
        provenance = json.loads(row["provenance"])
        assert provenance["chosen"][-2]["says"] == [True, True, True]
        assert provenance["rejected"][-1]["says"] == [False, False, False]


def test_a_response_that_some_functions_pass_is_no_half_of_a_pair(run):
    ends = (
        "def evaluate(response):\n    return response == response.lower() and 'z' not in response"
    )
    answers = [written(f, *pairs_of(n)) for n, f in enumerate([*RIGHT[:2], ends, ends + " "])]
    answers[3] = written(ends.replace("'z'", '"z"'), *pairs_of(3))
    made = run(
        model(write=answers, respond=["it falls.", "Rain!", "zoo"]),
        verifier_samples=4,
        samples=3,
        output="preference",
    )
    assert len(made.rows) == 3
    assert made.counts.dropped == {"follow:mixed": 3}  # half of the functions, not more


def test_a_query_without_a_bad_or_without_a_good_response_makes_no_pair(run):
    settings = {"verifier_samples": 5, "samples": 1, "output": "preference"}
    for response, reason in [("it is", "none_failed"), ("IT", "none_good")]:
        made = run(model(write=planted(), respond=[response]), **settings)
        assert not made.rows
        assert made.counts.dropped[f"choose:{reason}"] == 3
        assert made.counts.dropped["choose:unpaired"] == 3
        assert made.counts.dropped["choose:no_row"] == 1
        assert made.counts.dropped["function:instruction_dropped"] == 3
        assert made.counts.dropped["case:instruction_dropped"] == 8


def test_prompts_have_the_functions_as_answer_for_the_verifier(run):
    made = run(
        model(write=planted(), respond=["it falls.", "It falls.", "a"], quality=scored),
        verifier_samples=5,
        samples=3,
        output="prompts",
    )
    assert len(made.rows) == 3
    verify = verifiers.get("function")
    for row in made.rows:
        assert "completion" not in row and row["pass_rate"] == 2 / 3
        columns = {n: v for n, v in row.items() if n not in ("answer", "id", "provenance")}
        assert verify("it falls.", row["answer"], **columns).correct is True
        assert verify("It falls.", row["answer"], **columns).correct is False
        assert verify("<think>NO</think>it", row["answer"], **columns).correct is True


def test_what_is_sampled_for_one_prompt_is_not_taken_for_anothers(run):
    made = run(model(write=planted()), verifier_samples=5, samples=1, output="prompts")
    assert len({row["id"] for row in made.rows}) == 3
    sampled = synth.run(
        "rejection_sampling",
        made.rows,
        Scripted(lambda messages, sample: f"{last(messages).lower()} {sample}"),
        verifier=verifiers.get("function"),
        sampling=Sampling(),
        samples=2,
    )
    assert len(sampled.rows) == 6
    for row in sampled.rows:
        assert row["query"].lower() in row["completion"][0]["content"]


def test_the_best_responses_are_kept_first(run):
    def quality(asked, sample):
        score = next(n for n in (8, 9, 10) if f"word{n}" in asked)
        return json.dumps({"analysis": "So.", "score": score})

    answers = ["word8", "word10", "word9"]
    made = run(
        model(write=planted(), respond=answers, quality=quality),
        verifier_samples=5,
        samples=3,
        max_per_prompt=2,
    )
    kept = [row["completion"][0]["content"] for row in made.rows]
    assert kept == ["word10", "word9"] * 3
    assert made.counts.dropped["choose:over_max"] == 3
    made = run(
        model(write=planted(), respond=[*answers, "WORD"], quality=quality),
        verifier_samples=5,
        samples=4,
        output="preference",
    )
    assert [row["chosen"][0]["content"] for row in made.rows] == ["word10"] * 3


def test_the_mean_of_several_scores_decides(run):
    def quality(asked, sample):
        return json.dumps({"analysis": "So.", "score": [9, 7, 7, 10][sample]})

    engine = model(write=planted(), quality=quality)
    settings = {"verifier_samples": 5, "samples": 1}
    assert run(engine, **settings, quality_votes=2).rows[0]["quality"] == 8.0
    assert run(engine, **settings, quality_votes=3).counts.dropped["quality:low"] == 3
    released = {"thresholds": "released", "min_query_chars": 1}
    assert run(engine, **settings, **released, quality_votes=2).counts.dropped["quality:low"] == 3
    assert run(engine, **settings, quality_votes=0).rows[0]["quality"] is None


@pytest.mark.parametrize("score", ["0", "11", "8.5", '"9"', "null"])
def test_a_score_out_of_range_is_none(run, score):
    def quality(asked, sample):
        return f'{{"analysis": "9 of 10", "score": {score}}}'

    made = run(model(write=planted(), quality=quality), verifier_samples=5, samples=1)
    assert not made.rows and made.counts.dropped["quality:undecided"] == 3


# What the functions ask for


def test_one_contradiction_drops_the_instruction(run):
    def back(asked, sample):
        return "Use capitals." if "isupper" in asked else "Use small letters."

    def relate(asked, sample):
        word = "contradiction" if "capitals" in asked else "neutral"
        return json.dumps({"reason": "Because.", "relation": word})

    engine = model(write=planted(), back=back, relate=relate)
    made = run(engine, verifier_samples=5, samples=1)
    assert not made.rows
    assert made.counts.dropped == {
        "back:instruction_dropped": 3,
        "case:disagrees": 2,
        "case:instruction_dropped": 8,
        "function:constant": 1,
        "function:instruction_dropped": 3,
        "function:runtime_error": 1,
        "nli:contradiction": 1,
        "nothing_left": 5,
    }
    [reject] = [r for r in made.rejects if r.reason == "nli:contradiction"]
    assert "Use capitals." in reject.detail and reject.id == "lower"
    assert made.metrics["contradictions"] == 1.0
    # The second function is not translated, so nobody sees that it asks for something else.
    assert run(engine, verifier_samples=5, samples=1, back_translations=1).rows
    assert run(engine, verifier_samples=5, samples=1, back_translations=0).rows


def test_a_function_of_which_nobody_can_say_what_it_asks_for_goes(run):
    def back(asked, sample):
        return "" if "isupper" in asked else "Use small letters."

    def relate(asked, sample):
        return '{"reason": "So.", "relation": "the same"}'

    made = run(model(write=planted(), back=back), verifier_samples=5, samples=1)
    assert {row["answer"] for row in made.rows} == {combined([RIGHT[0], RIGHT[2]])}
    assert made.counts.dropped["back:unparsed"] == 1
    assert made.counts.dropped["function:unconfirmed"] == 1
    made = run(model(write=planted(), back=back, relate=relate), verifier_samples=5, samples=1)
    assert not made.rows
    assert made.counts.dropped["nli:undecided"] == 2
    assert made.counts.dropped["nli:nothing_confirmed"] == 1


# Instructions that can't be used


@pytest.mark.parametrize(
    ("answers", "settings", "reason"),
    [
        (["no", "no"], {}, "too_few_functions"),
        ([written(RIGHT[0], *pairs_of(0))], {"min_functions": 2}, "too_few_functions"),
        ([written(RIGHT[0], ("a", "?")), written(RIGHT[1], ("b", ""))], {}, "too_few_cases"),
        (planted(), {"min_cases": 11}, "too_few_cases"),
        ([written(f, ("a", True), ("b", True)) for f in RIGHT], {}, "one_sided"),
        (
            [
                written(RIGHT[0], ("a", True), ("B", True)),
                written(RIGHT[1], ("c", True), ("b", False)),
            ],
            {},
            "one_sided",
        ),  # of what is left
        ([written(f, *pairs_of(0)) for f in (ALWAYS, CRASHES)], {}, "no_function"),
        ([written(RIGHT[0], ("a", False)), written(RIGHT[1], ("A", True))], {}, "no_case"),
        # A function and the cases of its own answer prove nothing.
        ([written(RIGHT[0], *pairs_of(0))], {}, "no_case"),
        (
            [written("def evaluate(response): return 'x' in response", ("x", True), ("y", False))],
            {},
            "no_case",
        ),
        ([written(f, *pairs_of(0)) for f in RIGHT], {"function_kept": "> 1"}, "no_function"),
    ],
)
def test_an_instruction_that_nothing_vouches_for_goes(run, answers, settings, reason):
    made = run(model(write=answers), verifier_samples=len(answers), **settings)
    assert not made.rows
    assert [r.id for r in made.rejects if r.reason == f"check:{reason}"] == ["lower"]


def test_without_the_guards_a_model_may_confirm_itself(run):
    settings = {"verifier_samples": 1, "samples": 1, "guards": False}
    assert run(model(write=[written(RIGHT[0], *pairs_of(0))]), **settings).rows
    assert run(model(write=[written(ALWAYS, ("a", True))]), **settings).rows


def test_the_same_function_in_two_answers_vouches_for_the_cases_of_both(run):
    answers = [written(RIGHT[0], *pairs_of(n)) for n in range(2)]
    made = run(model(write=answers), verifier_samples=2, samples=1)
    assert len(made.rows) == 3 and made.counts.dropped == {"function:duplicate": 1}


def test_the_sandbox_failing_says_nothing_about_a_function(run, monkeypatch):
    class Broken:
        workers = 2
        isolation = code.sandbox().isolation

        def call(self, *args, **kwargs):
            return Call("sandbox_error", None, "the worker died")

    monkeypatch.setattr(running.code, "sandbox", Broken)
    made = run(model(write=planted()), verifier_samples=5)
    assert made.counts.dropped["function:undecided:sandbox_error"] == 5
    assert made.counts.dropped["check:too_few_functions"] == 1


# Cases first, then functions


def read(functions: list[str], cases: list[Case]) -> list[tuple[Function, dict]]:
    responses = [case.response for case in cases]
    requests = [{"function": f, "responses": responses, "cpu_s": 0.2} for f in functions]
    return [
        (Function(f, {n}), {r: s[1] for r, s in zip(responses, one["seen"], strict=True)})
        for n, (f, one) in enumerate(zip(functions, running.observed(requests), strict=True))
    ]


def table(*columns: str) -> tuple[list[tuple[Function, dict]], list[Case]]:
    """Functions by what they say of the cases: + as the case, - not, . nothing."""
    cases = [Case(str(n), True, {n}) for n in range(len(columns[0]))]
    says = {"+": True, "-": False, ".": None}
    return [
        (Function(str(n), {10 + n}), {str(i): says[sign] for i, sign in enumerate(column)})
        for n, column in enumerate(columns)
    ], cases


def cases_first(found, cases, case_kept, function_kept):
    kept = [c for c in cases if meets(checking.agreement(c, found, others_only=False), case_kept)]
    functions = {f.source for f, s in found if meets(checking.accuracy(s, kept), function_kept)}
    return {c.response for c in kept}, functions


def functions_first(found, cases, case_kept, function_kept):
    good = [(f, s) for f, s in found if meets(checking.accuracy(s, cases), function_kept)]
    kept = [c for c in cases if meets(checking.agreement(c, good, others_only=False), case_kept)]
    return {c.response for c in kept}, {f.source for f, _ in good}


def test_the_two_filters_do_not_commute_so_their_order_is_fixed(run):
    found, cases = table("++--", "+++-", ".+-+")
    rules = ("> 0.5", "> 0.5")
    assert cases_first(found, cases, *rules) == ({"0", "1"}, {"0", "1"})
    assert functions_first(found, cases, *rules) == ({"0", "1", "2"}, {"1"})


def test_the_order_of_answers_changes_nothing_but_the_order_of_equal_functions(run):
    outcomes = set()
    for answers in list(permutations(planted()))[::17]:
        made = run(model(write=list(answers)), verifier_samples=5, samples=1)
        listed = made.rows[0]["answer"].partition("SOURCES = [\n    ")[2]
        sources = tuple(sorted(f for f in (*RIGHT, ALWAYS, CRASHES) if repr(f) in listed))
        kept = sorted(r.text for r in made.rejects if r.reason == "case:disagrees")
        outcomes.add((sources, tuple(kept), tuple(sorted(made.counts.dropped.items()))))
    assert len(outcomes) == 1


def test_a_function_has_no_say_about_the_cases_of_its_own_answer():
    case = Case("a", True, {1})
    says = {"a": True}
    assert checking.agreement(case, [(Function("f", {1}), says)], others_only=True) is None
    assert checking.agreement(case, [(Function("f", {1}), says)], others_only=False) == 1.0
    for origins in ({2}, {1, 2}):
        found = [(Function("f", {1}), {"a": False}), (Function("g", origins), says)]
        assert checking.agreement(case, found, others_only=True) == 1.0
    twice = Case("a", True, {1, 2})
    assert checking.agreement(twice, [(Function("f", {1}), says)], others_only=True) == 1.0


def test_nothing_said_is_no_agreement():
    found, cases = table("+.", "+-", "++")
    assert [checking.agreement(c, found, others_only=True) for c in cases] == [1.0, 1 / 3]
    assert [checking.accuracy(says, cases) for _, says in found] == [0.5, 0.5, 1.0]


# Functions in the sandbox


def seen(function: str, *responses: str) -> list[tuple]:
    request = {"function": function, "responses": list(responses), "cpu_s": 0.2}
    [result] = running.observed([request])
    return [(verdict, follows) for verdict, follows, _ in result["seen"]]


@pytest.mark.parametrize(
    ("function", "outcomes"),
    [
        ("import sys\ndef evaluate(r): return sys.exit() if r == 'a' else True", "runtime_error"),
        ("import os\ndef evaluate(r): return os._exit(0) if r == 'a' else True", "runtime_error"),
        ("def evaluate(r): return 1/0 if r == 'a' else True", "runtime_error"),
        ("def evaluate(r): return 'yes' if r == 'a' else True", "not_bool"),
        ("def evaluate(r): return None if r == 'a' else 'TRUE'", "not_bool"),
    ],
)
def test_what_a_function_does_on_one_response_is_about_that_one_alone(function, outcomes):
    good = ("accepted", True)
    assert seen(function, "b", "a", "c") == [good, (outcomes, None), good]


def test_a_function_that_does_not_end_is_not_waited_for_each_time(monkeypatch):
    asked = []

    class Slow:
        workers = 1
        isolation = code.sandbox().isolation

        def call(self, source, function, args, **_):
            asked.append(args[1])
            return Call("time_cpu", None, "")

    monkeypatch.setattr(running.code, "sandbox", Slow)
    assert seen(LOOPS, *"abcdefgh") == [("time_cpu", None)] * 8
    assert asked == [list("abcdefgh"), ["a"], ["b"]]


@pytest.mark.parametrize(
    ("function", "verdict"),
    [
        ("def evaluate(r): return True\x00", "compile_error"),
        ("def evaluate(r:", "compile_error"),
        ("import nosuchmodule\ndef evaluate(r): return True", "runtime_error"),
        ("exit()\ndef evaluate(r): return True", "runtime_error"),
        ("def other(r): return True", "runtime_error"),
        (DOWNLOADS, "runtime_error"),
        (
            "import sys\nsys._getframe(2).f_globals['_judge'] = lambda f, r: ['accepted', 7, '']\n"
            "def evaluate(r): return True",
            "runtime_error",
        ),
    ],
)
def test_a_function_that_can_not_be_used_says_nothing(function, verdict):
    assert seen(function, "a", "b") == [(verdict, None)] * 2


def test_a_function_finds_its_own_helpers_imports_and_classes():
    source = (
        "from __future__ import annotations\nimport re\nfrom dataclasses import dataclass\n\n"
        "LIMIT = 2\n\n@dataclass\nclass Count:\n    words: int\n\n"
        "def count(text):\n    return Count(len(re.findall('a', text)))\n\n"
        "def evaluate(response):\n    return count(response).words <= LIMIT"
    )
    assert seen(source, "aa", "aaa") == [("accepted", True), ("accepted", False)]
    other = "def count(text):\n    return 99\n\ndef evaluate(response):\n    return count('') > 9"
    assert functions.verify("aa", combined([source, other, source])).correct is True
    assert functions.verify("aaa", combined([source, other, source])).correct is False


def test_a_function_that_exits_ends_no_other():
    exits = "def evaluate(response):\n    exit()"
    assert functions.verify("a", combined([exits, RIGHT[0], RIGHT[1]])).correct is True
    assert functions.verify("A", combined([RIGHT[0], RIGHT[1], exits])).correct is False


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_combined_source_decides_as_the_pass_rate_does(number):
    body = {True: "return True", False: "return 'false'", None: "raise ValueError('no')"}
    for votes in product((True, False, None), repeat=number):
        sources = [f"def evaluate(response):\n    {body[vote]}" for vote in votes]
        verdict = functions.verify("a", combined(sources))
        share = judging.rate([Seen("accepted" if v is not None else "x", v) for v in votes])
        assert verdict.correct is (None if share is None else share > 0.5), votes
    assert verdict.reason == "runtime_error" and "0 of" in verdict.detail


def test_a_label_is_read_in_capitals_and_as_text():
    for value, expected in [
        *[(v, True) for v in (True, "true", "True", " TRUE\n")],
        *[(v, False) for v in (False, "false", "False")],
        *[(v, None) for v in ("", "yes", "1", 1, 0, None, [True])],
    ]:
        assert truth(value) is expected, value


def test_a_fence_around_a_function_does_not_count():
    assert source_of(f"```python\n{RIGHT[2]}\n```") == RIGHT[2]
    assert source_of(f"\n\n{RIGHT[0]}   \n\n") == RIGHT[0]
    quoted = "def evaluate(response):\n    return '```' in response"
    assert source_of(quoted) == quoted


# Settings


def test_the_thresholds_are_those_of_the_paper_and_of_the_released_code():
    paper, released = PRESETS["paper"], PRESETS["released"]
    assert [meets(x, paper.case_kept) for x in (0.5, 0.51)] == [False, True]
    assert [meets(x, released.case_kept) for x in (0.0, 0.01)] == [False, True]
    assert [meets(x, paper.function_kept) for x in (0.5, 0.51)] == [False, True]
    assert [meets(x, released.function_kept) for x in (7 / 9, 0.8)] == [False, True]
    assert [meets(x, paper.response_kept) for x in (0.5, 0.51)] == [False, True]
    assert [meets(x, released.response_kept) for x in (0.0, 0.01)] == [False, True]
    assert [meets(x, paper.quality_kept) for x in (7.9, 8.0)] == [False, True]
    assert [meets(x, released.quality_kept) for x in (8.0, 8.1)] == [False, True]
    assert [meets(x, paper.chosen_kept) for x in (0.5, 0.51)] == [False, True]
    assert [meets(x, released.chosen_kept) for x in (0.49, 0.5)] == [False, True]
    assert paper.rejected_kept == released.rejected_kept and not meets(0.1, paper.rejected_kept)
    assert (paper.min_functions, paper.min_cases) == (1, 1)
    assert (released.min_functions, released.min_cases) == (3, 10)
    assert (paper.back_translations, released.back_translations) == (None, 3)
    assert (released.min_query_chars, released.max_query_chars) == (21, 299)


def test_a_setting_comes_before_the_thresholds(run, tmp_path):
    made = synth.settings("instruction_verification")(
        sampling=Sampling(),
        seeds=_file(tmp_path, "q.txt", "What is rain?"),
        thresholds="released",
        min_query_chars=1,
        function_kept=">= 0.7",
    )
    assert made.limits.function_kept == ">= 0.7" and made.limits.min_functions == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"function_kept": 0.8}, "function_kept is 0.8; give a bound in quotes, as '> 0.5'"),
        ({"case_kept": "< 0.5"}, "case_kept is '< 0.5'"),
        ({"rejected_kept": "> 0"}, "rejected_kept is '> 0'; give a bound in quotes, as '< 0.5'"),
        ({"quality_kept": ">= eight"}, "quality_kept"),
        ({"thresholds": "both"}, "give one of paper, released"),
        ({"samples": 0}, "samples is 0"),
        ({"seeds": None}, "seeds is missing"),
        ({"min_query_chars": 50}, "none of the 3 queries has at least 50 characters"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(run, settings, message):
    with pytest.raises(synth.SynthesisError, match=message):
        run(model(), **settings)


# Queries


def _file(folder, name: str, text: str):
    path = folder / name
    path.write_text(text)
    return path


def test_queries_may_be_conversations(run, tmp_path):
    before = [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hi."},
    ]
    lines = [{"prompt": "Why?"}, {"prompt": [*before, {"role": "user", "content": "How?"}]}]
    path = _file(tmp_path, "q.jsonl", "\n".join(map(json.dumps, [*lines, lines[0]])))
    made = run(model(write=planted()), verifier_samples=5, samples=1, seeds=path)
    prompts = {row["query"]: row["prompt"] for row in made.rows}
    assert prompts["Why?"] == [{"role": "user", "content": f"Why?\n\n{LOWER}"}]
    assert prompts["How?"] == [*before, {"role": "user", "content": f"How?\n\n{LOWER}"}]
    assert made.metrics["queries"] == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("q.jsonl", '{"prompt": "Why?"}\n{"prompt"', r"q.jsonl:2: "),
        ("q.jsonl", '{"query": "Why?"}', r"q.jsonl:1: give {\"prompt\": ...}"),
        ("q.jsonl", '{"prompt": []}', r"q.jsonl:1: the prompt does not end with a user's message"),
        ("q.jsonl", '{"prompt": "\\ud83d"}', r"q.jsonl:1: .*surrogates not allowed"),
        ("q.txt", " \n\n", "holds no queries; give one a line"),
    ],
)
def test_a_mistake_in_the_queries_is_named_with_its_line(run, tmp_path, name, text, message):
    with pytest.raises(synth.SynthesisError, match=message):
        run(model(), seeds=_file(tmp_path, name, text))
    with pytest.raises(synth.SynthesisError, match="txt can't be read"):
        run(model(), seeds=tmp_path / "no.txt")


def test_queries_are_neither_shorter_nor_longer_than_the_bounds(tmp_path):
    texts = ["x" * number for number in (1, 20, 21, 299, 300)]
    path = _file(tmp_path, "q.txt", "\n".join(texts))
    settings = synth.settings("instruction_verification")
    made = settings(sampling=Sampling(), seeds=path, thresholds="released")
    assert [query.text for query in made.queries] == texts[2:4]
    made = settings(sampling=Sampling(), seeds=path)
    assert [query.text for query in made.queries] == texts


def test_an_instruction_gets_sixteen_queries_of_the_right_length_by_its_text(run, tmp_path):
    fit = [f"What does number {n} mean?" for n in range(100, 140)]
    path = _file(tmp_path, "q.txt", "\n".join(["Why?", "x" * 300, *fit]))
    settings = {"verifier_samples": 5, "samples": 1, "seeds": path, "thresholds": "released"}

    def chosen(*rows) -> dict[str, set[str]]:
        made = run(model(write=planted()), rows=rows, **settings)
        return {r["id"]: {q["query"] for q in made.rows if q["id"] == r["id"]} for r in rows}

    lower = {"id": "lower", "text": LOWER}
    other = {"id": "other", "text": "Write in lower case."}
    both = chosen(other, lower)
    assert len(both["lower"]) == 16 and both["lower"] < set(fit)
    assert both["lower"] != both["other"]
    assert chosen(lower) == {"lower": both["lower"]}
    assert chosen({"id": "renamed", "text": f" {LOWER}\n"}) == {"renamed": both["lower"]}


# Instructions


def test_new_instructions_are_made_of_each_and_repeats_go(run):
    new = ["Write in lower case.", " write in  LOWER case.", LOWER.upper(), " "]
    engine = model(augment=[json.dumps({"instructions": new})], write=planted())
    made = run(engine, verifier_samples=5, samples=1, rewrites=4)
    assert {row["instruction"] for row in made.rows} == {LOWER, "Write in lower case."}
    assert made.counts.dropped["augment:duplicate"] == 2
    assert made.counts.dropped["augment:empty"] == 1


def test_of_equal_rows_one_is_left(run):
    rows = [{"id": name, "text": LOWER} for name in "ab"]
    made = run(model(write=planted()), rows=rows, verifier_samples=5, samples=1)
    assert [row["id"] for row in made.rows] == ["a"] * 3
    assert made.counts.dropped["select:duplicate"] == 3


def test_an_empty_instruction_goes_and_other_columns_stay(run):
    rows = [{"id": "a", "text": " \n"}, {"id": "b", "text": LOWER, "topic": "case"}]
    made = run(model(write=planted()), rows=rows, verifier_samples=5, samples=1)
    assert made.counts.dropped["instruction:empty"] == 1
    assert {row["topic"] for row in made.rows} == {"case"}


def test_rows_and_rejects_are_the_same_whatever_the_window(run, tmp_path):
    rows = [{"id": str(n), "text": f"{LOWER} ({n})"} for n in range(3)]
    module = synth.get("instruction_verification")
    queries = _file(tmp_path, "q.txt", "\n".join(QUERIES))
    settings = module.Settings(
        sampling=Sampling(), seeds=queries, verifier_samples=5, samples=3, output="preference"
    )
    outcomes = []
    for window_rows in (1, 2, 512):
        engine = model(write=planted(), respond=["it falls.", "Rain!", "a b"])
        stream = Stream(module, rows, engine, settings, window_rows=window_rows)
        parts = list(stream)
        outcomes.append(
            (
                [row for part in parts for row in part.rows],
                sorted(repr(reject) for part in parts for reject in part.rejects),
                stream.counts.dropped,
                stream.metrics,
            )
        )
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert len(outcomes[0][0]) == 9


def test_the_chinese_prompts_ask_for_the_same(run):
    asked = []

    def script(messages, sample):
        asked.append(messages)
        return Failure("enough")

    run(Scripted(script), language="zh", verifier_samples=1, rewrites=1)
    assert [m[-1]["content"].count(LOWER) for m in asked] == [1, 1]
