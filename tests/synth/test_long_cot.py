import json
import math
import time
from dataclasses import dataclass, fields
from types import SimpleNamespace

import pytest

import synth
import verifiers
from synth.flow.stream import Stream
from synth.flow.templates import Prompts
from synth.long_cot.candidates import read
from synth.long_cot.rules import _GUESS, repeated_share
from synth.long_cot.scripts import foreign_share
from synth.long_cot.selection import select
from synth.long_cot.validation import Validation
from tests.synth.scripted import Completion, Failure, Sampling, Scripted

QUESTION = "Question {}: Mara has {} boxes of seven pens each. How many pens are in all her boxes?"


def row(number: int, answer: str | None = None, **more) -> dict:
    text = QUESTION.format(number, number)
    prompt = [{"role": "user", "content": text}]
    return {"id": f"q{number}", "prompt": prompt, "answer": answer or str(7 * number), **more}


def thinking(number: int, voice: int = 0, answer: int | None = None) -> str:
    """A good answer to question `number`, worded differently by each voice."""
    found = 7 * number if answer is None else answer
    thought = (
        f"Let me see, voice {voice}. Seven pens in a box and {number} boxes, so I multiply. "
        f"Wait, are the boxes all full? The question says each has seven, so they are. "
        f"That gives {found}."
    )
    return f"<think>\n{thought}\n</think>\n\nAll boxes are full, so there are \\boxed{{{found}}}."


def kind(kind: str = "one_answer", domain: str = "mathematics") -> str:
    return json.dumps({"why": "as it is", "kind": kind, "domain": domain})


def review(**wrong: str) -> str:
    fine = {"reached_by": "reasoning", "conclusion": "same", "style": "steady"}
    return json.dumps({"why": "seen", **fine, **wrong})


class Model:
    """Answers of the model for each question, by what is asked of it; good ones by default."""

    def __init__(self, *, query=None, direct=None, think=None, review_of=None):
        self.query, self.direct = query or {}, direct or {}
        self.think, self.review_of = think or {}, review_of or {}

    def __call__(self, messages, sample):
        whole = "\n".join(message["content"] for message in messages)
        number = int(whole.split("Question ")[1].split(":")[0])
        if "sort questions" in whole:
            return self.query.get(number, kind())
        if "answer at once" in whole:
            return self.direct.get(number, "\\boxed{1}")
        if "how a correct answer came about" in whole:
            said = [text for mark, text in self.review_of.items() if mark in whole]
            return said[0] if said else review()
        return self.think.get(number, [thinking(number, voice) for voice in range(9)])[sample]


def run(rows, model: Model, **settings):
    chosen = {"verifier": verifiers.get("math"), "sampling": Sampling(), "samples": 2, **settings}
    return synth.run("long_cot", rows, Scripted(model), max_failed=1.0, **chosen)


def accounted(made: synth.Synthesis) -> bool:
    counts = made.counts
    return (
        counts.items == counts.used + sum(counts.dropped.values())
        and counts.source == len({r["id"] for r in made.rows} | {r.source for r in made.rejects})
    ) or print(counts)


LOOP = "Seven times three is twenty one and I check that again now. " * 12
BAD_THOUGHTS = [
    (thinking(3, answer=20), "verify:wrong"),
    (thinking(3).replace("That", f"{LOOP}That"), "repetition:heavy"),
    (thinking(3).replace("That gives 21", "I can't do it, I'll guess 21"), "guesswork:admitted"),
    (thinking(3).replace("That gives 21", "So the answer is 20"), "consistency:other_answer"),
    (thinking(3).replace("That gives", "所以总数是七乘三也就是 That gives"), "language:mixed"),
    (thinking(3).replace("That", "Ann drinks two cups of tea on every day of the week. That"),
     "validation:similar"),
    (thinking(3, 11), "review:guesswork"),
    (thinking(3, 12), "review:inconsistent"),
    (thinking(3, 13), "review:style"),
    (thinking(3, 14), "review:undecided"),
    (thinking(3, 1), "choose:over_max"),
    (thinking(3).replace(" ", "  "), "think:duplicate"),
    ("The answer is 21.", "think:unparsed"),
    ("<think>hm</think>", "think:unparsed"),
    (Completion(thinking(3, 2), "length"), "think:truncated"),
    (Failure("http_500"), "think:failed:http_500"),
]  # fmt: skip
REVIEWS = {
    "voice 11": review(reached_by="guesswork"),
    "voice 12": review(conclusion="different"),
    "voice 13": review(style="shifts"),
    "voice 14": "It is fine.",
}
VALIDATION = ["Ann drinks two cups of tea on every day of the week. How many is that?"]


def test_the_good_answer_comes_out_and_each_bad_one_goes_under_its_reason():
    rows = [row(n) for n in range(1, 9)]
    rows[7]["prompt"] = [{"role": "assistant", "content": "Question 8: go on"}]
    thoughts = [thinking(3), *[text for text, _ in BAD_THOUGHTS]]
    model = Model(
        query={1: kind("several_questions"), 2: kind("open_text"), 4: kind("unclear"), 5: "maths"},
        direct={6: "\\boxed{42}"},
        think={3: thoughts, 7: [thinking(7, voice, 48) for voice in range(len(thoughts))]},
        review_of=REVIEWS,
    )
    made = run(rows, model, samples=len(thoughts), validation=VALIDATION)
    (only,) = made.rows
    assert only["id"] == "q3" and only["completion"][0]["content"] == thinking(3)
    assert only["domain"] == "mathematics" and only["pass_rate"] == 11 / 12
    expected = {reason: 0 for _, reason in BAD_THOUGHTS}
    for _, reason in BAD_THOUGHTS:
        expected[reason] += 1
    expected["verify:wrong"] += len(thoughts)
    expected |= {
        "direct:solved": 1,
        "query:no_question": 1,
        "query:open_text": 1,
        "query:several_questions": 1,
        "query:unclear": 1,
        "query:undecided": 1,
        "verify:always_wrong": 1,
    }
    assert made.counts.dropped == dict(sorted(expected.items())) and accounted(made)
    assert made.metrics == {"always_wrong": 1.0, "pass_rate": 11 / 29, "rows/mathematics": 1.0}


def test_a_query_without_a_right_answer_is_reported_for_a_person():
    model = Model(think={1: [thinking(1, voice, 8) for voice in range(2)]})
    made = run([row(1)], model)
    (query,) = [reject for reject in made.rejects if reject.id == "q1"]
    assert query.reason == "verify:always_wrong"
    assert "none of 2 answers is right; a person should check the reference" in query.detail


def test_an_undecided_verdict_is_no_wrong_answer():
    made = run([row(1, answer="see figure")], Model())
    assert made.counts.dropped == {"direct:undecided:unparsable_reference": 1}
    made = run([row(1, answer="see figure")], Model(), direct_tokens=0)
    assert made.counts.dropped == {"nothing_left": 1, "verify:undecided:unparsable_reference": 2}


def test_who_does_what():
    asked = {}

    def engine(name):
        def script(messages, sample):
            asked.setdefault(name, set()).add(messages[0]["content"][:12])
            return Model()(messages, sample)

        return Scripted(script, fingerprint=name)

    synth.run(
        "long_cot",
        [row(1)],
        engine("model"),
        verifier=verifiers.get("math"),
        sampling=Sampling(),
        judge=engine("judge"),
        reasoner=engine("reasoner"),
    )
    assert asked == {
        "model": {"You answer a"},
        "judge": {"You sort que", "You look at "},
        "reasoner": {"Question 1: "},
    }


def test_an_answer_without_thought_has_few_tokens_and_a_cut_off_one_solves_nothing():
    seen = []

    class Watching(Scripted):
        def answer(self, prompts, samples, *, sampling, **rest):
            seen.append((prompts[0][0]["content"][:10], sampling.max_tokens))
            super().answer(prompts, samples, sampling=sampling, **rest)

    model = Model(direct={1: Completion("\\boxed{7}", "length")})
    settings = {"verifier": verifiers.get("math"), "sampling": Sampling(max_tokens=900)}
    made = synth.run("long_cot", [row(1)], Watching(model), direct_tokens=9, **settings)
    assert len(made.rows) == 1
    assert dict(seen)["You answer"] == 9 and dict(seen)["Question 1"] == 900


def test_the_row_has_the_query_as_it_was_and_the_domain_it_came_with():
    made = run([row(1, domain="pens", level=3)], Model(), instructed=False, max_per_prompt=None)
    assert len(made.rows) == 2
    for made_row in made.rows:
        assert made_row["prompt"] == row(1)["prompt"] and made_row["level"] == 3
        assert made_row["domain"] == "pens" and made_row["pass_rate"] == 1.0
    seen = []
    model = Model()
    run([row(1)], lambda *asked: seen.append(asked[0]) or model(*asked), instructed=False)
    assert row(1)["prompt"] in seen


def test_the_least_repetitive_right_answer_is_kept():
    again = thinking(1, 0).replace("Wait", "Seven pens in a box and 1 boxes, so I multiply. Wait")
    made = run([row(1)], Model(think={1: [again, thinking(1, 5)]}), repeat_words=8)
    assert "voice 5" in made.rows[0]["completion"][0]["content"]


@pytest.mark.parametrize(
    "text",
    [
        "<think> a\n</think>b",
        "a</think>\n\nb\n",
        "<think>a</think>\nb",
        " <think>\na\n</think>\n\nb",
    ],
)
def test_a_thought_and_its_answer_come_in_one_form(text):
    assert read(SimpleNamespace(text=text)).text == "<think>\na\n</think>\n\nb"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "<think>a",
        "<think>a</think>",
        "<think></think>b",
        "so <think>a</think>b",
        "<think>a</think>b</think>c",
        "<think>a</think><think>b</think>c",
    ],
)
def test_what_is_not_one_thought_and_an_answer_is_unparsed(text):
    with pytest.raises(ValueError, match=r"think|thought"):
        read(SimpleNamespace(text=text))


def test_the_repeated_share_counts_each_word_once():
    words = [f"w{n}" for n in range(20)]
    assert repeated_share(words, 3) == 0.0
    assert repeated_share(words + words, 3) == 0.5
    assert repeated_share(words + words[5:10], 5) == 5 / 25
    assert repeated_share(words + words[5:9], 5) == 0.0
    assert repeated_share(["a"] * 10, 3) == 9 / 10
    assert repeated_share(["a", "b"] * 5, 4) == 8 / 10
    assert repeated_share([], 3) == repeated_share(["a"], 3) == 0.0


ENGLISH = "How many apples does Mara have after lunch?"
CHINESE = "小明有三箱苹果，每箱 12 个，sin x 的最大值是多少？"
JAPANESE = "りんごは全部でいくつありますか。"


@pytest.mark.parametrize(
    ("text", "query", "share"),
    [
        ("She has twelve apples and eats five of them", ENGLISH, 0.0),
        ("Let $\\text{苹果苹果苹果}$ be what `苹果` says, and λ, ℵ and Ω stay small", ENGLISH, 0.0),
        ("She has twelve 苹果 left over there", ENGLISH, 2 / 6),
        ("Сначала она съела пять яблок", ENGLISH, 1.0),
        ("一共是三十六个苹果，因为 sin x 和 abc", CHINESE, 0.0),
        ("一共是三十六个苹果 because", CHINESE, 1 / 10),
        ("There are thirty apples over here", CHINESE, 1.0),
        ("全部で十二個のリンゴがあります", JAPANESE, 0.0),
        ("一共是三十六个苹果", JAPANESE, 0.0),  # Han is Japanese too; the judge may notice
        ("모두 합쳐서 사과가 열두 개 있습니다", JAPANESE, 1.0),
        ("She writes 苹果苹果 for apples here", "What does 苹果 mean in English?", 0.0),
        ("What now", ENGLISH, 0.0),
        ("苹果苹果苹果苹果苹果", "2 + 2 = ?", 0.0),
    ],
)
def test_words_of_other_scripts_than_the_querys_are_foreign(text, query, share):
    assert foreign_share(text, query) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "guesses"),
    [
        ("I'll just guess 4.", True),
        ("My best guess would be C", True),
        ("so I will pick one of them at random", True),
        ("That is only a guess, but fine.", True),
        ("看不出来，只能猜 C", True),
        ("We guess a solution of the form x^n and check it.", False),
        ("I'll guess a solution of the form e^x; it fits.", False),
        ("Choose two balls at random: 1/6.", False),
        ("I guess we can factor this: yes, it works.", False),
        ("先猜想再证明", False),
    ],
)
def test_only_an_admitted_guess_at_the_answer_is_guesswork(text, guesses):
    assert bool(_GUESS.search(text)) is guesses


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("So the answer is 21.", None),
        ("\\boxed{21}", None),
        ("So the answer is 20.", "consistency:other_answer"),
        ("\\boxed{20}", "consistency:other_answer"),
        ("So the answer is the sum of both parts, which I write up now.", None),
        ("3 * 7 = 21, as it should be", None),
        ("The answer is 20? " + "No, I forgot a box, so once more. I count them. " * 7, None),
    ],
)
def test_a_thought_contradicts_only_by_an_answer_it_ends_with(end, reason):
    text = thinking(3).replace("That gives 21.", end)
    made = run([row(3)], Model(think={3: [text]}), samples=1, max_repeated=1.0)
    assert (set(made.counts.dropped) - {"nothing_left"}) == ({reason} if reason else set())


def test_runs_shared_with_a_validation_item_are_counted_by_that_item():
    item = "one two three four five six seven eight nine ten"  # three runs of eight
    found = Validation([item, "a b c", ""], 8)
    assert found.nearest(["x", *item.split()[:8], "y"]) == (1 / 3, item)
    assert found.nearest(item.split()) == (1.0, item)
    assert found.nearest(["z", "a", "b", "c"]) == (1.0, "a b c")
    assert found.nearest(["a", "b"]) == (0.0, "")
    assert found.nearest([]) == (0.0, "")


def test_queries_like_validation_items_are_not_asked(tmp_path):
    path = tmp_path / "validation.jsonl"
    like = QUESTION.format(1, 1).replace("Mara", "Tom")
    asked = [{"role": "user", "content": QUESTION.format(2, 2)}]
    path.write_text(f"{json.dumps({'question': like})}\n\n{json.dumps({'prompt': asked})}\n")
    rows = [row(1), row(2), row(3, prompt=[{"role": "user", "content": "Question 3: 3 * 7?"}])]
    made = run(rows, Model(), seeds=path)
    assert [made_row["id"] for made_row in made.rows] == ["q3"]
    assert made.counts.dropped["query:like_validation"] == 2
    path.write_text('{"question": "a"}\nnonsense\n')
    with pytest.raises(synth.SynthesisError, match=r"validation.jsonl:2: this line is not JSON"):
        run(rows, Model(), seeds=path)
    path.write_text('{"text": ""}\n')
    with pytest.raises(synth.SynthesisError, match=r":1: a line has one of prompt, question"):
        run(rows, Model(), seeds=path)
    with pytest.raises(synth.SynthesisError, match="is no file"):
        run(rows, Model(), seeds=tmp_path / "none.jsonl")


@dataclass
class Embedder:
    """Of a text the numbers of its pens and of its apples."""

    fingerprint: str = "embedder:1"

    def embed(self, texts):
        return [[text.count("pen") + 0.1, text.count("apple") + 0.1] for text in texts]


def test_an_embedder_finds_queries_that_mean_a_validation_item():
    settings = {"embedder": Embedder(), "max_cosine": 0.99}
    made = run([row(1)], Model(), validation=["pens pens pens pens"], **settings)
    assert made.counts.dropped == {"query:means_validation": 1}
    assert run([row(1)], Model(), validation=["apple"], **settings).rows


def test_domains_are_cut_to_size_and_then_taken_in_turn():
    domains = ["a"] * 50 + ["b"] * 5 + ["c"] * 2
    rows = [
        {"id": f"r{n}", "domain": domain, "completion": [{"content": "x"}]}
        for n, domain in enumerate(domains)
    ]

    def kept(rows, **settings):
        chosen = SimpleNamespace(**{"seed": 1, "per_domain": None, "max_rows": None, **settings})
        made = select(lambda: iter(rows), chosen)
        left = [made.dropped(number) for number in range(len(rows))]
        counts = {reason: left.count(reason) for reason in set(left) - {None}}
        ids = {row["id"] for row, reason in zip(rows, left, strict=True) if reason is None}
        return made.metrics, counts, ids

    metrics, counts, ids = kept(rows, per_domain=4, max_rows=8)
    assert metrics == {"rows/a": 3.0, "rows/b": 3.0, "rows/c": 2.0}
    assert counts == {"select:per_domain": 47, "select:max_rows": 2}
    assert kept(rows[::-1], per_domain=4, max_rows=8)[2] == ids
    assert kept(rows, per_domain=4, max_rows=8, seed=2)[2] != ids
    assert kept(rows)[1] == {}


def test_a_selection_is_made_of_all_rows_whatever_the_window():
    rows = [row(n) for n in range(1, 13)]
    model = Model(query={n: kind(domain="logic") for n in range(1, 5)})
    chosen = {"verifier": verifiers.get("math"), "sampling": Sampling(), "per_domain": 3}
    settings = synth.checked_settings("long_cot", chosen)

    def made(window_rows):
        stream = Stream(
            synth.get("long_cot"), rows, Scripted(model), settings, window_rows=window_rows
        )
        return [made_row for part in stream for made_row in part.rows], stream.counts.dropped

    whole, dropped = made(512)
    assert [made_row["domain"] for made_row in whole].count("logic") == 3 and len(whole) == 6
    assert dropped["select:per_domain"] == 6
    assert made(1) == (whole, dropped)


def test_hostile_answers_cost_no_more_than_their_length():
    hostile = ["\\[" * 50_000, "$$ " * 50_000, "`" * 100_000, "a " * 60_000, "I'll take " * 20_000]
    start = time.monotonic()
    for text in hostile:
        foreign_share(text, ENGLISH)
        _GUESS.search(text)
        repeated_share(text.split(), 12)
    assert time.monotonic() - start < 20  # quadratic ones would take minutes


def test_mistakes_are_named():
    for bad in ({"samples": 0}, {"domains": "maths"}, {"domains": []}, {"per_domain": 0}):
        with pytest.raises(synth.SynthesisError, match=next(iter(bad))):
            run([row(1)], Model(), **bad)
    with pytest.raises(synth.SynthesisError, match="verifier"):
        synth.run("long_cot", [], Scripted(None), sampling=Sampling())
    with pytest.raises(synth.SynthesisError, match="no setting 'reasonr'; did you mean 'reasoner'"):
        run([row(1)], Model(), reasonr=None)
    names = {field.name for field in fields(synth.settings("long_cot"))}
    assert {"reasoner", "judge", "embedder", "verifier", "seeds"} <= names
    assert math.isclose(synth.settings("long_cot").max_repeated, 0.2)


def test_the_prompts_of_both_languages_have_the_same_blanks():
    blanks = {"query": "[q]", "answer": "[a]", "domains": "[d]", "thought": "[t]", "summary": "[s]"}
    for name in ("query", "direct", "think", "review"):
        shown = []
        for language in ("en", "zh"):
            filled = Prompts("long_cot", language).get(name).fill(blanks)
            text = "\n".join(message["content"] for message in filled)
            shown.append({blank for blank in blanks.values() if blank in text})
        assert shown[0] == shown[1] and "[q]" in shown[0]
