"""Overlaps with evaluation texts: all that the rule says, and no other."""

import random

import numpy as np
import pytest

from synth import SynthesisError
from synth.decontamination import Evaluations
from synth.decontamination.rule import least_common
from synth.text.words import words_of

# Lengths around where the threshold changes, and where 64-bit words of the comparison end.
LENGTHS = [13, 14, 21, 22, 25, 30, 50, 63, 64, 65, 130]


def names(prefix, number):
    return [f"{prefix}{i}" for i in range(number)]


def evaluations(*texts):
    return Evaluations((str(number), text) for number, text in enumerate(texts))


def exact_lcs(one, other):
    """The textbook's table, a row at a time."""
    other = np.array(other)
    row = np.zeros(len(other) + 1, dtype=int)
    for word in one:
        row[1:] = np.maximum.accumulate(np.maximum(row[1:], row[:-1] + (other == word)))
    return int(row[-1])


def overlapping(one, other):
    """The rule, as it is written in the paper."""
    lcs = exact_lcs(one, other)
    return lcs >= 13 and 5 * lcs >= 3 * min(len(one), len(other))


@pytest.mark.parametrize(
    ("shorter", "least"), [(13, 13), (21, 13), (22, 14), (25, 15), (30, 18), (50, 30)]
)
def test_thresholds_are_the_published_ones(shorter, least):
    assert least_common(shorter) == least


def test_fewer_than_13_words_never_overlap():
    twelve = " ".join(names("w", 12))
    assert least_common(12) > 12
    assert evaluations(twelve + " w12").overlap([twelve]) is None
    assert evaluations(twelve + " w12").overlap([]) is None
    assert evaluations(twelve + " w12").overlap([""]) is None
    assert evaluations(twelve, twelve + " w12").overlap([twelve + " w12"]).evaluation == "1"
    with pytest.raises(SynthesisError, match="no evaluation text has 13 words"):
        evaluations(twelve, "")


def planted(source, common, length, *, spread, rng):
    """`length` words of which `common` are the source's, in order, together or spread out."""
    start = rng.randint(0, len(source) - common)
    places = range(start, start + common)
    if spread:
        places = sorted(rng.sample(range(len(source)), common))
    fillers = iter(names("filler", length))
    own = set(rng.sample(range(length), common) if spread else range(common))
    words = iter([source[place] for place in places])
    return [next(words) if place in own else next(fillers) for place in range(length)]


@pytest.mark.parametrize("spread", [False, True], ids=["contiguous", "interleaved"])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("longer", [0, 1, 20, 200])
def test_an_overlap_just_at_the_rule_is_found_and_one_word_less_is_not(length, longer, spread):
    rng = random.Random(f"{length} {longer} {spread}")
    least = least_common(length)
    # Once the evaluation text is the shorter one, once the training text.
    for theirs, ours in ((length, length + longer), (length + longer, length)):
        source = names("w", theirs)
        # The others hold the source's words too, so none of them is rare.
        others = [" ".join(rng.sample(source, theirs)) for _ in range(8)]
        found = evaluations(" ".join(source), *others)
        hit = planted(source, least, ours, spread=spread, rng=rng)
        overlap = found.overlap([" ".join(hit)])
        assert (overlap.evaluation, overlap.lcs, overlap.shorter) == ("0", least, length)
        miss = planted(source, least - 1, ours, spread=spread, rng=rng)
        assert evaluations(" ".join(source)).overlap([" ".join(miss)]) is None


def test_an_overlap_in_the_commonest_words_alone_is_found():
    common = names("the", 18)
    rng = random.Random(0)
    texts = []
    for number in range(30):  # each has all common words, in an order of its own
        words = rng.sample(common, 18) + names(f"rare{number}x", 12)
        texts.append(" ".join(words))
    training = " ".join([*texts[7].split()[:18], *names("other", 30)])
    overlap = evaluations(*texts).overlap([training])
    assert (overlap.evaluation, overlap.lcs, overlap.shorter) == ("7", 18, 30)


def drawn(rng, vocabulary):
    """A text in which few words come up often, as in a language."""
    weights = [1 / (rank + 1) for rank in range(len(vocabulary))]
    return rng.choices(vocabulary, weights, k=rng.choice([5, 12, 13, 20, 30, 45, 70, 140]))


def edited(rng, words, vocabulary):
    """A stretch of the words with some lost, changed or put in between, or two of them swapped."""
    start = rng.randint(0, len(words) // 3)
    words = list(words[start : rng.randint(len(words) - len(words) // 3, len(words))])
    for _ in range(rng.randint(0, len(words) // 2)):
        place = rng.randrange(len(words))
        change = rng.choice(["lose", "change", "insert", "swap"])
        if change == "lose" and len(words) > 1:
            del words[place]
        elif change == "change":
            words[place] = rng.choice(vocabulary)
        elif change == "insert":
            words.insert(place, rng.choice(vocabulary))
        else:
            words[place], words[-1] = words[-1], words[place]
    return words


@pytest.mark.parametrize("num_words", [4, 30, 200, 2000])
def test_what_is_found_is_what_the_rule_says_of_all_pairs(num_words):
    rng = random.Random(num_words)
    vocabulary = names("w", num_words)
    theirs = [words for _ in range(40) if len(words := drawn(rng, vocabulary)) >= 13]
    ours = [drawn(rng, vocabulary) for _ in range(15)]
    ours += [edited(rng, rng.choice(theirs), vocabulary) for _ in range(60)]
    found = evaluations(*map(" ".join, theirs))
    num_overlaps = 0
    for words in ours:
        overlap = found.overlap([" ".join(words)])
        lcs = [exact_lcs(words, other) for other in theirs if overlapping(words, other)]
        assert (overlap.lcs if overlap else None) == max(lcs, default=None)
        num_overlaps += bool(overlap)
    assert num_overlaps > 15
    assert num_words == 4 or num_overlaps < 75  # 4 words in any order overlap nearly always


@pytest.mark.parametrize("num_words", [12, 300])
def test_a_row_is_its_messages_and_its_conversations(num_words):
    rng = random.Random(num_words)
    vocabulary = names("w", num_words)
    theirs = [words for _ in range(30) if len(words := drawn(rng, vocabulary)) >= 13]
    found = evaluations(*map(" ".join, theirs))
    alone = together = 0
    for _ in range(60):
        source = edited(rng, rng.choice(theirs), vocabulary)
        cut = rng.randint(0, len(source))
        prompt, answers = source[:cut], (source[cut:], drawn(rng, vocabulary))
        messages = [prompt, *answers]
        whole = [prompt + answer for answer in answers]
        of_messages = any(overlapping(m, other) for m in messages for other in theirs)
        of_whole = any(overlapping(w, other) for w in whole for other in theirs)
        row = {
            "prompt": [{"role": "user", "content": " ".join(prompt)}],
            "chosen": [{"role": "assistant", "content": " ".join(answers[0])}],
            "rejected": [{"role": "assistant", "content": " ".join(answers[1])}],
        }
        assert (found.find([row])[0] is not None) == (of_messages or of_whole)
        alone += of_messages and not of_whole
        together += of_whole and not of_messages
    assert num_words == 12 or (alone and together)


def test_every_column_that_is_trained_on_is_looked_at_and_no_other():
    text = " ".join(names("w", 15))
    found = evaluations(text)
    message = {"role": "user", "content": text}
    other = [{"role": "user", "content": "something else"}]
    for name in ("prompt", "completion", "chosen", "rejected", "messages", "text"):
        assert found.find([{name: text}])[0]
    for name in ("prompt", "completion", "chosen", "rejected", "messages"):
        assert found.find([{"prompt": other, name: [*other, message]}])[0]
    assert found.find([{"prompt": other, "answer": text}]) == [None]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"id": "r7", "answer": "a"}, "row 'r7' has none of the columns prompt,"),
        ({"id": "r7", "prompt": [{"role": "user"}]}, "row 'r7': 'prompt' is neither"),
        ({"id": "r7", "text": ["a", "b"]}, "row 'r7': 'text' is neither"),
        ({"prompt": 3}, "a row: 'prompt' is neither"),
    ],
)
def test_a_row_without_training_text_is_an_error_that_names_it(row, says):
    with pytest.raises(SynthesisError, match=says):
        evaluations(" ".join(names("w", 13))).find([row])


def test_an_overlap_quotes_both_from_the_first_common_word_to_the_last():
    theirs = ["before", *names("w", 14), "after"]
    ours = "Well: " + ", ".join(names("W", 7)) + " ... however, " + "/".join(names("W", 14)[7:])
    overlap = evaluations(" ".join(theirs)).overlap([ours + " and so on."])
    assert overlap.excerpt == " ".join([*names("w", 7), "however", *names("w", 14)[7:]])
    assert overlap.evaluation_excerpt == " ".join(names("w", 14))
    assert str(overlap).startswith("14 of 16 words in common with 0: 'w0 w1 ")
    long = names("v", 500)
    quoted = evaluations(" ".join(long)).overlap([" ".join(long)]).excerpt.split()
    assert len(quoted) == 61 and quoted[30] == "[...]"
    assert quoted[:30] == long[:30] and quoted[31:] == long[-30:]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't STOP, 1,000 times!", "don t stop 1 000 times"),
        ("def has_close(x):\n    return x/2", "def has close x return x 2"),
        ("ＦＵＬＬ ﬁne Straße", "full fine strasse"),
        ("我们学习，数学ABC", "我 们 学 习 数 学 abc"),
        ("カタカナとひらがなー々", "カ タ カ ナ と ひ ら が な ー 々"),
        ("한국어 문장", "한국어 문장"),
        ("हिन्दी में", "हिन्दी में"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth"),
        ("🙂 — …", ""),
    ],
)
def test_words_do_not_depend_on_case_form_or_punctuation(text, words):
    assert words_of(text) == words.split()


def test_chinese_is_compared_by_characters():
    question = "小明有十二个苹果，他给了小红五个，还剩下多少个苹果？"
    found = evaluations(question)
    changed = question.replace("小明", "老王").replace("，", " ")
    overlap = found.overlap([changed])
    assert (overlap.lcs, overlap.shorter) == (21, 23)
    assert found.overlap(["今天天气很好，我们一起去公园散步，然后回家吃晚饭吧。"]) is None


def test_tens_of_thousands_of_different_words_are_kept_apart():
    texts = [" ".join(names(f"t{number}w", 400)) for number in range(200)]  # 80,000 words
    found = evaluations(*texts)
    for number in (0, 137, 140, 199):  # 138 to 143 are spelled with surrogates
        words = texts[number].split()
        overlap = found.overlap([" ".join(words[:239]) + " x" * 400])
        assert overlap is None
        assert found.overlap([" ".join(words[:240]) + " x" * 400]).evaluation == str(number)
