import json
from collections import Counter
from dataclasses import fields

import pytest

import synth
import verifiers
from synth.rows.pairing import pairs
from synth.text.equations import equations, first_wrong
from tests.synth.scripted import Completion, Failure, Sampling, Scripted, last


def row(question: str, answer: str, **more: str) -> dict:
    prompt = [{"role": "user", "content": question}]
    return {"id": f"id-{question}", "prompt": prompt, "answer": answer, "task": "t", **more}


def run(prompts, texts, **settings):
    chosen = {"verifier": verifiers.get("math"), "sampling": Sampling(), "seed": 3, **settings}
    chosen.setdefault("samples", len(next(iter(texts.values()))))
    engine = Scripted(lambda messages, sample: texts[last(messages)][sample])
    return synth.run("rejection_sampling", prompts, engine, **chosen)


def texts_of(rows: list[dict], column: str = "completion") -> list[str]:
    return [row[column][0]["content"] for row in rows]


MIXED = ["#### 3", "a\n#### 3", "a  \n#### 3 ", "b\n#### 3", "#### 4", "", "junk", "5\n#### 5"]
CUT = Completion("#### 3", "length")
LOST = Failure("http_500")


def accounted(made: synth.Synthesis) -> bool:
    counts = made.counts
    return counts.items == counts.used + sum(counts.dropped.values())


def test_sft_keeps_distinct_right_completions_and_accounts_for_all() -> None:
    prompts = [row("q", "3"), row("r", "9")]
    texts = {"q": [*MIXED, CUT, LOST], "r": [*MIXED, CUT, LOST]}
    made = run(prompts, texts, max_per_prompt=2, max_failed=1.0)
    assert texts_of(made.rows) == ["#### 3", "a\n#### 3"]
    assert made.counts.dropped == {
        "distinct:duplicate": 2,
        "no_right_answer": 1,
        "over_max": 1,
        "sample:failed:http_500": 2,
        "sample:truncated": 2,
        "verify:wrong": 4 + 7,
    }
    assert made.counts.items == 22 and accounted(made)


def test_rows_carry_their_prompt_and_where_they_come_from() -> None:
    made = run([row("q", "3", solution="s\n#### 3")], {"q": ["no", "#### 3"]})
    (only,) = made.rows
    provenance = json.loads(only.pop("provenance"))
    assert only == {
        "id": "id-q",
        "prompt": [{"role": "user", "content": "q"}],
        "answer": "3",
        "task": "t",
        "completion": [{"role": "assistant", "content": "#### 3"}],
    }
    sampled, verified = provenance["steps"]
    assert sampled["sample"] == 1 and sampled["model"] == "scripted:1"
    assert sampled["sampling"] == {"temperature": 1.0, "max_tokens": 16}
    assert verified["verifier"] == "verifiers.math.judging.verify"
    assert verified["verdict"]["correct"] is True and provenance["parents"] == ["id-q"]


def test_undecided_is_neither_right_nor_wrong() -> None:
    made = run([row("q", "no\nmark")], {"q": ["#### 3", "x"]}, output="preference")
    assert made.rows == []
    assert made.counts.dropped == {
        "no_right_answer": 1,
        "verify:undecided:unparsable_reference": 2,
    }


def test_the_worked_solution_is_one_more_candidate_and_is_verified() -> None:
    prompts = [
        row("a", "3", solution="work\n#### 3"),
        row("b", "3", solution="slip\n#### 4"),
        row("c", "3"),
    ]
    texts = {name: ["#### 5"] for name in "abc"}
    made = run(prompts, texts, reference_solutions=True)
    (only,) = made.rows
    assert only["id"] == "id-a" and texts_of([only]) == ["work\n#### 3"]
    assert json.loads(only["provenance"])["steps"][0] == {"step": "reference"}
    assert made.counts.dropped["verify:wrong"] == 3 + 1 and accounted(made)
    assert run(prompts, texts).rows == []


def test_pairs_set_right_against_wrong_and_account_for_all() -> None:
    prompts = [row("q", "3"), row("all right", "3"), row("all wrong", "3")]
    texts = {"q": MIXED, "all right": ["#### 3"] * 8, "all wrong": ["#### 4"] * 8}
    made = run(prompts, texts, output="preference", pairs_per_prompt=3)
    assert [r["id"] for r in made.rows] == ["id-q"] * 3
    for made_row in made.rows:
        provenance = json.loads(made_row["provenance"])
        verdicts = [provenance[side][-1]["verdict"] for side in ("chosen", "rejected")]
        assert [verdict["correct"] for verdict in verdicts] == [True, False]
    assert all("#### 3" in text for text in texts_of(made.rows, "chosen"))
    assert not any("#### 3" in text for text in texts_of(made.rows, "rejected"))
    assert len(set(texts_of(made.rows, "chosen"))) == 3  # spread, not one thrice
    assert len(set(texts_of(made.rows, "rejected"))) == 3
    dropped = made.counts.dropped
    assert dropped["no_right_answer"] == dropped["no_wrong_answer"] == 1
    assert dropped["unpaired"] == 1 + 1 + 1 and accounted(made)


@pytest.mark.parametrize("output", ["sft", "preference"])
def test_a_prompts_rows_do_not_depend_on_the_batch(output: str) -> None:
    prompts = [row(str(n), "3") for n in range(20)]
    texts = {str(n): MIXED for n in range(20)}
    whole = run(prompts, texts, output=output, pairs_per_prompt=2)
    single = [run([p], texts, output=output, pairs_per_prompt=2).rows for p in prompts]
    assert whole.rows == [made for rows in single for made in rows]


def test_another_seed_chooses_other_pairs() -> None:
    prompts, texts = [row(str(n), "3") for n in range(20)], {str(n): MIXED for n in range(20)}
    first, second = (run(prompts, texts, output="preference", seed=seed).rows for seed in (1, 2))
    chosen = [[(r["chosen"], r["rejected"]) for r in rows] for rows in (first, second)]
    assert chosen[0] != chosen[1]


@pytest.mark.parametrize(("num_right", "num_wrong"), [(1, 1), (2, 4), (3, 5), (4, 6), (1, 7)])
def test_pairs_are_all_distinct_and_evenly_spread(num_right: int, num_wrong: int) -> None:
    rights, wrongs = [f"r{n}" for n in range(num_right)], [f"w{n}" for n in range(num_wrong)]
    every = pairs(rights, wrongs, 1000, "key")
    assert len(every) == len(set(every)) == num_right * num_wrong
    for limit in range(1, len(every)):
        some = pairs(rights, wrongs, limit, "key")
        for side, number in ((0, num_right), (1, num_wrong)):
            uses = Counter(pair[side] for pair in some)
            assert len(uses) == min(limit, number)
            assert max(uses.values()) == -(-limit // number)
    assert pairs([], wrongs, 3, "key") == pairs(rights, [], 3, "key") == []


def test_of_equal_equations_the_wording_farthest_from_those_kept_stays() -> None:
    near, far = "2 + 1 = 3 apples\n#### 3", "in all there are two and one more: 2 + 1 = 3\n#### 3"
    first = "1 + 1 + 1 = 3 apples\n#### 3"
    for answers in ([first, near, far], [first, far, near]):
        made = run([row("q", "3")], {"q": answers}, distinct="equations")
        assert texts_of(made.rows) == [first, far]
    everything = [first, near, far, "4 - 1 = 3\n#### 3", "3\n#### 3"]
    for samples in (1, 2, 3, 4, 5):
        made = run([row("q", "3")], {"q": everything}, distinct="equations", samples=samples)
        kept = [equations(text) for text in texts_of(made.rows)]
        assert len(set(kept)) == len(kept) == (1, 2, 2, 3, 4)[samples - 1]


def test_a_right_answer_with_a_slip_on_the_way_goes() -> None:
    answers = ["2*3=<<2*3=7>>7, less 4 is 3\n#### 3", "<<7-4=3>>\n#### 3"]
    made = run([row("q", "3")], {"q": answers}, check_equations=True)
    assert texts_of(made.rows) == answers[1:]
    assert made.counts.dropped == {"equations:wrong": 1}


@pytest.mark.parametrize(
    ("text", "found", "wrong"),
    [
        ("so 2*3=<<2*3=7>>7", ("2*3=7",), "2*3=7"),
        ("He has 24 - 5 = 19, 19 + 1 = 20.", ("24-5=19", "19+1=20"), None),
        ("1,200 x 2 = 2,400 and x = 5", ("1200*2=2400",), None),
        ("10% of it; 10% * 50 = 5", ("10%*50=5",), None),
        ("1/3 = 0.333, 2/3 = 0.7", ("1/3=0.333", "2/3=0.7"), "2/3=0.7"),
        ("7 / 0 = 3 and (1 + 2) * 3 = 9", ("7/0=3", "(1+2)*3=9"), None),
        ("2024-11-27 = 5", ("2024-11-27=5",), "2024-11-27=5"),
        ("no numbers", (), None),
    ],
)
def test_equations_are_found_and_evaluated(text, found, wrong) -> None:
    assert equations(text) == found
    assert first_wrong(text) == wrong


def test_a_reward_model_puts_the_best_first() -> None:
    def reward(prompts, completions):
        assert len(prompts) == len(completions)
        return [float(len(completion[0]["content"])) for completion in completions]

    reward.fingerprint = "reward:1"
    made = run([row("q", "3")], {"q": MIXED}, reward=reward, max_per_prompt=1)
    assert texts_of(made.rows) == ["a\n#### 3"]
    scored = json.loads(made.rows[0]["provenance"])["steps"][-1]
    assert scored == {"step": "reward", "score": 8.0}
    made = run([row("q", "3")], {"q": MIXED}, reward=reward, output="preference")
    assert texts_of(made.rows, "chosen") == ["a\n#### 3"]


def test_a_system_prompt_is_part_of_what_is_asked_and_not_of_the_row() -> None:
    seen = []

    def script(messages, sample):
        seen.append([message["role"] for message in messages])
        return "#### 3"

    made = synth.run(
        "rejection_sampling",
        [row("q", "3")],
        Scripted(script),
        verifier=verifiers.get("math"),
        sampling=Sampling(),
        system="Be brief.",
    )
    assert seen[0] == ["system", "user"]
    assert [message["role"] for message in made.rows[0]["prompt"]] == ["user"]


def test_hostile_completions_are_rejected_and_counted() -> None:
    hostile = ["", "\x00" * 99, "3 " * 1_000_000, "q", "\\boxed{" * 99_999, "\ud83d"]
    made = run([row("q", "3")], {"q": hostile}, check_equations=True, distinct="equations")
    # An empty text and one that can't be encoded are two; of equal ones a second would go.
    assert made.rows == [] and made.counts.dropped["verify:wrong"] == len(hostile)


def test_mistakes_are_named() -> None:
    texts = {"q": ["#### 3"]}
    with pytest.raises(ValueError, match="'rejection_samping'; did you mean 'rejection_sampling'"):
        synth.settings("rejection_samping")
    with pytest.raises(ValueError, match="no setting 'sample'; did you mean 'samples'"):
        run([row("q", "3")], texts, sample=3)
    with pytest.raises(ValueError, match="verifier"):
        synth.run("rejection_sampling", [], Scripted(None), sampling=Sampling())
    for bad in ({"samples": 0}, {"samples": True}, {"max_per_prompt": 0}, {"output": "dpo"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            run([row("q", "3")], texts, **bad)
    with pytest.raises(ValueError, match="row 0 has no answer"):
        run([{"id": "q", "prompt": [1]}], texts)
    assert run([], texts).rows == []


def test_settings_are_declared_for_the_recipe() -> None:
    names = {field.name for field in fields(synth.settings("rejection_sampling"))}
    assert {"samples", "max_per_prompt", "pairs_per_prompt", "reference_solutions"} <= names
