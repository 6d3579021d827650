import json
import sqlite3
import threading
from datetime import date

import pytest

from synth import Store, SynthesisError
from synth.flow.store import canonical, key, key_prefix


def test_what_was_put_in_comes_out_after_closing(tmp_path):
    path = tmp_path / "deep" / "answers.sqlite"
    with Store(path) as store:
        store.put([(b"a", ["text", {"x": 1.5}]), (b"b", None)])
        assert len(store) == 2
    with Store(str(path)) as store:
        assert store.get([b"a", b"b", b"c"]) == {b"a": ["text", {"x": 1.5}], b"b": None}


def test_the_first_answer_stays():
    store = Store()
    store.put([(b"a", 1)])
    store.put([(b"a", 2), (b"b", 3)])
    assert store.get([b"a", b"b"]) == {b"a": 1, b"b": 3}


def test_more_keys_than_a_query_takes():
    store = Store()
    many = [f"{n}".encode() for n in range(3000)]
    store.put((k, n) for n, k in enumerate(many))
    assert store.get(many) == {k: n for n, k in enumerate(many)}


def test_threads_share_a_store(tmp_path):
    store = Store(tmp_path / "s.sqlite")

    def work(number):
        for n in range(200):
            store.put([(f"{number}:{n}".encode(), n)])
            assert store.get([f"{number}:{n}".encode()])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store) == 800


def test_a_file_that_is_no_store_is_named(tmp_path):
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(SynthesisError, match=r"s\.sqlite: the store of answers can't be read"):
        Store(path)


def test_a_transaction_that_was_cut_off_leaves_no_trace(tmp_path):
    path = tmp_path / "s.sqlite"
    with Store(path) as store:
        store.put([(b"a", 1)])
    torn = sqlite3.connect(path)
    torn.execute("INSERT INTO kept VALUES (?, ?)", (b"b", b"2"))
    torn.close()  # without a commit, as a kill would leave it
    assert Store(path).get([b"a", b"b"]) == {b"a": 1}


def test_keys_tell_apart_whatever_differs():
    first = key_prefix(engine="e", seed=1)
    keys = [
        key(first, b"[]"),
        key(first, b"[1]"),
        key(key_prefix(engine="e", seed=2), b"[]"),
        key(key_prefix(engine="f", seed=1), b"[]"),
        key(key_prefix(engine="e", seed=1, schema={"a": 1}), b"[]"),
    ]
    assert len(set(keys)) == len(keys) and {len(k) for k in keys} == {16}
    assert key(key_prefix(seed=1, engine="e"), b"[]") == keys[0]


def test_anything_that_a_column_may_hold_has_a_canonical_form():
    odd = {"big": 2**70, 1: "key", "day": date(2026, 1, 2), "half": "\ud83d", "set": {1}}
    assert json.loads(canonical(odd))["big"] == 2**70
    assert canonical({"b": 1, "a": 2}) == b'{"a":2,"b":1}'
    assert canonical({"day": date(2026, 1, 2)}) == b'{"day":"2026-01-02"}'


def test_a_store_that_cannot_be_written_says_so(tmp_path):
    path = tmp_path / "s.sqlite"
    with Store(path) as store, sqlite3.connect(path, isolation_level=None) as other:
        store._db.execute("PRAGMA busy_timeout=10")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SynthesisError, match=r"s\.sqlite: answers can't be kept .*goes on"):
            store.put([(b"a", 1)])
        other.execute("ROLLBACK")
        store.put([(b"a", 1)])
        assert store.get([b"a"]) == {b"a": 1}
