"""Planted: good characters, and others each spoilt in its own way at one step."""

import json
import re

import pytest

import synth
from synth import role_play
from synth.flow.item import Item
from synth.flow.stream import Stream
from synth.role_play import Settings
from synth.role_play.dialogues import reply_of
from synth.role_play.questions import names_source
from tests.synth.scripted import Completion, Failure, Sampling, Scripted, last

PROFILE = (
    "Keeper {n} was born in the harbour town of Oldmouth in 1702. At nine the keeper ran away to "
    "sea with an uncle, and came back with one eye and a parrot. Since then the keeper has tended "
    "the lighthouse, and writes down every ship that passes in a green book."
)
EVIDENCE = ("At nine the keeper ran away to sea", "every ship that passes in a green book")
QUESTIONS = ("How did you get to the sea, keeper {n}?", "What do you write down, keeper {n}?")
BEYOND = "Which radio channel do you call ships on, keeper {n}?"
GOOD = "I was but nine, lad, when I followed my uncle aboard ship {n}."
REFUSAL = "Radio? That word never came ashore here at light {n}. I burn oil and hope."
PRETENCE = "Channel sixteen, of course, it is what light {n} has always used."


def characters(numbers=range(4)) -> list[dict]:
    return [
        {"id": f"k{n}", "name": f"Keeper {n}", "profile": PROFILE.format(n=n), "source": "books"}
        for n in numbers
    ]


def actor(spoilt=None):
    """A model that does all well, but for `spoilt`: by (step, number) what it says instead."""
    spoilt = spoilt or {}
    steps = {
        "invent what people would ask": "ask_known",
        "cannot answer, because": "ask_unknown",
        "tell what a character can know": "screen",
        "then speak as that character": "answer_known",
        "know only what the character": "answer_unknown",
        "who is curious": "follow_known",
        "does not believe": "follow_unknown",
        "bad examples on purpose": "pretend",
        "how well a character was played. ": "check_known",
        "asked about what it cannot know": "check_unknown",
    }

    def script(messages, sample):
        told = next(step for text, step in steps.items() if text in messages[0]["content"])
        asked = messages[1]["content"]
        n = int(re.search(r"Keeper (\d+)", asked)[1])
        if told == "check_unknown" and "Channel sixteen" in asked:
            told = "check_pretence"
        if (told, n) in spoilt:
            said = spoilt[told, n]
            return said(messages, sample) if callable(said) else said
        known = [
            {"evidence": quote, "question": text.format(n=n)}
            for quote, text in zip(EVIDENCE, QUESTIONS, strict=True)
        ]
        return {
            "ask_known": json.dumps({"questions": known}),
            "ask_unknown": json.dumps(
                {"questions": [{"why": "Radio is later.", "question": BEYOND.format(n=n)}]}
            ),
            "screen": screened("beyond" if "radio" in asked else "stated"),
            "answer_known": GOOD.format(n=n),
            "answer_unknown": REFUSAL.format(n=n),
            "follow_known": f"And what came of your eye, {asked.count('User:')}?",
            "follow_unknown": f"Surely you have heard of it, {asked.count('User:')}?",
            "pretend": PRETENCE.format(n=n),
            "check_known": known_verdict(),
            "check_unknown": unknown_verdict(),
            "check_pretence": unknown_verdict(in_character=False, refuses=False),
        }[told]

    return script


def screened(answer: str) -> str:
    return json.dumps({"reason": "So it is.", "answer": answer})


def known_verdict(**more) -> str:
    sound = {"reason": "Fine.", "in_character": True, "supported": True, "knowledge": 9}
    return json.dumps({**sound, **more})


def unknown_verdict(**more) -> str:
    return json.dumps({"reason": "Fine.", "in_character": True, "refuses": True, **more})


def ask(*pairs, key="evidence") -> str:
    return json.dumps({"questions": [{key: ground, "question": text} for ground, text in pairs]})


def settings(**more):
    return {"sampling": Sampling(), "max_failed": 1.0, "questions": 2, "contrastive": 1, **more}


def run(rows=None, script=None, **more):
    rows = characters() if rows is None else rows
    return synth.run("role_play", rows, Scripted(script or actor()), **settings(**more))


SPOILT = {
    ("ask_known", 1): "I would ask about the parrot.",
    ("ask_known", 2): Completion("{", "length"),
    ("ask_known", 3): ask((EVIDENCE[0], "Who are you?"), (EVIDENCE[1], "Who ARE you")),
    ("ask_known", 4): ask(
        ("At ten the keeper ran away to sea", "When?"), (EVIDENCE[1], "What does the profile say?")
    ),
    ("ask_unknown", 5): Failure("http_500"),
    ("screen", 6): screened("unstated"),
    ("screen", 7): lambda m, _: screened("stated" if "radio" in last(m) else "beyond"),
    ("screen", 8): "It can't be told.",
    ("answer_known", 9): "As an AI language model, I can't have been at sea.",
    ("answer_unknown", 9): "The profile says nothing of radio.",
    ("answer_known", 10): "So it was: " + PROFILE[40:150],
    ("answer_unknown", 10): "Keeper 10: ...",
    ("check_known", 11): known_verdict(supported=False),
    ("check_unknown", 11): unknown_verdict(refuses=False),
    ("check_known", 12): known_verdict(in_character=False),
    ("check_unknown", 12): unknown_verdict(in_character=False),
    ("check_known", 13): known_verdict(knowledge=6),
    ("check_unknown", 13): unknown_verdict(refuses="yes"),
    ("check_known", 14): known_verdict(knowledge=11),
    ("answer_unknown", 14): "<think>Radio, radio.</think>",
}
BAD_PROFILES = [
    {"id": "no-profile", "name": "Nobody"},
    {"id": "empty", "name": "Nobody", "profile": " \n"},
    {"id": "no-name", "name": " ", "profile": PROFILE},
    {"id": "short", "name": "Shorty", "profile": "A short man."},
    {"id": "table", "name": "Nobody", "profile": "1;2;3;4;" * 100},
    {"id": "enormous", "name": "Nobody", "profile": PROFILE * 100},
]


def test_exactly_the_good_come_out_and_each_bad_one_under_its_reason():
    made = run([*characters(range(15)), *BAD_PROFILES], actor(SPOILT))
    kept = [(row["id"], row["knowledge"]) for row in made.rows]
    assert kept == [
        *[("k0", "known")] * 2,
        ("k0", "unknown"),
        *[(f"k{n}", "unknown") for n in (1, 2)],
        ("k3", "known"),  # the first of two that are the same
        *[(f"k{n}", "unknown") for n in (3, 4)],
        *[("k5", "known")] * 2,
    ]
    assert made.counts.dropped == {
        "answer:empty": 1,  # 10
        "answer:names_profile": 1,  # 9
        "answer:recites": 2,  # 10
        "answer:speaks_as_model": 2,  # 9
        "answer:unparsed": 1,  # 14, nothing after its thoughts
        "ask_known:duplicate": 1,  # 3
        "ask_known:names_profile": 1,  # 4
        "ask_known:no_evidence": 1,  # 4
        "ask_known:truncated": 1,  # 2
        "ask_known:unparsed": 1,  # 1
        "ask_unknown:failed:http_500": 1,  # 5
        "check_known:low_knowledge": 2,  # 13
        "check_known:out_of_character": 2,  # 12
        "check_known:undecided": 2,  # 14, a score above 10
        "check_known:unsupported": 2,  # 11
        "check_unknown:out_of_character": 1,  # 12
        "check_unknown:pretends_to_know": 1,  # 11
        "check_unknown:undecided": 1,  # 13
        # The answers whose questions are all gone: of 4 the known ones, of 6 to 14 both; these
        # characters themselves; and from 9 on, the questions.
        "nothing_left": 1 + 9 * 2 + 9 + 6 * 3,
        "profile:empty": 1,
        "profile:missing": 1,
        "profile:no_name": 1,
        "profile:not_prose": 1,
        "profile:too_long": 1,
        "profile:too_short": 1,
        "screen:known_is_beyond": 2,  # 7
        "screen:known_is_unstated": 2,  # 6
        "screen:undecided": 3,  # 8
        "screen:unknown_is_stated": 1,  # 7
        "screen:unknown_is_unstated": 1,  # 6
    }
    # Of the judged dialogues 11 to 14; 14 gets no knowledge score.
    assert made.metrics == {
        "consistency": pytest.approx(1 - 3 / 18),
        "knowledge": pytest.approx((5 * 9 + 2 * 9 + 2 * 9 + 2 * 6) / 11),
        "refusals": pytest.approx(6 / 7),
    }


def test_a_row_sets_the_character_by_its_system_prompt():
    known, _, unknown = run(characters([0])).rows
    assert [m["role"] for m in known["prompt"]] == ["system", "user"]
    assert known["prompt"][0]["content"].startswith("You are Keeper 0.")
    assert PROFILE.format(n=0) in known["prompt"][0]["content"]
    assert known["prompt"][1]["content"] == QUESTIONS[0].format(n=0)
    assert known["completion"] == [{"role": "assistant", "content": GOOD.format(n=0)}]
    assert (known["ground"], known["source"], known["turn"]) == (EVIDENCE[0], "books", 1)
    assert unknown["completion"][0]["content"] == REFUSAL.format(n=0)
    assert unknown["ground"] == "Radio is later." and "profile" not in unknown
    named = run(characters([0]), system="name").rows[0]["prompt"][0]["content"]
    assert "Keeper 0" in named and "Oldmouth" not in named


def test_a_dialogue_of_several_turns_is_a_row_for_each_of_them():
    spoilt = {("ask_known", 0): ask((EVIDENCE[0], QUESTIONS[0].format(n=0)))}  # fewer will do
    rows = run(characters([0]), actor(spoilt), turns=3).rows
    assert [(row["knowledge"], row["turn"]) for row in rows] == [
        ("known", 1), ("known", 2), ("known", 3), ("unknown", 1), ("unknown", 2), ("unknown", 3)
    ]  # fmt: skip
    roles = [[m["role"] for m in row["prompt"]] for row in rows[:3]]
    assert roles[2] == ["system", *["user", "assistant"] * 2, "user"]
    assert rows[1]["prompt"][:2] == rows[0]["prompt"]
    assert rows[1]["prompt"][2:3] == rows[0]["completion"]
    assert rows[2]["prompt"][-1]["content"] == "And what came of your eye, 2?"
    assert rows[5]["prompt"][-1]["content"] == "Surely you have heard of it, 2?"


def test_follow_ups_that_are_none_end_their_dialogues():
    spoilt = {
        ("follow_known", 0): f"User: {QUESTIONS[0].format(n=0)}",
        ("follow_unknown", 0): "Your profile must say so!",
        ("follow_known", 1): "User:",
        ("follow_unknown", 1): Completion("Surely", "length"),
    }
    made = run(characters([0, 1]), actor(spoilt), turns=2, questions=2)
    assert [row["ground"] for row in made.rows] == [EVIDENCE[1]] * 2
    assert made.counts.dropped == {
        "follow:empty": 2,
        "follow:names_profile": 1,
        "follow:repeats": 1,
        "follow:truncated": 1,
        # Their questions, replies, the answers with the questions, and one character.
        "nothing_left": 5 * 2 + 3 + 1,
    }


def test_preferences_set_a_refusal_against_an_answer_that_pretends():
    spoilt = {
        ("pretend", 1): "I do not know it, lad.",
        ("pretend", 2): "As an AI, I know that it is channel sixteen.",
        ("check_pretence", 3): "no idea",
        ("answer_unknown", 4): PRETENCE.format(n=4),
    }
    made = run(characters(range(5)), actor(spoilt), output="preference")
    (row,) = made.rows
    assert row["prompt"][-1] == {"role": "user", "content": BEYOND.format(n=0)}
    assert row["chosen"] == [{"role": "assistant", "content": REFUSAL.format(n=0)}]
    assert row["rejected"] == [{"role": "assistant", "content": PRETENCE.format(n=0)}]
    assert "completion" not in row and row["knowledge"] == "unknown"
    assert made.counts.dropped == {
        "check_pretence:refuses": 1,  # 1
        "check_pretence:undecided": 1,  # 3
        "check_unknown:out_of_character": 1,  # 4
        "nothing_left": 3 * 5 + 3,  # 1 to 3 down to the unanswered dialogue; 4 to its question
        "pretend:speaks_as_model": 1,  # 2
    }


def test_the_rejected_answer_is_to_the_last_turn():
    (row,) = run(characters([0]), output="preference", turns=2).rows
    assert [m["role"] for m in row["prompt"]] == ["system", "user", "assistant", "user"]
    assert row["rejected"][0]["content"] == PRETENCE.format(n=0)


@pytest.mark.parametrize("output", ["sft", "preference"])
def test_windows_and_order_change_nothing(output):
    rows, script = characters(range(15)), actor(SPOILT)
    made = run(rows, script, output=output).rows
    chosen = Settings(**settings(output=output))
    parts = list(Stream(role_play, rows, Scripted(script), chosen, window_rows=1))
    assert [row for part in parts for row in part.rows] == made
    backwards = run(rows[::-1], script, output=output).rows
    assert sorted(map(str, backwards)) == sorted(map(str, made))


def test_more_than_half_of_the_votes_must_be_for_a_dialogue():
    def votes(*said):
        return lambda messages, sample: said[sample]

    spoilt = {
        ("check_known", 0): votes(*[known_verdict(knowledge=k) for k in (6, 7, 8)]),
        ("check_known", 1): votes(*[known_verdict(supported=yes) for yes in (True, False, "?")]),
        ("check_unknown", 0): votes(*[unknown_verdict(refuses=r) for r in (True, False, True)]),
        ("check_unknown", 1): votes(*[unknown_verdict(refuses=r) for r in (True, False, False)]),
    }
    made = run(characters([0, 1]), actor(spoilt), votes=3)
    assert [row["id"] for row in made.rows] == ["k0"] * 3
    assert made.counts.dropped["check_known:unsupported"] == 2
    assert made.counts.dropped["check_unknown:pretends_to_know"] == 1


def test_a_judge_of_its_own_is_asked_for_screens_and_checks_alone():
    model, judge = Scripted(actor()), Scripted(actor(), fingerprint="judge:1")
    synth.run("role_play", characters([0]), model, **settings(judge=judge))
    assert judge.num_asked == 3 + 3
    assert not any("reason" in asked for asked in model.asked if "JSON schema" in asked)


def test_a_machine_may_say_that_it_is_one():
    row = characters([0])[0]
    spoilt = {("answer_known", 0): "I am an AI, lad, and I went to sea at nine."}
    assert run([row], actor(spoilt)).counts.dropped["answer:speaks_as_model"] == 2
    row["profile"] += " In truth the keeper is a robot."
    assert "answer:speaks_as_model" not in run([row], actor(spoilt)).counts.dropped


def test_a_long_profile_can_be_cut():
    row = {"id": "k0", "name": "Keeper  0", "profile": PROFILE.format(n=0) + " More." * 100}
    made = run([row], max_characters=400, too_long="cut").rows[0]
    assert made["name"] == "Keeper 0" and len(made["prompt"][0]["content"]) < 520


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("Ann (the Bold): Aye.", "Aye."),
        ("**Ann (the Bold):** Aye.", "Aye."),
        ("Ann (the Bold)\uff1aAye.", "Aye."),
        ("Aye. Ann (the Bold): no.", "Aye. Ann (the Bold): no."),
    ],
)
def test_the_name_before_a_reply_is_no_part_of_it(said, reply):
    assert reply_of(Item("a", {"name": "Ann (the Bold)"}, value=said)) == reply


@pytest.mark.parametrize(
    "text",
    ["My profile says so.", "As the text has it", "根据资料，我生于海边。", "In this role-play"],
)
def test_talk_of_the_profile_is_found(text):
    assert names_source(text)


@pytest.mark.parametrize(
    "text", ["I keep a low profile.", "A text from my uncle", "这里没有资料。"]
)
def test_other_talk_is_not(text):
    assert not names_source(text)


def test_there_are_chinese_prompts_for_every_step():
    seen = []

    def script(messages, sample):
        seen.append(messages[0]["content"])
        return Failure("http_500")

    run(characters([0]), script, language="zh")
    assert all(re.search("[\u4e00-\u9fff]", system) for system in seen) and len(seen) == 2
    names = {path.name.split(".")[0] for path in (synth_prompts()).glob("*.en.txt")}
    for name in names:
        english, chinese = (blanks(name, language) for language in ("en", "zh"))
        assert english == chinese, name


def synth_prompts():
    from synth.flow.templates import PROMPTS

    return PROMPTS / "role_play"


def blanks(name: str, language: str) -> set[str]:
    text = (synth_prompts() / f"{name}.{language}.txt").read_text(encoding="utf-8")
    return set(re.findall(r"\$([a-z]+)", text))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"min_knowledge": 11}, "min_knowledge is 11; give at most 10"),
        ({"min_characters": 30_000}, "min_characters 30000 is above max_characters 20000"),
        ({"output": "preference", "contrastive": 0}, "'preference' needs at least 1"),
        ({"questions": 0, "contrastive": 0}, "give at least 1 of either"),
        ({"turns": 0}, "turns is 0"),
        ({"system": "all"}, "give one of profile, name"),
        ({"language": "fr"}, "in language 'fr'; there are en, zh"),
    ],
)
def test_mistakes_are_named(bad, message):
    with pytest.raises(synth.SynthesisError, match=message):
        run(**bad)
