"""Prose: cleaned documentation strings, disjoint sets, everything dropped counted."""

import pytest

from align.pretrain.prose import make_prose

LONG = "A sentence that says something about module number {}. " * 4


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
    prose = make_prose(max_characters=2000, heldout_characters=1000, root=library)
    corpus = {row["text"] for row in prose.documents}
    heldout = {row["text"] for row in prose.heldout}
    assert not corpus & heldout
    assert not any("number 99" in text for text in corpus | heldout)
    assert prose.counts["duplicate"] == 1
    assert prose.counts["file that does not parse"] == 1
    # 30 functions, and the three modules' worth of nothing: copies and tests are not short
    assert prose.counts["shorter than min_length"] == 30
    assert len(corpus) + len(heldout) + prose.counts["not needed"] == 30


def test_the_same_library_gives_the_same_prose(library):
    arguments = {"max_characters": 2000, "heldout_characters": 1000, "root": library}
    assert make_prose(**arguments) == make_prose(**arguments)


def test_a_folder_without_documentation_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="do not fill both sets"):
        make_prose(max_characters=100, heldout_characters=100, root=tmp_path)
