"""What is changed between two runs is asked again, all of it and nothing else."""

import json
import shutil
from types import SimpleNamespace

import synth
from synth.flow.settings import Settings
from synth.flow.stream import Stream
from synth.flow.templates import PROMPTS
from synth.rows.messages import user
from tests.synth.scripted import Sampling, Scripted, last
from tests.synth.test_back_translation import documents, model
from verifiers.loading import load_callable

ROWS = [{"id": f"r{n}", "prompt": user(f"question {n}"), "answer": f"{n}"} for n in range(10)]
VERIFIER = """
from verifiers import Verdict

LEAST = 1

def judge(completion, reference, **columns):
    right = len(completion) >= LEAST
    return Verdict(right, float(right), "long" if right else "short")
"""


def sampled(store: synth.Store, verifier, engine=None, **settings) -> synth.Counts:
    engine = engine or Scripted(lambda messages, sample: f"{last(messages)} {sample}")
    chosen = {"verifier": verifier, "sampling": Sampling(), "samples": 2, **settings}
    return synth.run("rejection_sampling", ROWS, engine, store=store, **chosen).counts


def sent(counts: synth.Counts) -> tuple[int, int]:
    """Requests sent, and executions done."""
    return counts.notes.get("requests/sent", 0), counts.notes.get("executions/done", 0)


def verifier_of(folder, source: str):
    (folder / "mine.py").write_text(source)
    return load_callable("mine.py:judge", folder)


def test_system_prompt_samples_sampling_and_model(tmp_path):
    store, judge = synth.Store(), verifier_of(tmp_path, VERIFIER)
    assert sent(sampled(store, judge)) == (20, 20)
    assert sent(sampled(store, judge)) == (0, 0)
    assert sent(sampled(store, judge, system="Be brief.")) == (20, 0)  # the same answers come
    assert sent(sampled(store, judge, samples=3)) == (10, 10)
    assert sent(sampled(store, judge, sampling=Sampling(temperature=0.5))) == (20, 0)
    other = Scripted(lambda messages, sample: "another", fingerprint="scripted:2")
    assert sent(sampled(store, judge, other))[0] == 20
    assert sent(sampled(store, judge)) == (0, 0)


def test_a_verifiers_body_and_not_its_comments(tmp_path):
    store = synth.Store()
    sampled(store, verifier_of(tmp_path, VERIFIER))
    commented = VERIFIER.replace("    right =", "    # why\n    right =") + "\n\ndef other(): ...\n"
    assert sent(sampled(store, verifier_of(tmp_path, commented))) == (0, 0)
    stricter = VERIFIER.replace("LEAST = 1", "LEAST = 12")
    changed = sampled(store, verifier_of(tmp_path, stricter))
    assert sent(changed) == (0, 20) and changed.rows == 20
    turned = VERIFIER.replace(">=", "<")
    assert sampled(store, verifier_of(tmp_path, turned)).rows == 0


def test_a_prompt_file_asks_its_own_step_again(tmp_path):
    store = synth.Store()
    texts = documents()[:3]

    def run(templates=None):
        made = synth.run(
            "back_translation",
            texts,
            Scripted(model),
            store=store,
            sampling=Sampling(),
            templates=templates,
        )
        return made.counts.notes.get("requests/sent", 0)

    assert run() == 9 + 9  # three levels of detail got the same query, so it is scored once
    (tmp_path / "own").mkdir()
    shutil.copy(PROMPTS / "back_translation" / "curate.en.txt", tmp_path / "own")
    assert run(tmp_path / "own") == 0  # word for word the same
    file = tmp_path / "own" / "curate.en.txt"
    file.write_text(
        file.read_text().replace("Rate the pair from 1 to 5.", "Rate the pair, 1 to 5.")
    )
    assert run(tmp_path / "own") == 9
    assert run() == 0


def test_a_schema(tmp_path):
    def schema(most: int) -> dict:
        return {"type": "object", "properties": {"n": {"type": "integer", "maximum": most}}}

    def asked(store: synth.Store, most: int) -> int:
        def make(window, settings):
            window.generate("ask", window.items, lambda i: i.columns["prompt"], schema=schema(most))

        method = SimpleNamespace(METHOD="any", VERSION=1, make=make)
        engine = Scripted(lambda m, s: json.dumps({"n": 1}), follows_schemas=True)
        list(Stream(method, ROWS, engine, Settings(sampling=Sampling()), store=store))
        return engine.num_asked

    store = synth.Store()
    assert [asked(store, 5), asked(store, 5), asked(store, 6)] == [10, 0, 10]
