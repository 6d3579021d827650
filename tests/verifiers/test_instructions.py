"""Each of the 25 constraints on responses written for it, and the two ways of judging."""

import pytest

from verifiers import instructions
from verifiers.verdict import VerifierError

ENGLISH = "The weather is nice today and we would like to go for a long walk in the woods"

# Constraint, arguments, responses that follow it, responses that do not.
CASES: list[tuple[str, dict, list[str], list[str]]] = [
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["READ THIS", "DON'T", "I think I can", "you CANNOT", "the AI's work. AI-BASED", "I'm OK"],
        ["READ this", "Read This", "12 34", "AI-based AI"],
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 1, "capital_relation": "less than"},
        ["no capitals", "No Capitals"],
        ["one CAPITAL", "A cat"],
    ),
    (
        "change_case:english_capital",
        {},
        [f"{ENGLISH}. Do you have 3 books?".upper()],
        [ENGLISH, "QUESTO TESTO È SCRITTO IN ITALIANO E NON IN INGLESE. CHE BELLO!", "123"],
    ),
    (
        "change_case:english_lowercase",
        {},
        [ENGLISH.lower()],
        [ENGLISH, "dieser satz ist auf deutsch und nicht auf englisch geschrieben", "123"],
    ),
    (
        "combination:repeat_prompt",
        {"prompt_to_repeat": "Write a poem. "},
        ["Write a poem. Roses are red", "\n write A POEM.\nRoses"],
        ["Sure! Write a poem. Roses", "Write a"],
    ),
    (
        "combination:two_responses",
        {},
        ["one ****** two", "******one******two******", "***\n****** two"],
        ["one", "one****** one ", "a******b******c", "a************b", "a *** b"],
    ),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        ["[name] lives at [address]", "[][]", "[a [b] c]\n[d]"],
        ["[name]", "[na\nme] [x]", "[[[ ]"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
        ["Bye.\n\nP.S. milk", "bye p. s. milk", "Bye.\nP.P.S. no P.S. milk"],
        ["Bye.", "PS milk", "P.S milk"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.P.S"},
        ["P.P.S milk", "p. p. s milk"],
        ["P.S. milk", "PPS"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "N.B. (last)"},
        ["ok\nn.b. (LAST) milk"],
        ["NxB. (last)"],
    ),
    (
        "detectable_format:constrained_response",
        {},
        ["My answer is yes.", "Well. My answer is maybe. I think."],
        ["My answer is yes", "my answer is no.", "Yes."],
    ),
    (
        "detectable_format:json_format",
        {},
        ['{"a": [1]}', '```json\n{"a": 1}\n```', "```\n[1]\n```", " 7 ", '```JSON{"a": 1}```'],
        ["{'a': 1}", '{"a": 1} done', "text", "[" * 100_000, "[" * 90_000 + "]" * 90_000],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        ["SECTION 1\na\nSECTION 2\nb", "SECTION1 SECTION\n2 SECTION 3"],
        ["SECTION 1", "Section 1 Section 2", "SECTION one SECTION two"],
    ),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n* b", "intro\n  - a\n\n\t* b", "-a\n- b", "*\n* a\n* b", "***\n* a\n---"],
        ["* a", "* a\n* b\n- c", "** a\n** b", "text * a * b", "*", "*\n* a"],
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* and *b*", "**a** and **b**", "*a* **b**", "*a*b*c*"],
        ["*a*", "**a**", "* * *a*", "*a\n* b", "****"],
    ),
    (
        "detectable_format:title",
        {},
        ["<<poem of joy>>\ntext", "a <<b>> c", "<<<b>>>"],
        ["<poem>", "<<>>", "<< >>", "<<a\nb>>", ">>a<<"],
    ),
    (
        "keywords:existence",
        {"keywords": ["mom", "c++"]},
        ["MOM likes C++", "A moment of c++"],
        ["mom", "dad likes c++", "mom likes ccc"],
    ),
    (
        "keywords:forbidden_words",
        {"forbidden_words": ["rock", "a.b"]},
        ["rocks and rocket", "axb"],
        ["Rock!", "the a.b thing"],
    ),
    (
        "keywords:frequency",
        {"keyword": " story ", "frequency": 2, "relation": "at least"},
        ["Story, story", "stories of history: story story"],
        ["story", "stories"],
    ),
    (
        "keywords:frequency",
        {"keyword": "story", "frequency": 2, "relation": "less than"},
        ["story", "none"],
        ["story history"],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "Q", "let_frequency": 2, "let_relation": "at least"},
        ["queue Queen", "qq"],
        ["queue", "none"],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "#", "let_frequency": 2, "let_relation": "less than"},
        ["#one", "none"],
        ["#a #b"],
    ),
    (
        "language:response_language",
        {"language": "de"},
        ["Das Wetter ist heute schön und wir gehen im Wald spazieren."],
        [ENGLISH, "मौसम आज बहुत अच्छा है और हम जंगल में टहलने जा रहे हैं।"],
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Weekend"},
        ["One.\n\nweekend plans", "One.\n\n'\"Weekend, at last", "One.\n\nWeekend's here\n\n"],
        ["Weekend\n\nOne", "One\n\nWeekends", "a\n\nWeekend\n\nb", "a\n\n\n\nWeekend", "Weekend"],
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["a\n***\nb", "***\na\n***\nb\n***", "a***b"],
        ["a", "a\n\nb", "a\n***\n\n***\nb", "***\na\n***", "a *** b *** c"],
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3, "relation": "at least"},
        ["One. Two! Three?", 'He said "Yes." She left. Then', "1. Milk 2. Bread", "A? B? c"],
        ["One. Two.", "Mr. Smith met Dr. J. K. Jones in the U.S. at 3.5 p.m. and left.", "..."],
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "less than"},
        ["Well... maybe, Mrs. Smith", "no end"],
        ["One. Two.", "It ends in the U.S. The rest is history"],
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "at least"},
        ["one two three", "don't stop", "well-known_fact 3"],
        ["one two", "one - ... two"],
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "less than"},
        ["one two"],
        ["one two three"],
    ),
    ("punctuation:no_comma", {}, ["no commas; none", "(\uff0c)"], ["one, two", ","]),
    (
        "startend:end_checker",
        {"end_phrase": "Any other questions?"},
        ["Done. Any other questions?", '"Done. ANY other questions?"\n'],
        ["Any other questions? Bye", "Any other questions"],
    ),
    ("startend:quotation", {}, ['"all of it"', ' "a" and "b"\n'], ['"half', '"', "'a'", "“a”"]),
]


def follows(name: str, kwargs: dict, response: str, mode: str = "strict") -> bool | None:
    return instructions.check(response, [{"id": name, "kwargs": kwargs}], mode=mode)[0].correct


@pytest.mark.parametrize(
    ("name", "kwargs", "good", "bad"), CASES, ids=lambda value: str(value)[:40]
)
def test_responses_that_follow_are_told_from_those_that_do_not(
    name: str, kwargs: dict, good: list[str], bad: list[str]
) -> None:
    assert [text for text in good if not follows(name, kwargs, text)] == []
    assert [text for text in bad if follows(name, kwargs, text) is not False] == []


def test_the_cases_cover_all_25_constraints() -> None:
    assert {name for name, *_ in CASES} == set(instructions.NAMES)
    assert len(instructions.NAMES) == 25


@pytest.mark.parametrize(("name", "kwargs"), [(name, kwargs) for name, kwargs, *_ in CASES])
def test_an_empty_response_follows_nothing(name: str, kwargs: dict) -> None:
    for empty in ("", " \n\t", "\u2028"):
        for mode in ("strict", "loose"):
            verdict = instructions.check(empty, [{"id": name, "kwargs": kwargs}], mode=mode)[0]
            assert (verdict.correct, verdict.reason) == (False, "empty_response")


COMMA = [{"id": "punctuation:no_comma"}]
WORDS = {
    "id": "length_constraints:number_words",
    "kwargs": {"num_words": 2, "relation": "at least"},
}
END = {"id": "startend:end_checker", "kwargs": {"end_phrase": "the end"}}


def test_loose_forgives_a_first_line_a_last_line_and_asterisks() -> None:
    for constraints, response in [
        (COMMA, "Sure, here it is:\nno commas"),
        (COMMA, "no commas\nHope that helps, bye"),
        (COMMA, "Sure, here:\nno commas\nBye, then"),
        ([END], "This is **the end**"),
        ([END], "This is **the end**\nHope that helps"),
    ]:
        strict = instructions.check(response, constraints)
        loose = instructions.check(response, constraints, mode="loose")
        assert [verdict.correct for verdict in (*strict, *loose)] == [False, True]
    middle = "fine\none, two\nfine"
    assert instructions.check(middle, COMMA, mode="loose")[0].correct is False


def test_an_undetectable_language_is_undecided_and_not_followed_by_dropping_lines() -> None:
    german = [{"id": "language:response_language", "kwargs": {"language": "de"}}]
    for mode in ("strict", "loose"):
        verdict = instructions.check("123 456 !!!", german, mode=mode)[0]
        assert (verdict.correct, verdict.reason) == (None, "undetectable_language")
    assert instructions.check(f"{ENGLISH}\n123", german, mode="loose")[0].correct is False


def test_all_verdicts_come_in_order_with_what_is_wrong() -> None:
    first, second = instructions.check("one, two", [*COMMA, WORDS])
    assert (first.correct, first.reason, first.detail) == (False, "not_followed", "1 commas")
    assert (second.correct, second.score) == (True, 1.0)


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ({"id": "punctuation:no_commas"}, "unknown constraint 'punctuation:no_commas'; did you m"),
        ({"kwargs": {}}, "unknown constraint 'None'"),
        ({"id": "punctuation:no_comma", "kwargs": {"n": 1}}, "no_comma' has no argument 'n'"),
        ({"id": "startend:end_checker"}, "end_checker' needs the argument 'end_phrase'"),
        ({**END, "kwargs": {"end_phrase": None}}, "needs the argument 'end_phrase'"),
        ({**END, "kwargs": {"end_phrase": " "}}, "'end_phrase' is ' ', and must be a text"),
        ({**WORDS, "kwargs": {"num_words": 2}}, "number_words' needs the argument 'relation'"),
        ({**WORDS, "kwargs": {"num_words": "2", "relation": "at least"}}, "'num_words' is '2'"),
        ({**WORDS, "kwargs": {"num_words": -1, "relation": "at least"}}, "'num_words' is -1"),
        ({**WORDS, "kwargs": {"num_words": True, "relation": "at least"}}, "'num_words' is True"),
        ({**WORDS, "kwargs": {"num_words": 2, "relation": "at most"}}, "'relation' is 'at most'"),
        ({"id": "keywords:existence", "kwargs": {"keywords": "a"}}, "'keywords' is 'a', and must"),
        ({"id": "keywords:existence", "kwargs": {"keywords": []}}, r"'keywords' is \[\]"),
        (
            {"id": "language:response_language", "kwargs": {"language": "German"}},
            "language 'German' is none of langdetect's codes",
        ),
        (
            {
                "id": "length_constraints:nth_paragraph_first_word",
                "kwargs": {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"},
            },
            "nth_paragraph is 3, but num_paragraphs is 2",
        ),
    ],
)
def test_what_the_published_checker_would_fill_in_or_pass_is_an_error(
    constraint: dict, message: str
) -> None:
    with pytest.raises(VerifierError, match=message):
        instructions.check("a response", [constraint])


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(VerifierError, match="mode is 'lose', and must be 'strict' or 'loose'"):
        instructions.check("a", COMMA, mode="lose")


def test_a_mode_of_none_is_strict_for_tables_of_several_tasks_have_it() -> None:
    constraint = [{"id": "punctuation:no_comma"}]
    for text in ("a", "a, b", "a, b\nc"):
        verdict = instructions.verify(text, constraint, mode=None)
        assert verdict == instructions.verify(text, constraint, mode="strict")
    assert instructions.verify("a", "[" * 100_000).reason == "unparsable_reference"


def test_zero_is_a_number_and_not_a_missing_one() -> None:
    none = {"keyword": "x", "frequency": 0, "relation": "less than"}
    assert follows("keywords:frequency", none, "anything") is False
    assert follows("detectable_format:number_bullet_lists", {"num_bullets": 0}, "no list") is True


def test_the_prompt_is_what_is_repeated_where_nothing_else_is_named() -> None:
    repeat = [{"id": "combination:repeat_prompt"}]
    assert instructions.check("Say hi. Hi", repeat, prompt="Say hi.")[0].correct is True
    assert instructions.check("Hi", repeat, prompt="Say hi.")[0].correct is False
    with pytest.raises(VerifierError, match="needs the argument 'prompt_to_repeat'"):
        instructions.check("Hi", repeat)
