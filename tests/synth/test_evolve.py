"""Planted: sixteen instructions, of which each bad one evolves badly in its own way."""

import json
import re
from collections import Counter
from math import sqrt

import pytest

import synth
from synth import evolve
from synth.evolve import Settings
from synth.evolve.instruction import read
from synth.evolve.moves import MOVES, drawn
from synth.evolve.rules import copied, is_sorry, num_words, says_nothing
from synth.evolve.trees import kept_share, mentioned, read_tree
from synth.flow.item import Answer
from synth.flow.stream import Stream
from synth.flow.templates import PROMPTS
from tests.synth.scripted import Completion, Failure, Sampling, Scripted


def data(number: int = 16) -> list[dict]:
    return [
        {
            "id": f"r{n}",
            "prompt": [{"role": "user", "content": f"Explain task {100 + n}"}],
            "answer": "42",
            "solution": "6 * 7",
            "topic": "tasks",
        }
        for n in range(number)
    ]


def number_of(messages) -> int:
    return int(re.search(r"task 1(\d\d)", "\n".join(m["content"] for m in messages))[1])


def step_of(messages) -> str:
    system = messages[0]["content"]
    for start, step in (
        ("You rewrite", "evolve"),
        ("You think", "evolve"),
        ("You compare", "gain"),
        ("You analyse", "tree"),
        ("You enrich", "grow"),
        ("You write instr", "linearise"),
    ):
        if system.startswith(start):
            return step
    return "respond"


def given(messages) -> str:
    return messages[1]["content"].split("-----\n")[1].strip()


def gain_json(equal: bool) -> str:
    return json.dumps({"reason": "so it is", "equal": equal})


BAD = {
    (1, "evolve"): Completion("Explain", "length"),
    (2, "evolve"): Failure("http_500"),
    (3, "evolve"): "-----\n\n-----",
    (4, "evolve"): "#Rewritten Prompt#: Explain task 104 and why",
    (5, "evolve"): "Explain  task 105",
    (6, "gain"): gain_json(True),
    (7, "gain"): "They differ.",
    (8, "respond"): "Sorry, I can't do that.",
    (9, "respond"): "And so it is, of the...",
    (10, "respond"): Completion("It is", "length"),
    (11, "respond"): Failure("timeout"),
}


def model(messages, sample):
    """Evolves as it should but for rows 1 to 11. Each evolution adds a +."""
    n, step = number_of(messages), step_of(messages)
    if (n, step) in BAD:
        return BAD[n, step]
    if step == "evolve":
        return f"-----\n{given(messages)} +\n-----"
    if step == "gain":
        return gain_json(False)
    return f"task 1{n:02d} is explained"


def run(script=model, rows=None, method="evolve", **settings):
    chosen = {"sampling": Sampling(), "max_failed": 1.0, "rounds": 1, **settings}
    return synth.run(method, data() if rows is None else rows, Scripted(script), **chosen)


def asked(row: dict) -> str:
    return row["prompt"][-1]["content"]


def test_exactly_the_good_come_out_and_each_bad_one_under_its_reason():
    made = run()
    assert [row["id"] for row in made.rows] == ["r0", "r12", "r13", "r14", "r15"]
    first = made.rows[0]
    assert asked(first) == "Explain task 100 +" and first["topic"] == "tasks"
    assert first["completion"] == [{"role": "assistant", "content": "task 100 is explained"}]
    assert len(first["moves"]) == 1 and first["moves"][0] in MOVES
    assert not {"answer", "solution", "move"} & first.keys()
    assert made.counts.dropped == {
        "evolve:copied_words": 1,  # row 4
        "evolve:failed:http_500": 1,  # row 2
        "evolve:truncated": 1,  # row 1
        "evolve:unchanged": 1,  # row 5
        "evolve:unparsed": 1,  # row 3
        "gain:none": 1,  # row 6
        "gain:undecided": 1,  # row 7
        # Of rows 1 to 11 the row and its move, of 8 to 11 the evolved instruction too.
        "nothing_left": 2 * 11 + 4,
        "respond:failed:timeout": 1,  # row 11
        "respond:no_content": 1,  # row 9
        "respond:sorry": 1,  # row 8
        "respond:truncated": 1,  # row 10
    }
    kept = {name: share for name, share in made.metrics.items() if name.startswith("kept/")}
    assert set(kept) <= {f"kept/{move}" for move in MOVES}
    assert (made.metrics["words_before"], made.metrics["words"]) == (3, 3)  # a + is no word


def test_four_rounds_make_a_row_of_each_and_go_on_from_what_is_left():
    def script(messages, sample):
        """The second evolution of row 1, and the first of row 2, are copies of our words."""
        if step_of(messages) == "evolve":
            evolutions = given(messages).count("+")
            tries[given(messages)] += 1
            if (number_of(messages), evolutions) in ((1, 1), (2, 0)) and tries[
                given(messages)
            ] == 1:
                return f"{given(messages)} + is the given prompt"
            return f"{given(messages)} +"
        return gain_json(False) if step_of(messages) == "gain" else "task 100 explained"

    tries = Counter()
    made = run(script, data(3), rounds=4)
    evolved = {
        f"r{n}": [asked(r).count("+") for r in made.rows if r["id"] == f"r{n}"] for n in (0, 1, 2)
    }
    assert evolved == {"r0": [1, 2, 3, 4], "r1": [1, 2, 3], "r2": [1, 2, 3]}
    longest = max((r for r in made.rows if r["id"] == "r0"), key=lambda row: len(row["moves"]))
    assert len(longest["moves"]) == 4
    steps = [record["step"] for record in json.loads(longest["provenance"])["steps"]]
    assert steps == ["evolve", "gain"] * 4 + ["respond"]
    assert made.counts.dropped == {"evolve:copied_words": 2, "nothing_left": 2}
    assert len({reject.id for reject in made.rejects}) == 4


def test_an_instruction_never_tries_a_move_twice():
    def script(messages, sample):
        if step_of(messages) == "evolve":
            seen.append(messages[0]["content"] + messages[1]["content"])
            return "The rewritten prompt: none"
        raise AssertionError

    seen = []
    made = run(script, data(1), rounds=9)
    assert len(seen) == len(set(seen)) == len(MOVES)
    assert made.counts.dropped == {"evolve:copied_words": 6, "nothing_left": 7}
    assert len({reject.id for reject in made.rejects}) == 13


def test_prompts_come_out_without_what_held_for_the_old_ones():
    made = run(output="prompts")
    assert made.rows[0].keys() == {"id", "prompt", "topic", "moves", "provenance"}
    assert [asked(row) for row in made.rows] == [asked(row) for row in run().rows]


def test_windows_and_order_change_nothing():
    chosen = Settings(sampling=Sampling(), max_failed=1.0, rounds=3)
    parts = list(Stream(evolve, data(), Scripted(model), chosen, window_rows=1))
    by_one = sorted(row["provenance"] for part in parts for row in part.rows)
    assert by_one == sorted(row["provenance"] for row in run(rounds=3).rows)
    backwards = run(rows=data()[::-1], rounds=3).rows
    assert sorted(row["provenance"] for row in backwards) == by_one


def test_moves_are_drawn_evenly():
    counts = Counter(drawn(f"0:{n}", MOVES) for n in range(6000))
    assert all(abs(counts[move] - 1000) < 5 * sqrt(1000 * 5 / 6) for move in MOVES)
    assert {drawn(f"0:{n}", ("deepen",)) for n in range(9)} == {"deepen"}


def test_only_single_questions_are_evolved():
    rows = data(4)
    rows[1]["prompt"] += [
        {"role": "assistant", "content": "Which?"},
        {"role": "user", "content": "task 101"},
    ]
    rows[2]["prompt"] = [{"role": "user", "content": " \n"}]
    rows[3]["prompt"].insert(0, {"role": "system", "content": "Be brief."})
    made = run(rows=[rows[0], rows[1], rows[2]])
    assert made.counts.dropped == {"prompt:dialogue": 1, "prompt:empty": 1}

    def script(messages, sample):
        return model(messages[1:] if messages[0]["content"] == "Be brief." else messages, sample)

    rows[3]["prompt"][-1]["content"] = "Explain task 112"
    (made,) = run(script, rows[3:]).rows
    assert [m["content"] for m in made["prompt"]] == ["Be brief.", "Explain task 112 +"]


def test_the_rules_of_elimination():
    assert copied("The #Given Prompt# is", "") == "given prompt"
    assert copied("改写后的提示：写诗", "写诗") == "改写后的提示"
    assert copied("Shorten the given prompt", "What is a given prompt?") is None
    assert is_sorry("I'm sorry, but " + "no " * 76, 80) is True
    assert is_sorry("I'm sorry, but " + "no " * 77, 80) is False  # 80 words
    assert is_sorry("很抱歉，我做不到。", 80) is True
    assert is_sorry("抱歉" + "长" * 78, 80) is False
    assert is_sorry("All is well", 80) is False
    assert says_nothing("... !?") and says_nothing("") and says_nothing("It’s on the, of all.")
    assert says_nothing("是的。")
    assert not any(map(says_nothing, ("42", "Paris.", "x = y", "是狗")))
    assert num_words("Don't stop, 3 dogs 和狗") == 6


def test_fences_of_the_question_are_no_part_of_the_answer():
    def instruction(text: str) -> str:
        return read(Answer(text, "stop", 1, {}))

    assert instruction("-----\nDo it\n-----") == "Do it"
    assert instruction("- one\n-----\n- two") == "- one\n-----\n- two"
    assert instruction("<think>\nhm\n</think>\nDo it") == "Do it"
    with pytest.raises(ValueError, match="between the lines"):
        instruction("-----\n-----")


def tree_json(*labels: str) -> str:
    nodes = [
        {"id": i, "label": label, "parent": max(i - 1, 1) if i > 1 else None}
        for i, label in enumerate(labels, 1)
    ]
    return json.dumps({"nodes": nodes})


OLD = ("Explain", "task")
NEW = ("briefly", "old", "dogs")
GROWN = "Explain briefly the task 1{n:02d} of old dogs"


def gardener(messages, sample):
    """Grows trees by three as it should but for rows 1 to 10."""
    n, step = number_of(messages), step_of(messages)
    label = str(100 + n)
    bad = {
        (1, "tree"): "Explain -> task",
        (2, "tree"): json.dumps({"nodes": [{"id": 1, "label": "Explain", "parent": 2}]}),
        (3, "tree"): tree_json("Write", "poem", "sea", label),
        (4, "grow"): tree_json(*OLD, label, *NEW[:2]),
        (5, "grow"): tree_json("Explain", "problem", label, *NEW, "cats"),
        (6, "grow"): Completion(tree_json(*OLD), "length"),
        (7, "linearise"): f"Explain task {label}",
        (8, "linearise"): f"Explain the task {label} shortly, for animals; the semantic tree",
        (9, "gain"): gain_json(True),
        (10, "respond"): "sorry!",
    }
    if (n, step) in bad:
        return bad[n, step]
    return {
        "tree": tree_json(*OLD, label),
        "grow": tree_json(*OLD, label, *NEW),
        "linearise": GROWN.format(n=n),
        "gain": gain_json(False),
        "respond": "task explained",
    }[step]


def test_trees_grow_and_each_bad_one_goes_under_its_reason():
    made = run(gardener, data(12), style="tree", nodes=3, min_mentioned=0.75)
    assert [row["id"] for row in made.rows] == ["r0", "r11"]
    first = made.rows[0]
    assert asked(first) == GROWN.format(n=0)
    assert (first["nodes_before"], first["nodes"]) == (3, 6)
    assert first["completion"][0]["content"] == "task explained"
    assert made.counts.dropped == {
        "gain:none": 1,  # row 9
        "grow:lost_nodes": 1,  # row 5
        "grow:too_few_nodes": 1,  # row 4
        "grow:truncated": 1,  # row 6
        "linearise:left_out": 2,  # rows 7, 8
        # Rows 1 to 10; of 4 to 6 the tree too, of 7 to 9 two trees, of 10 the instruction too.
        "nothing_left": 10 + 3 * 1 + 3 * 2 + 3,
        "respond:sorry": 1,  # row 10
        "tree:another_instruction": 1,  # row 3
        "tree:unparsed": 2,  # rows 1, 2
    }
    assert (made.metrics["words_before"], made.metrics["words"]) == (3, 8)
    steps = [record["step"] for record in json.loads(first["provenance"])["steps"]]
    assert steps == ["tree", "grow", "linearise", "gain", "respond"]


def nodes(*labels: str) -> list[dict]:
    return json.loads(tree_json(*labels))["nodes"]


def test_nine_tenths_of_the_old_nodes_must_stay():
    old = nodes(*"abcdefghij")
    assert kept_share(old, nodes(*"abcdefghi", "new")) == 0.9
    assert kept_share(nodes("a", "a"), nodes("A", "b")) == 0.5
    assert Settings(sampling=Sampling()).min_kept_nodes == 0.9


def test_a_tree_is_one_whose_nodes_hang_on_earlier_ones():
    good = {"nodes": nodes("a", "b", "c")}
    assert read_tree(good) == good["nodes"]
    for change, message in (
        ({"id": 1}, "two nodes 1"),
        ({"parent": 3}, "node 2 hangs on 3"),
        ({"parent": None}, "node 2 hangs on None"),
    ):
        bad = json.loads(json.dumps(good))
        bad["nodes"][1] |= change
        with pytest.raises(ValueError, match=message):
            read_tree(bad)


def test_words_are_found_in_other_forms():
    text = "Describe two stories about the braver dogs of New  York 与勇敢的狗"
    assert mentioned(["story", "brave", "new york", "勇敢", "cat"], text) == 0.8
    assert mentioned(["cat", "sea"], text) == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"moves": ["deepn"]}, "there is no 'deepn'; did you mean 'deepen'?"),
        ({"moves": "deepen"}, "moves is 'deepen'; give a list"),
        ({"moves": []}, "moves is \\[\\]"),
        ({"min_kept_nodes": 1.5}, "min_kept_nodes is 1.5; give a share"),
        ({"rounds": 0}, "rounds is 0"),
        ({"style": "bush"}, "style is 'bush'; give one of evol, tree"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(synth.SynthesisError, match=message):
        run(**settings)


@pytest.mark.parametrize("style", ["evol", "tree"])
def test_every_prompt_is_there_in_chinese_and_fills(style):
    names = {path.name.split(".")[0] for path in (PROMPTS / "evolve").glob("*.en.txt")}
    assert names == {*MOVES, "gain", "tree", "grow", "linearise"}
    seen = []

    def script(messages, sample):
        seen.append("\n".join(m["content"] for m in messages))
        if "equal" in seen[-1]:
            return gain_json(False)
        if '"nodes": {' in seen[-1]:  # the schema
            return tree_json("解释", "狗", *(["猫"] if "丰富" in seen[-1] else []))
        return f"解释猫和狗 {len(seen)}"

    rows = data(1)
    rows[0]["prompt"][0]["content"] = "解释狗"
    made = run(script, rows, language="zh", style=style, rounds=6, nodes=1)
    assert len(made.rows) == (6 if style == "evol" else 1)
    assert not [text for text in seen if "$" in text.partition("JSON")[0]]
