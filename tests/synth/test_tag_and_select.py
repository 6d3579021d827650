import json
from collections import Counter

import numpy as np
import pytest

import synth
from synth.flow.settings import Settings as Common
from synth.flow.stream import Stream
from synth.tag_and_select import Settings, diverse, select
from synth.tag_and_select.tags import implied, near, normalised, rule_form
from tests.synth.scripted import Completion, Failure, Sampling, Scripted, last


def data(number: int) -> list[dict]:
    return [
        {"id": f"r{n}", "prompt": [{"role": "user", "content": f"query {n} end"}], "answer": "a"}
        for n in range(number)
    ]


def query_of(messages) -> int:
    return int(messages[1]["content"].split("query ")[1].split(" end")[0])


def tags_json(*names: str) -> str:
    return json.dumps({"tags": [{"tag": name, "explanation": "it is"} for name in names]})


def run(rows, script, **settings):
    return synth.run("tag_and_select", rows, Scripted(script), sampling=Sampling(), **settings)


def test_the_papers_greedy_example():
    a, b, c, d = [1, 2, 3], [1, 2], [4], [3, 4, 5]
    by_complexity = [a, d, b, c]
    assert [by_complexity[place] for place in diverse(by_complexity, 3)] == [a, d, b]
    assert sorted(diverse(by_complexity, 9)) == [0, 1, 2, 3]
    assert diverse([[], [1], []], 5) == [1]
    assert diverse(by_complexity, 0) == []


def test_a_pass_takes_no_query_that_adds_nothing():
    draw = np.random.default_rng(0)
    queries = [
        sorted(set(draw.integers(0, 30, size=draw.integers(1, 6)).tolist())) for _ in range(200)
    ]
    queries.sort(key=lambda tags: -len(tags))
    taken = diverse(queries, 60)
    seen: set[int] = set()
    for at, place in enumerate(taken):
        if set(queries[place]) <= seen:  # only the first of a pass may look so
            before = set(taken[:at])
            assert all(set(q) <= seen for i, q in enumerate(queries) if i not in before)
            seen = set()
        seen |= set(queries[place])
    assert len(taken) == len(set(taken)) == 60


BAD = {
    3: "tags: maths, algebra",
    4: '{"tags": []}',
    5: Completion(tags_json("maths"), "length"),
    6: Failure("http_500"),
    7: '{"tags": [{"tag": "maths"}]}',
}


def planted(messages, sample):
    """Queries 3 to 7 are answered badly, each in its own way; the rest have 1 to 3 tags."""
    number = query_of(messages)
    if number in BAD:
        return BAD[number]
    return tags_json(*["maths", f"topic {number % 4}", f"form {number}"][: 1 + number % 3])


def test_good_answers_are_tagged_and_each_bad_one_goes_under_its_reason():
    made = run(data(20), planted, max_failed=1.0)
    assert [row["id"] for row in made.rows] == [f"r{n}" for n in range(20) if n not in BAD]
    assert made.rows[2]["tags"] == ["maths", "topic 2", "form 2"]
    assert made.counts.dropped == {"tag:undecided": 5}
    why = Counter(reject.detail.split(":")[0] for reject in made.rejects)
    assert why == {"unparsed": 3, "truncated": 1, "failed": 1}


def test_the_selection_takes_rows_complex_and_diverse_first():
    made = run(data(20), planted, max_failed=1.0, select_rows=5)
    assert [row["id"] for row in made.rows] == ["r2", "r8", "r11", "r14", "r17"]
    assert made.counts.dropped == {"select:not_taken": 10, "tag:undecided": 5}
    assert made.metrics["complexity"] == 3 > made.metrics["complexity_before"] == pytest.approx(2)
    fewer = run(data(20), planted, max_failed=1.0, select_rows=2)
    assert made.metrics["diversity"] == 1 > fewer.metrics["diversity"] == 5 / 10


def test_under_qwen2_richness_and_completeness_count_as_much_as_tags():
    def script(messages, sample):
        number = query_of(messages)
        if "richness" not in last(messages):
            return tags_json(*[f"t{number}{i}" for i in range(1 + number % 2)])
        if number == 5:
            return '{"richness": 6, "completeness": 1}'
        return json.dumps({"richness": 1 + number % 5, "completeness": 1 + number % 5})

    made = run(data(6), script, order="qwen2", select_rows=2)
    # 4: 1/2 + 2; 3: 1 + 8/5; 5 has more of all, and no rating that can be read.
    assert [row["id"] for row in made.rows] == ["r3", "r4"]
    assert made.counts.dropped == {"rate:undecided": 1, "select:not_taken": 3}


def test_rows_of_a_data_set_pass_through_and_prompts_lose_their_answers():
    rows = [{**row, "completion": [{"role": "assistant", "content": "yes"}]} for row in data(3)]
    rows[1].pop("completion")
    rows[2]["prompt"] = [{"role": "user", "content": " "}]
    made = run(rows, lambda m, s: tags_json("maths"), output="sft")
    assert [row["completion"][0]["content"] for row in made.rows] == ["yes"]
    assert made.counts.dropped == {"query:empty": 1, "query:no_completion": 1}
    made = run(rows, lambda m, s: tags_json("maths"))
    assert [sorted(row) for row in made.rows] == [
        ["answer", "id", "prompt", "provenance", "tags"]
    ] * 2


def test_windows_change_nothing():
    from synth import tag_and_select

    expected = run(data(20), planted, max_failed=1.0, select_rows=5)
    settings = Settings(sampling=Sampling(), max_failed=1.0, select_rows=5)
    parts = list(Stream(tag_and_select, data(20), Scripted(planted), settings, window_rows=3))
    assert [row for part in parts for row in part.rows] == expected.rows


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Data Analysis", "data-analysis"),
        ("python_functions", "Python function"),
        ("queries", "query"),
        ("  maths!! ", "math"),
    ],
)
def test_spelling_does_not_make_another_tag(one, other):
    assert rule_form(one) == rule_form(other)


def test_words_that_only_look_like_plurals_stay():
    assert [rule_form(tag) for tag in ("class", "analysis", "gas", "virus")] == [
        "class",
        "analysis",
        "gas",
        "virus",
    ]


def inventory(rows, **settings):
    chosen = Settings(sampling=Sampling(), **settings)
    return normalised(lambda: iter([{"tags": tags} for tags in rows]), chosen)


def test_the_steps_of_normalisation_and_their_counts():
    class Embedder:
        fingerprint = "planted"

        def embed(self, texts):
            return [[1, 0] if t.lower().startswith("num") else [0, len(t)] for t in texts]

    rows = [["Numbers", "sums"], ["numbers", "sum"], ["numeric", "rare"], ["numbers", "numeric"]]
    tagged, metrics = inventory(rows, min_count=1, embedder=None)
    assert metrics["tags/open"] == 6 and metrics["tags/by_rule"] == 4
    assert tagged.tags(0) == ["numbers", "sums"] and tagged.tags(1) == ["numbers", "sums"]
    tagged, metrics = inventory(rows, min_count=2)
    assert metrics["tags/frequent"] == 2 and [len(tagged.ids(n)) for n in range(4)] == [0, 1, 1, 2]
    tagged, metrics = inventory(rows[:2], min_count=1, embedder=Embedder())
    assert metrics["tags/by_meaning"] == 2 and tagged.tags(0) == ["Numbers", "sums"]


def test_tags_within_eps_are_linked_and_others_are_not():
    angles = np.deg2rad([0, 10, 20, 90, 95])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    groups = near(vectors, 0.05)  # 1 - cos 18 degrees is 0.049
    assert len({*groups[:3]}) == 1 and len({*groups[3:]}) == 1 and groups[0] != groups[3]
    assert len(set(near(vectors, 0.001))) == 5


def test_a_tag_that_brings_another_along_is_merged_into_it():
    rows = [["limerick", "poem"]] * 50 + [["poem"]] * 50 + [["haiku", "poem"]] * 30
    tagged, _ = inventory(rows, min_count=1)
    assert set(tagged.names) == {"poem", "haiku"}  # 30 queries are below the support of 40
    rows = [["limerick", "poem"]] * 98 + [["limerick"]] * 2 + [["poem"]] * 50
    tagged, _ = inventory(rows, min_count=1)
    assert set(tagged.names) == {"poem", "limerick"} and implied(tagged, 40, 0.99) == {}
    assert implied(tagged, 40, 0.98) == {tagged.names.index("limerick"): tagged.names.index("poem")}


def test_a_million_rows_need_little_memory():
    """Tags of a row are 4 bytes each, whatever their names."""
    rows = ({"tags": [f"tag {n % 700}", f"tag {n % 11} x"]} for n in range(20_000))
    tagged, _ = normalised(lambda: rows, Settings(sampling=Sampling()))
    assert (
        tagged.flat.itemsize * len(tagged.flat) + tagged.starts.itemsize * len(tagged.starts)
        <= 20_001 * 16
    )


def test_nothing_to_select_from_is_no_error():
    chosen = Settings(sampling=Sampling())
    selection = select(lambda: iter([]), chosen)
    assert selection.metrics["complexity"] == 0
    assert isinstance(chosen, Common)


def test_mistakes_are_named():
    with pytest.raises(synth.SynthesisError, match="association_confidence is 2"):
        run([], planted, association_confidence=2)
    with pytest.raises(synth.SynthesisError, match="select_rows is 0"):
        run([], planted, select_rows=0)
