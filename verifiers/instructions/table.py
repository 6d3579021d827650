"""The 25 constraints by their published ids, with the arguments that each must be given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from verifiers.instructions import case, form, keywords, length, wording
from verifiers.instructions.counting import AT_LEAST, LESS_THAN
from verifiers.suggest import did_you_mean
from verifiers.verdict import VerifierError


@dataclass(frozen=True)
class Argument:
    """wanted: what it must be, in words. is_prompt: without it, the row's prompt is taken."""

    wanted: str
    accepts: Callable[[Any], bool]
    is_prompt: bool = False


@dataclass(frozen=True)
class Constraint:
    """checker: of a response and the arguments; says what is wrong, or "" where it is followed."""

    checker: Callable[..., str]
    arguments: Mapping[str, Argument] = field(default_factory=dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


COUNT = Argument("a whole number, 0 or more", lambda value: _is_integer(value, 0))
POSITION = Argument("a whole number, 1 or more", lambda value: _is_integer(value, 1))
TEXT = Argument("a text that is not blank", _is_text)
PROMPT = Argument(TEXT.wanted, _is_text, is_prompt=True)
CHARACTER = Argument("a single character", lambda value: _is_text(value) and len(value) == 1)
TEXTS = Argument(
    "a list of texts, none of them blank",
    lambda value: isinstance(value, list | tuple) and bool(value) and all(map(_is_text, value)),
)
RELATION = Argument(f"'{LESS_THAN}' or '{AT_LEAST}'", lambda value: value in (LESS_THAN, AT_LEAST))

CONSTRAINTS: dict[str, Constraint] = {
    "change_case:capital_word_frequency": Constraint(
        case.capital_word_frequency, {"capital_frequency": COUNT, "capital_relation": RELATION}
    ),
    "change_case:english_capital": Constraint(case.english_capital),
    "change_case:english_lowercase": Constraint(case.english_lowercase),
    "combination:repeat_prompt": Constraint(wording.repeat_prompt, {"prompt_to_repeat": PROMPT}),
    "combination:two_responses": Constraint(wording.two_responses),
    "detectable_content:number_placeholders": Constraint(
        form.number_placeholders, {"num_placeholders": COUNT}
    ),
    "detectable_content:postscript": Constraint(form.postscript, {"postscript_marker": TEXT}),
    "detectable_format:constrained_response": Constraint(form.constrained_response),
    "detectable_format:json_format": Constraint(form.json_format),
    "detectable_format:multiple_sections": Constraint(
        form.multiple_sections, {"section_spliter": TEXT, "num_sections": COUNT}
    ),
    "detectable_format:number_bullet_lists": Constraint(
        form.number_bullet_lists, {"num_bullets": COUNT}
    ),
    "detectable_format:number_highlighted_sections": Constraint(
        form.number_highlighted_sections, {"num_highlights": COUNT}
    ),
    "detectable_format:title": Constraint(form.title),
    "keywords:existence": Constraint(keywords.existence, {"keywords": TEXTS}),
    "keywords:forbidden_words": Constraint(keywords.forbidden_words, {"forbidden_words": TEXTS}),
    "keywords:frequency": Constraint(
        keywords.frequency, {"keyword": TEXT, "frequency": COUNT, "relation": RELATION}
    ),
    "keywords:letter_frequency": Constraint(
        keywords.letter_frequency,
        {"letter": CHARACTER, "let_frequency": COUNT, "let_relation": RELATION},
    ),
    "language:response_language": Constraint(case.response_language, {"language": TEXT}),
    "length_constraints:nth_paragraph_first_word": Constraint(
        length.nth_paragraph_first_word,
        {"num_paragraphs": COUNT, "nth_paragraph": POSITION, "first_word": TEXT},
    ),
    "length_constraints:number_paragraphs": Constraint(
        length.number_paragraphs, {"num_paragraphs": COUNT}
    ),
    "length_constraints:number_sentences": Constraint(
        length.number_sentences, {"num_sentences": COUNT, "relation": RELATION}
    ),
    "length_constraints:number_words": Constraint(
        length.number_words, {"num_words": COUNT, "relation": RELATION}
    ),
    "punctuation:no_comma": Constraint(wording.no_comma),
    "startend:end_checker": Constraint(wording.end_checker, {"end_phrase": TEXT}),
    "startend:quotation": Constraint(wording.quotation),
}

NAMES = tuple(CONSTRAINTS)


def bound(constraint: Mapping[str, Any], prompt: str | None) -> tuple[str, dict[str, Any]]:
    """Id and arguments of `{"id", "kwargs"}`, checked. A None argument counts as not given.

    Raises VerifierError: unknown constraint; an argument unknown, missing, or of a wrong kind.
    Nothing is ever filled in, other than the prompt where it is what the response must repeat.
    """
    name = str(constraint.get("id"))
    if name not in CONSTRAINTS:
        raise VerifierError(f"unknown constraint '{name}'{did_you_mean(name, NAMES)}")
    declared = CONSTRAINTS[name].arguments
    kwargs = constraint.get("kwargs") or {}
    given = {key: value for key, value in kwargs.items() if value is not None}
    for key in given:
        if key not in declared:
            raise VerifierError(
                f"constraint '{name}' has no argument '{key}'{did_you_mean(key, declared)}"
            )
    for key, argument in declared.items():
        if argument.is_prompt and prompt is not None:
            given.setdefault(key, prompt)
        if key not in given:
            raise VerifierError(f"constraint '{name}' needs the argument '{key}'")
        if not argument.accepts(given[key]):
            raise VerifierError(
                f"constraint '{name}': '{key}' is {given[key]!r}, and must be {argument.wanted}"
            )
    return name, given
