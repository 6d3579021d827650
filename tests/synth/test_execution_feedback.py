import json
from dataclasses import fields

import pytest

import synth
from synth.execution_feedback.agreement import grade, majority
from synth.execution_feedback.cases import Case, function_case, key, program_case, same
from synth.execution_feedback.problem import Seen
from synth.flow.stream import Stream
from synth.flow.templates import Prompts
from tests.synth.scripted import Completion, Failure, Sampling, Scripted, last
from tests.verifiers.conftest import shared_sandbox  # noqa: F401
from verifiers import code
from verifiers.sandbox import Execution
from verifiers.sandbox.toolchains import Missing, installed

pytestmark = pytest.mark.usefixtures("shared_sandbox")


def row(text: str, **more) -> dict:
    return {"id": text, "prompt": [{"role": "user", "content": text}], **more}


def fenced(program: str, tag: str = "python") -> str:
    return f"So:\n```{tag}\n{program}\n```"


def written(*pairs: tuple[str, str]) -> str:
    tests = [{"input": i, "working": "so it is", "output": o} for i, o in pairs]
    return json.dumps({"tests": tests})


RIGHT = [
    "a, b = map(int, input().split())\nprint(a + b)",
    "import sys\nprint(sum(int(x) for x in sys.stdin.read().split()))",
    "a, b = input().split()\nprint(int(a) - -int(b))",
    "print(eval('+'.join(input().split())))",
]
WRONG = {  # and why
    "a, b = map(int, input().split())\nprint(a * b)": "grade:wrong_answer",
    "print(0)": "grade:wrong_answer",
    "print(int(input()))": "grade:runtime_error",
    "print(input(": "check:static_error",
}
LOOP = fenced("while True: pass")  # takes its time, so only where it is the point
PROGRAMS = [
    *map(fenced, RIGHT),
    *map(fenced, WRONG),
    fenced(RIGHT[0] + "  \n"),
    "It is the sum.",
    Completion(fenced(RIGHT[0]), "length"),
    Failure("http_500"),
]
GOOD = [("1 2", "3"), ("0 0", "0"), ("-4 9", "5"), ("5 5\n", "10"), ("7 -7", "0"), ("2 2", "4")]
TESTS = [
    written(*GOOD[:4]),
    written(*GOOD[4:], GOOD[0], ("3 4", "8"), ("x y", "z"), ("8 8", " \n")),
    "Here are my tests: 1 2 gives 3",
    written(*GOOD, ("\ud83d", "1")),  # stands for a letter in JSON, and can be stored nowhere
    Completion(written(*GOOD), "length"),
]
DROPPED = {
    "check:static_error": 1,
    "choose:over_max": 3,
    "grade:runtime_error": 1,
    "grade:wrong_answer": 2,
    "solve:duplicate": 1,
    "solve:failed:http_500": 1,
    "solve:no_program": 1,
    "solve:truncated": 1,
    "test:blank_output": 1,
    "test:disagrees": 1,
    "test:duplicate": 1,
    "test:no_majority": 1,
    "tests:truncated": 1,
    "tests:unparsed": 2,
}


def scripted(programs, tests):
    """A model that writes these programs and these tests, one a sample."""

    def script(messages, sample):
        asked_for_tests = "tests" in messages[0]["content"]
        return (tests if asked_for_tests else programs)[sample]

    return Scripted(script)


def run(rows, programs, tests, **settings):
    chosen = {
        "sampling": Sampling(),
        "samples": len(programs),
        "test_answers": len(tests),
        "cpu_s": 1.0,
        "reasks": 0,
        "max_failed": 1.0,
        **settings,
    }
    return synth.run("execution_feedback", rows, scripted(programs, tests), **chosen)


def accounted(made: synth.Synthesis) -> bool:
    counts = made.counts
    return counts.items == counts.used + sum(counts.dropped.values()) and (
        len(made.rejects) == sum(counts.dropped.values())
    )


def test_the_good_programs_come_out_and_each_bad_thing_goes_under_its_reason():
    made = run([row("Add.")], [*PROGRAMS, LOOP], TESTS)
    (only,) = made.rows
    assert only["completion"][0]["content"] == PROGRAMS[0]
    assert only["language"] == "python" and only["pass_rate"] == 4 / 9
    assert "Add.\n\nWrite the program in" in last(only["prompt"])
    assert [(test["input"].strip(), test["output"]) for test in json.loads(only["tests"])] == [
        (given.strip(), output) for given, output in GOOD
    ]
    assert made.counts.dropped == {**DROPPED, "grade:out_of_time": 1}
    assert made.counts.items == 1 + 13 + 5 + 10 and accounted(made)
    assert made.metrics == {"passed/python": 4 / 13, "tests_kept": 6 / 10}


def test_the_tests_of_a_row_judge_its_programs_as_the_verifier_does():
    (only,) = run([row("Add.")], PROGRAMS, TESTS).rows
    for program in RIGHT:
        assert code.verify(fenced(program), only["tests"], language=only["language"]).correct
    for program in WRONG:
        assert code.verify(fenced(program), only["tests"]).correct is False


def test_all_right_programs_can_be_kept():
    made = run([row("Add.")], PROGRAMS, TESTS, max_per_prompt=None)
    texts = [made_row["completion"][0]["content"] for made_row in made.rows]
    assert sorted(texts) == sorted(PROGRAMS[:4])
    assert "choose:over_max" not in made.counts.dropped and accounted(made)


def test_a_pair_sets_a_program_that_passes_against_one_that_fails():
    settings = {"output": "preference", "pairs_per_prompt": 3}
    made = run([row("Add.")], PROGRAMS, TESTS, **settings)
    assert len(made.rows) == 3 and accounted(made)
    failing = {fenced(program) for program in WRONG}
    for pair in made.rows:
        assert pair["chosen"][0]["content"] in PROGRAMS[:4]
        assert pair["rejected"][0]["content"] in failing
        provenance = json.loads(pair["provenance"])
        assert provenance["chosen"][-1]["passed"] == 1.0
    num_failed = sum(n for name, n in made.counts.dropped.items() if name.startswith("grade:"))
    num_failed += made.counts.dropped.get("check:static_error", 0)
    assert num_failed == len(WRONG) - 3 and made.counts.dropped["choose:unpaired"] == 1


def test_what_nearly_passes_is_no_rejected_side():
    # Right but for one of six tests: perhaps it is the test that is wrong.
    nearly = "a, b = map(int, input().split())\nprint(a + b if a < 5 else 0)"
    programs = [*map(fenced, RIGHT), fenced(nearly)]
    made = run([row("Add.")], programs, TESTS, output="preference", max_rejected_passed=0.5)
    assert made.rows == [] and made.counts.dropped["choose:none_failed"] == 1
    assert made.counts.dropped["grade:wrong_answer"] == 1 and accounted(made)
    made = run([row("Add.")], programs, TESTS, output="preference", max_rejected_passed=0.9)
    assert made.rows[0]["rejected"][0]["content"] == fenced(nearly)


def test_prompts_come_with_their_tests_as_the_answer():
    made = run([row("Add.", level="easy")], PROGRAMS, TESTS, output="prompts")
    (only,) = made.rows
    assert "completion" not in only and only["level"] == "easy"
    assert code.verify(fenced(RIGHT[1]), only["answer"]).correct
    assert "choose:over_max" not in made.counts.dropped and accounted(made)


CONSTANT = [fenced(program) for program in ("print(0)", "print(2 - 2)", "print('0')", "print(1-1)")]


def test_programs_and_tests_that_only_know_one_output_confirm_nothing():
    tests = [written(*[(f"{n} -{n}", "0") for n in range(6)])]
    made = run([row("Add.")], CONSTANT, tests)
    assert made.rows == [] and accounted(made)
    assert made.counts.dropped == {
        "agree:constant_output": 1,
        "grade:untested": 4,
        "nothing_left": 1,  # the answer that the tests stood in
        "test:problem_dropped": 6,
    }


def test_constant_programs_in_the_majority_do_not_carry_tests_of_other_outputs():
    made = run([row("Add.")], [*CONSTANT, *map(fenced, RIGHT[:2])], [written(*GOOD)])
    assert made.rows == []
    assert made.counts.dropped["agree:too_few_tests"] == 1
    assert made.counts.dropped["test:disagrees"] == 4  # those whose output is not 0


def test_copies_of_a_program_are_one_voice():
    wrong = next(iter(WRONG))
    copies = [wrong, f"# Multiply.\n{wrong}", wrong.replace("\n", "\n\n"), f"{wrong}  # so"]
    copies = [fenced(copy) for copy in copies]
    made = run([row("Add.")], [*copies, *map(fenced, RIGHT[:2])], [written(*GOOD)])
    assert made.counts.dropped["solve:duplicate"] == 3
    assert made.rows[0]["completion"][0]["content"] in PROGRAMS[:4]


def test_too_few_programs_ask_for_no_tests():
    engine = scripted([fenced(RIGHT[0]), "none"], [written(*GOOD)])
    made = synth.run(
        "execution_feedback", [row("Add.")], engine, sampling=Sampling(), samples=2, test_answers=1
    )
    assert engine.num_asked == 2
    assert made.counts.dropped == {
        "grade:untested": 1,
        "solve:no_program": 1,
        "solve:too_few_programs": 1,
    }


def test_without_a_test_that_can_be_read_nothing_is_run():
    made = run([row("Add.")], PROGRAMS[:4], ["none", written(("1 2", ""))])
    assert made.counts.notes["executions/done"] == 4  # the static checks
    assert made.counts.dropped == {
        "agree:too_few_tests": 1,
        "grade:untested": 4,
        "nothing_left": 1,
        "test:blank_output": 1,
        "tests:unparsed": 1,
    }


class Broken:
    """A sandbox that fails at one of its calls."""

    def __init__(self, call: str):
        self.call, self.real = call, code.sandbox()

    def __getattr__(self, name: str):
        if name == self.call:
            return lambda *_, **__: Execution("sandbox_error", "run", detail="no room")
        return getattr(self.real, name)


@pytest.mark.parametrize(("call", "reason"), [("check", "check"), ("script", "run")])
def test_a_failure_of_the_sandbox_says_nothing_about_a_program_and_is_not_kept(
    monkeypatch, call, reason
):
    store = synth.Store()
    broken = Broken(call)
    monkeypatch.setattr(code, "sandbox", lambda: broken)
    made = run([row("Add.")], PROGRAMS[:4], [written(*GOOD)], store=store)
    assert made.rows == [] and accounted(made)
    assert made.counts.dropped[f"{reason}:undecided:sandbox_error"] == 4
    monkeypatch.undo()
    assert run([row("Add.")], PROGRAMS[:4], [written(*GOOD)], store=store).rows


HALF = "def half(x):\n    return x / 2"
FUNCTIONS = [
    HALF,
    "def half(x):\n    return x * 0.5",
    "import operator\ndef half(x):\n    return operator.truediv(x, 2)",
    "def half(x):\n    return x // 2",
    "def half(x):\n    return (yield x)",
    "def other(x):\n    return x / 2",
    "def half(x):\n    while True: pass",
]
ASSERTED = [
    ("[2]", "1"), ("[3]", "1.5"), ("[-4]", "-2"), ("[0]", "0.0"), ("[1e3]", "500"), ("[5]", "2"),
    ("2", "1"), ("[2", "1"), ("[x]", "1"), ("[1e999]", "1"), ("[...]", "1"), ("[7]", ""),
]  # fmt: skip


def test_a_function_is_tested_by_its_arguments_and_value():
    made = run(
        [row("Halve x.", entry_point="half")],
        [fenced(program) for program in FUNCTIONS],
        [written(*ASSERTED)],
    )
    (only,) = made.rows
    assert only["completion"][0]["content"] == fenced(HALF)
    assert json.loads(only["tests"])[:2] == ["assert half(2) == 1", "assert half(3) == 1.5"]
    assert made.counts.dropped == {
        "choose:over_max": 2,
        "grade:runtime_error": 1,
        "grade:out_of_time": 1,
        "grade:wrong_answer": 1,
        "solve:no_program": 1,
        "test:disagrees": 1,
        "test:unreadable": 6,
    }
    assert accounted(made)
    for program in FUNCTIONS[:-1]:
        verdict = code.verify(fenced(program), only["tests"], entry_point="half")
        assert verdict.correct is (program in FUNCTIONS[:3])


needs_bash_and_perl = pytest.mark.skipif(
    any(isinstance(installed(name), Missing) for name in ("bash", "perl", "c")),
    reason="bash, perl and gcc are not all installed",
)
IN_LANGUAGE = {
    "bash": ["read a b; echo $((a + b))", "read a b; a=$((a + b)); echo $a",
 "read a b; echo $((a * b))"],
    "perl": ["my ($a, $b) = split ' ', <>; print $a + $b", "print eval join '+', split ' ', <>"],
    "c": ["#include <stdio.h>\nint main(void) { int a, b; scanf(\"%d %d\", &a, &b); "
          "printf(\"%d\\n\", a + b); }", "int main( { }"],
}  # fmt: skip


@needs_bash_and_perl
def test_programs_of_several_languages_share_tests_and_check_each_other():
    def script(messages, sample):
        if "tests" in messages[0]["content"]:
            return written(*GOOD)
        language = next(name for name in IN_LANGUAGE if f"```{name}." in last(messages))
        programs = IN_LANGUAGE[language]
        return fenced(programs[sample % len(programs)], language)

    made = synth.run(
        "execution_feedback",
        [row("Add.")],
        Scripted(script),
        sampling=Sampling(),
        samples=3,
        test_answers=1,
        languages=["bash", "c", "perl"],
        languages_per_prompt=3,
    )
    assert sorted(made_row["language"] for made_row in made.rows) == ["bash", "c", "perl"]
    assert made.counts.dropped == {
        "check:static_error": 1,
        "choose:over_max": 2,
        "grade:wrong_answer": 1,
        "solve:duplicate": 2,
    }
    assert accounted(made)


def test_a_rows_language_is_its_own_and_others_are_drawn_by_id():
    everywhere = [row(f"p{n}", **({"language": "Bash"} if n < 3 else {})) for n in range(60)]
    made = run(everywhere, [fenced("x", "json")], [""], languages=["python", "sed"], samples=1)
    drawn = [json.loads(r.columns)["language"] for r in made.rejects if r.id.startswith("p")]
    assert drawn[:3] == ["bash"] * 3
    assert 15 < drawn.count("python") < 45 and drawn.count("sed") == 57 - drawn.count("python")


def test_languages_that_cannot_be_had_are_named():
    for bad, reason in (
        ({"language": "pyton"}, "language:unknown"),
        ({"language": 3}, "language:unknown"),
        ({"language": "bash", "entry_point": "half"}, "language:not_python"),
        ({"entry_point": "a b"}, "entry_point:unreadable"),
    ):
        made = run([row("Add.", **bad)], [""], [""])
        assert made.counts.dropped == {reason: 1}
    made = run(
        [{"id": "x", "prompt": [{"role": "assistant", "content": "a"}]}],
        [],
        [],
        samples=1,
        test_answers=1,
    )
    assert made.counts.dropped == {"prompt:no_question": 1}
    missing = next(
        (name for name in ("cobol", "zsh", "ada") if isinstance(installed(name), Missing)), None
    )
    if missing:
        made = run([row("Add.", language=missing)], [""], [""])
        assert made.counts.dropped == {"language:unavailable": 1}
        with pytest.raises(synth.SynthesisError, match=f"languages: .*{missing}"):
            run([row("Add.")], [""], [""], languages=[missing])


def test_settings_out_of_range_are_named():
    for bad in (
        {"languages": ["pyton"]},
        {"languages": "python"},
        {"agreement": 0.4},
        {"min_passed": 1.5},
        {"samples": 0},
        {"max_rejected_passed": 1.0},
    ):
        with pytest.raises(synth.SynthesisError, match=next(iter(bad))):
            run([row("Add.")], [""], [""], **bad)
    names = {field.name for field in fields(synth.settings("execution_feedback"))}
    assert {"languages", "judge", "output", "min_tests"} <= names


def test_a_programs_fate_does_not_depend_on_the_window():
    rows = [row(f"Add {n}.") for n in range(3)]
    module = synth.get("execution_feedback")
    settings = synth.checked_settings(
        "execution_feedback",
        {"sampling": Sampling(), "samples": 5, "test_answers": 1, "output": "preference"},
    )
    programs = [*map(fenced, RIGHT[:3]), *map(fenced, list(WRONG)[:2])]

    def made(window_rows):
        engine = scripted(programs, [written(*GOOD)])
        stream = Stream(module, rows, engine, settings, window_rows=window_rows)
        return [made_row for part in stream for made_row in part.rows]

    whole = made(512)
    assert len(whole) == 3 and whole == made(1)


def test_what_is_known_is_not_run_again():
    store = synth.Store()
    settings = {"sampling": Sampling(), "samples": 4, "test_answers": 1}
    ran = []
    for _ in range(2):
        engine = scripted([*map(fenced, RIGHT)], [written(*GOOD)])
        made = synth.run("execution_feedback", [row("Add.")], engine, store=store, **settings)
        ran.append((made.rows, engine.num_asked, made.counts.notes.get("executions/done", 0)))
    assert ran[0][0] == ran[1][0] and ran[0][1:] == (5, 8) and ran[1][1:] == (0, 0)


def test_an_input_that_hangs_costs_two_inputs_at_most():
    hangs = "a, b = map(int, input().split())\nwhile a == 5: pass\nprint(a + b)"
    made = run([row("Add.")], [*map(fenced, RIGHT), fenced(hangs)], [written(*GOOD)])
    assert made.counts.dropped == {"choose:over_max": 3, "grade:out_of_time": 1}
    (failed,) = [reject for reject in made.rejects if reject.reason == "grade:out_of_time"]
    # What came after the input that hung was run, and passed.
    assert json.loads(failed.provenance)["steps"][-1]["passed"] == 5 / 6


@pytest.mark.parametrize(
    ("outputs", "agreement", "expected"),
    [
        (["3", "3", "4"], 0.5, "3"),
        (["3", "3", "4", "4"], 0.5, None),
        (["3", "3", None, None], 0.5, None),
        (["3", "3", "3", None, "4"], 0.5, "3"),
        (["3", None], 0.5, None),
        (["3"], 0.5, None),
        ([None, None], 0.5, None),
        ([], 0.5, None),
        (["3"] * 29 + ["4"] * 21, 0.58, None),  # 0.58 * 50 is 28.999... in floating point
        (["3"] * 30 + ["4"] * 20, 0.58, "3"),
    ],
)
def test_the_majority_is_strict_and_of_more_than_one(outputs, agreement, expected):
    assert majority(outputs, agreement, 2) == expected


def test_a_grade_is_the_share_passed_and_the_first_failure():
    cases = [Case("1", "2", "2"), Case("2", "4", "4"), Case("3", "6", "6")]
    seen = {"1": Seen("accepted", "2"), "2": Seen("accepted", "5"), "3": Seen("time_cpu", None)}
    assert grade(seen, cases) == (1 / 3, "wrong_answer")
    assert grade(seen, cases[:1]) == (1.0, "accepted")
    assert grade(seen, cases[2:]) == (0.0, "time_cpu")


def test_equal_values_have_equal_keys_and_others_do_not():
    for group in ([1, 1.0, True], [{1, 2}, {2.0, 1}], [{"a": 1, "b": 2}, {"b": 2, "a": 1.0}]):
        assert len({key(value) for value in group}) == 1
    different = [1, "1", [1], (1,), {1}, None, 1.5, {"1": 1}, {1: 1}, b"1", [[1]], "'1'"]
    assert len({key(value) for value in different}) == len(different)


def test_a_test_is_written_the_same_way_however_the_model_wrote_it():
    assert program_case({"input": "1 2", "output": "3  \n\n"}) == Case("1 2\n", "3", "3")
    assert program_case({"input": "", "output": "a \nb"}) == Case("", "a\nb", "a\nb")
    assert same(" a") == " a"
    first = function_case({"input": "[ {'b','a'},1 ]", "output": "{'x' :True}"})
    assert first == Case("[{'b', 'a'}, 1]", "dict('x': 1)", "{'x': True}")
    for bad in (
        "(1,)",
        "[f(1)]",
        "[*[1]]",
        "[1][0]",
        "[" * 3000,
        "[1\n2]",
        "['\ud83d']",
        "[{[]: 1}]",
    ):
        with pytest.raises(ValueError, match=r"no (literal|list)"):
            function_case({"input": bad, "output": "1"})


def test_the_prompts_of_both_languages_have_the_same_blanks():
    blanks = {"problem": "[p]", "language": "[l]", "entry_point": "[e]", "number": "[n]"}
    for name in ("solve", "solve_function", "tests", "tests_function"):
        shown = []
        for language in ("en", "zh"):
            filled = Prompts("execution_feedback", language).get(name).fill(blanks)
            text = "\n".join(message["content"] for message in filled)
            shown.append({blank for blank in blanks.values() if blank in text})
        assert shown[0] == shown[1] and "[p]" in shown[0]
