import json
from collections import Counter
from dataclasses import dataclass, fields

import pytest

import synth
import verifiers
from synth.pairing import pairs


@dataclass(frozen=True)
class Sampling:
    temperature: float = 1.0
    max_tokens: int = 16


@dataclass(frozen=True)
class Completion:
    text: str
    finish_reason: str = "stop"
    token_ids: tuple[int, ...] = ()


class Engine:
    """Hands out prepared completions, the same for a prompt whatever else is asked."""

    fingerprint = "fake:1"

    def __init__(self, texts: dict[str, list[str | Completion]]):
        self.texts = texts

    def generate(self, prompts, *, n, sampling, seed, on_progress=None):
        groups = [self.texts[prompt[-1]["content"]][:n] for prompt in prompts]
        if on_progress:
            on_progress(len(prompts), len(prompts), 7)
        return [[Completion(c) if isinstance(c, str) else c for c in group] for group in groups]


def row(question: str, answer: str, **more: str) -> dict:
    prompt = [{"role": "user", "content": question}]
    return {"id": f"id-{question}", "prompt": prompt, "answer": answer, "task": "t", **more}


def run(prompts, texts, **settings):
    chosen = {"verifier": verifiers.get("math"), "sampling": Sampling(), "seed": 3, **settings}
    chosen.setdefault("samples", len(next(iter(texts.values()))))
    return synth.run("rejection_sampling", prompts, Engine(texts), **chosen)


MIXED = ["#### 3", "a\n#### 3", "a  \n#### 3 ", "b\n#### 3", "#### 4", "", "junk", "5\n#### 5"]
CUT = Completion("#### 3", finish_reason="length")


def total(counts: dict[str, int]) -> int:
    return sum(n for key, n in counts.items() if "/" not in key and key != "candidates")


def test_sft_keeps_distinct_right_completions_and_accounts_for_all() -> None:
    made = run([row("q", "3")], {"q": [*MIXED, CUT]}, max_per_prompt=2)
    assert [r["completion"][0]["content"] for r in made.rows] == ["#### 3", "a\n#### 3"]
    assert made.counts == {
        "candidates": 9,
        "candidates/sampled": 9,
        "kept": 2,
        "wrong": 4,
        "duplicate": 1,
        "over_max": 1,
        "truncated": 1,
        "prompts/total": 1,
    }
    assert made.counts["candidates"] == total(made.counts)


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
    assert provenance == {
        "method": "rejection_sampling",
        "method_version": 1,
        "model": "fake:1",
        "sampling": {"temperature": 1.0, "max_tokens": 16},
        "seed": 3,
        "verifier": "verifiers.math.judging.verify",
        "parent": "id-q",
        "source": "sample",
        "sample": 1,
        "verdict": {"correct": True, "score": 1.0, "reason": "equal", "detail": ""},
    }


def test_undecided_is_neither_right_nor_wrong() -> None:
    made = run([row("q", "no\nmark")], {"q": ["#### 3", "x"]}, output="preference")
    assert made.rows == [] and made.counts["undecided:unparsable_reference"] == 2
    assert "wrong" not in made.counts and made.counts["prompts/no_right_answer"] == 1


def test_the_worked_solution_is_one_more_candidate_and_is_verified() -> None:
    prompts = [
        row("a", "3", solution="work\n#### 3"),
        row("b", "3", solution="slip\n#### 4"),
        row("c", "3"),
    ]
    texts = {key: ["x"] for key in "abc"}
    made = run(prompts, texts, reference_solutions=True)
    (only,) = made.rows
    provenance = json.loads(only["provenance"])
    assert (only["id"], provenance["source"], provenance["sample"]) == ("id-a", "reference", None)
    assert made.counts["candidates/reference"] == 2 and made.counts["candidates"] == 5
    assert made.counts["prompts/no_reference_solution"] == 1
    assert total(made.counts) == 5
    assert run(prompts, texts).rows == []


def test_pairs_set_right_against_wrong_and_account_for_all() -> None:
    prompts = [row("q", "3"), row("all right", "3"), row("all wrong", "3")]
    texts = {"q": MIXED, "all right": ["#### 3"] * 8, "all wrong": ["#### 4"] * 8}
    made = run(prompts, texts, output="preference", pairs_per_prompt=3)
    assert [r["id"] for r in made.rows] == ["id-q"] * 3
    for made_row in made.rows:
        provenance = json.loads(made_row["provenance"])
        assert provenance["chosen"]["verdict"]["correct"] is True
        assert provenance["rejected"]["verdict"]["correct"] is False
        assert provenance["chosen"]["sample"] != provenance["rejected"]["sample"]
        assert "#### 3" in made_row["chosen"][0]["content"]
        assert "#### 3" not in made_row["rejected"][0]["content"]
    assert len({r["chosen"][0]["content"] for r in made.rows}) == 3  # spread, not one thrice
    assert len({r["rejected"][0]["content"] for r in made.rows}) == 3
    assert made.counts["kept"] == 6 and made.counts["unpaired"] == 3
    assert made.counts["pairs/kept"] == 3 and made.counts["pairs/over_max"] == 3 * 4 - 3
    assert made.counts["prompts/no_right_answer"] == made.counts["prompts/no_wrong_answer"] == 1
    assert made.counts["candidates"] == total(made.counts) == 24


@pytest.mark.parametrize("output", ["sft", "preference"])
def test_a_prompts_rows_do_not_depend_on_the_batch(output: str) -> None:
    prompts = [row(str(n), "3") for n in range(20)]
    texts = {str(n): MIXED for n in range(20)}
    whole = run(prompts, texts, output=output, pairs_per_prompt=2)
    assert whole == run(prompts, texts, output=output, pairs_per_prompt=2)
    single = [run([p], texts, output=output, pairs_per_prompt=2).rows for p in prompts]
    assert whole.rows == [made for rows in single for made in rows]


def test_another_seed_chooses_other_pairs() -> None:
    prompts, texts = [row(str(n), "3") for n in range(20)], {str(n): MIXED for n in range(20)}
    first, second = (run(prompts, texts, output="preference", seed=seed).rows for seed in (1, 2))
    texts_of = [[(r["chosen"], r["rejected"]) for r in rows] for rows in (first, second)]
    assert texts_of[0] != texts_of[1]


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


def test_hostile_completions_are_rejected_and_counted() -> None:
    hostile = ["", "\x00" * 99, "3 " * 1_000_000, "q", "\\boxed{" * 99_999, "\ud83d"]
    made = run([row("q", "3")], {"q": hostile})
    assert made.rows == [] and made.counts["wrong"] == len(hostile)


def test_mistakes_are_named() -> None:
    texts = {"q": ["#### 3"]}
    with pytest.raises(ValueError, match="'rejection_samping'; did you mean 'rejection_sampling'"):
        synth.settings("rejection_samping")
    with pytest.raises(ValueError, match="no setting 'sample'; did you mean 'samples'"):
        run([row("q", "3")], texts, sample=3)
    with pytest.raises(ValueError, match="verifier"):
        synth.run("rejection_sampling", [], Engine({}), sampling=Sampling())
    for bad in ({"samples": 0}, {"samples": True}, {"max_per_prompt": 0}, {"output": "dpo"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            run([row("q", "3")], texts, **bad)
    with pytest.raises(ValueError, match="prompt row 0 has no answer"):
        run([{"id": "q", "prompt": []}], texts)
    with pytest.raises(ValueError, match=r"returned 1 groups of \[1\] completions"):
        run([row("q", "3")], texts, samples=2)


def test_settings_are_declared_for_the_recipe_and_progress_reaches_the_caller() -> None:
    names = {field.name for field in fields(synth.settings("rejection_sampling"))}
    assert {"samples", "max_per_prompt", "pairs_per_prompt", "reference_solutions"} <= names
    seen = []
    run([row("q", "3")], {"q": ["x"]}, on_progress=lambda *numbers: seen.append(numbers))
    assert seen == [(1, 1, 7)]
    assert run([], {"q": ["x"]}).rows == []
