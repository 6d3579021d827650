"""Prose: cleaned documentation strings, disjoint sets, everything dropped counted."""

import pytest

from align.pretrain.prose import make_prose

LONG = "A sentence that says something about module number {0}. " * 4


@pytest.fixture
def library(tmp_path):
    for n in range(30):
        (tmp_path / f"m{n}.py").write_text(
            f'"""{LONG.format(n)}"""\n\ndef f():\n    """Short."""\n'
        )
    (tmp_path / "copy.py").write_text(f'"""{LONG.format(0)}"""\n')
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "m.py").write_text(f'"""{LONG.format(99)}"""\n')
    return tmp_path


def test_sets_are_disjoint_and_every_string_is_kept_or_counted(library):
    total = sum(len(LONG.format(n).strip()) for n in range(30))
    prose = make_prose(max_characters=total - 1000, heldout_characters=1000, root=library)
    corpus = [row["text"] for row in prose.documents]
    heldout = [row["text"] for row in prose.heldout]
    assert sorted(corpus + heldout) == sorted(LONG.format(n).strip() for n in range(30))
    assert sum(map(len, heldout)) >= 1000


def test_what_is_dropped_is_counted_by_reason(tmp_path):
    classes = [LONG.format(0), LONG.format(0), "Short.", LONG * 20, LONG.format(1)]
    bodies = [f'class C{n}:\n    """{text}"""\n' for n, text in enumerate(classes)]
    (tmp_path / "m.py").write_text('"""Short as well."""\n' + "".join(bodies))
    total = sum(len(LONG.format(n).strip()) for n in range(2))
    prose = make_prose(max_characters=total - 10, heldout_characters=10, root=tmp_path)
    assert prose.counts == {
        "shorter than min_length": 2,
        "longer than max_length": 1,
        "duplicate": 1,
    }


def test_the_same_library_gives_the_same_prose(library):
    arguments = {"max_characters": 2000, "heldout_characters": 1000, "root": library}
    assert make_prose(**arguments) == make_prose(**arguments)


def test_a_folder_without_documentation_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="add up to 0 characters"):
        make_prose(max_characters=100, heldout_characters=100, root=tmp_path)
