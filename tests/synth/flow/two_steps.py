"""A method of two steps, for tests of the engine: a draft, then its revision."""

from synth.flow.settings import Settings
from synth.rows.messages import assistant, user

METHOD = "two_steps"
VERSION = 1


def make(window, settings: Settings) -> None:
    drafts = window.generate("draft", window.items, lambda item: item.columns["prompt"])
    drafts = [draft for group in drafts for draft in group]
    revised = window.generate(
        "revise",
        drafts,
        lambda item: [*item.columns["prompt"], *assistant(item.text), *user("Revise it.")],
    )
    for final in (final for group in revised for final in group):
        window.keep({"prompt": final.columns["prompt"], "completion": assistant(final.text)}, final)


def rows(number: int) -> list[dict]:
    return [{"id": f"row {n}", "prompt": user(f"question {n}")} for n in range(number)]
