"""Dialogues in character, from profiles (Ditto, arXiv 2401.12474).

Qwen2 (2407.10671 §4.2) so turns an encyclopaedia into role-play data. The model asks each character
what its profile tells, and what it can't know; it answers as in reading comprehension, with the
profile before it, or refuses in character. Preferences set a refusal against an answer that
pretends to know. The papers publish no thresholds; the defaults are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from synth.flow.item import Item
from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.role_play import dialogues, judging, questions
from synth.rows.messages import assistant, with_system
from synth.synthesis import SynthesisError
from synth.text.documents import cut_to, problem_of

METHOD = "role_play"
VERSION = 1
SOURCES = ("corpus",)
OUTPUTS = ("sft", "preference")
NEEDS = ()


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of role-play. Source rows have `name` and `profile`."""

    output: Literal["sft", "preference"] = "sft"
    """preference: of questions that the character can't answer alone."""
    questions: int = 4
    """sft: most questions for each character that its profile answers; a dialogue for each."""
    contrastive: int = 2
    """Most questions for each character that it can't answer: of later times, or other worlds."""
    turns: int = 1
    """Questions of a dialogue. Later ones follow up, or insist where the character can't know."""
    min_characters: int = 200
    """Shorter profiles are rejected."""
    max_characters: int = 20_000
    """Longer profiles are rejected, or cut."""
    too_long: Literal["reject", "cut"] = "reject"
    """cut: at the last end of a paragraph, else of a sentence, before `max_characters`."""
    system: Literal["profile", "name"] = "profile"
    """What the rows' system prompt tells. Under `name` alone a model learns to speak from what it
    has read elsewhere, so take that for characters that it can know."""
    max_copied: int = 12
    """Longest run of words that a reply may share with the profile; more recites it."""
    judge: Any = None
    """Judges questions and dialogues; the model itself by default."""
    votes: int = 1
    """Judgements of each dialogue; more than half must be for it, and the mean score counts."""
    min_knowledge: float = 7.0
    """Dialogues whose knowledge, scored from 1 to 10 as in WikiRoleEval, is lower go."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(questions=0, contrastive=0, turns=1, min_characters=1, max_characters=1)
        self.at_least(max_copied=1, votes=1, min_knowledge=1.0)
        if self.min_knowledge > 10:
            raise SynthesisError(f"min_knowledge is {self.min_knowledge}; give at most 10")
        if self.min_characters > self.max_characters:
            raise SynthesisError(
                f"min_characters {self.min_characters} is above max_characters "
                f"{self.max_characters}"
            )
        if self.output == "preference" and not self.contrastive:
            raise SynthesisError("contrastive is 0; output 'preference' needs at least 1")
        if not self.questions + self.contrastive:
            raise SynthesisError("questions and contrastive are both 0; give at least 1 of either")


def make(window: Window, settings: Settings) -> None:
    """Rows with the character's other columns but `profile`, and with `knowledge` ("known",
    "unknown") and `ground` (what of the profile answers, or why the character can't know).

    sft: `{prompt, completion, turn}`, a row for each turn of a dialogue. preference: `{prompt,
    chosen, rejected}`, a pair for the last turn.
    """
    characters = [item for item in window.items if _is_usable(window, item, settings)]
    asked = questions.beyond_knowledge(window, characters, settings)
    if settings.output == "sft":
        asked = questions.within_knowledge(window, characters, settings) + asked
    places = {item.id: place for place, item in enumerate(window.items)}
    asked.sort(key=lambda item: places[item.source.id])
    fitting = questions.screened(window, asked, settings)
    spoken = dialogues.spoken(window, fitting, settings)
    sound = judging.checked(window, spoken, settings)
    if settings.output == "sft":
        for item in sound:
            _keep_turns(window, item, settings)
    else:
        for refusal, pretence in judging.pretences(window, sound, settings):
            _keep_pair(window, refusal, pretence, settings)


def metrics(tallies: Mapping[str, int], settings: Settings) -> dict[str, float]:
    """The three measures of WikiRoleEval, on what was made before anything was rejected for it:
    `consistency`, the share of dialogues in character; `knowledge`, the mean score of those that
    the profile answers; `refusals`, the share refused of those that the character can't know."""
    found = {}
    for name, part, whole in (
        ("consistency", "in_character", "dialogues"),
        ("knowledge", "knowledge", "scores"),
        ("refusals", "refused", "unknown"),
    ):
        if tallies.get(whole):
            found[name] = tallies.get(part, 0) / tallies[whole]
    return found


def _is_usable(window: Window, item: Item, settings: Settings) -> bool:
    """Whether the row has a name, and a profile that is a text of the right length."""
    name, profile = item.columns.get("name"), item.columns.get("profile")
    problem = problem_of(profile)
    if problem is None and len(profile) > settings.max_characters and settings.too_long == "cut":
        profile = cut_to(profile, settings.max_characters)
    if not isinstance(name, str) or not name.strip():
        problem = "no_name"
    elif problem is None and len(profile) > settings.max_characters:
        problem = "too_long"
    elif problem is None and len(profile.strip()) < settings.min_characters:
        problem = "too_short"
    if problem is not None:
        window.reject(item, f"profile:{problem}", f"{len(str(profile or ''))} characters")
        return False
    item.columns = {**item.columns, "name": " ".join(name.split()), "profile": profile.strip()}
    return True


def _system(window: Window, item: Item, settings: Settings) -> str:
    (message,) = window.prompts.get(f"system_{settings.system}").fill(item.columns)
    return message["content"]


def _columns(item: Item) -> dict[str, Any]:
    left_out = ("id", "profile", "dialogue")
    return {name: value for name, value in item.columns.items() if name not in left_out}


def _keep_turns(window: Window, item: Item, settings: Settings) -> None:
    system, dialogue = _system(window, item, settings), item.columns["dialogue"]
    for turn in range(1, settings.turns + 1):
        made = {
            "prompt": with_system(system, dialogue[: 2 * turn - 1]),
            "completion": [dialogue[2 * turn - 1]],
            "turn": turn,
        }
        window.keep({**_columns(item), **made}, item)


def _keep_pair(window: Window, refusal: Item, pretence: Item, settings: Settings) -> None:
    *before, chosen = refusal.columns["dialogue"]
    made = {
        "prompt": with_system(_system(window, refusal, settings), before),
        "chosen": [chosen],
        "rejected": assistant(pretence.value),
    }
    window.keep({**_columns(refusal), **made}, chosen=refusal, rejected=pretence)
