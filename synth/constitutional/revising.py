"""Draft, critique, revision; and responses that break a principle on purpose (SL-CAI, §3)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from synth.constitutional.constitution import Principle, drawn
from synth.flow.item import Item
from synth.flow.window import Window
from synth.rows.messages import as_text, assistant, said

CHECK_SCHEMA = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "complies": {"type": "boolean"}},
    "required": ["reason", "complies"],
    "additionalProperties": False,
}


@dataclass(slots=True)
class Chain:
    """A prompt's response on its way: `latest` is the draft, then each revision of it.

    An answer that can't be had ends the rounds of its chain; the revisions so far stay.
    """

    principles: Sequence[Principle]
    latest: Item
    revisions: list[Item] = field(default_factory=list)

    @property
    def principle(self) -> Principle:
        """The one of the round that is due."""
        return self.principles[len(self.revisions) % len(self.principles)]


def compliant(window: Window, settings: Any) -> list[Item]:
    """Revised responses, distinct ones of each prompt, that follow the principles of their rounds;
    `principles` are the names of those."""
    drafts = window.generate("draft", window.items, lambda item: item.columns["prompt"], parse=said)
    chains = []
    for draft in _said(drafts):
        chains.append(Chain(drawn(settings.principles, _key(settings, draft)), draft))
    going = chains
    for _ in range(settings.revisions):
        going = _revised(window, going)
    candidates, rules = [], {}
    for chain in chains:
        for num_rounds, revision in _wanted(chain, settings):
            principles = dict.fromkeys(chain.principles[:num_rounds])
            names = [principle.name for principle in principles]
            (candidate,) = window.expand("candidate", revision, [{"principles": names}])
            candidates.append(candidate)
            rules[candidate.id] = [principle.rule for principle in principles]
    return _checked(
        window, settings, "check", candidates, lambda item: rules[item.id], complies=True
    )


def keep(window: Window, candidates: Sequence[Item]) -> None:
    for candidate in candidates:
        window.keep({**candidate.columns, "completion": assistant(candidate.text)}, candidate)


def keep_pairs(window: Window, settings: Any, candidates: Sequence[Item]) -> None:
    """Each candidate against responses to its prompt that break a principle on purpose."""
    asked = window.prompts.get("deviate")
    broken = {
        candidate.source.id: next(
            principle
            for principle in drawn(settings.principles, _key(settings, candidate))
            if principle.avoid
        )
        for candidate in candidates
    }

    def rule(item: Item) -> Principle:
        return broken[item.source.id]

    drafted = window.generate(
        "deviate",
        [candidate.source for candidate in candidates],
        lambda item: asked.fill(_shown(item), rule=rule(item).rule, avoid=rule(item).avoid),
        n=settings.deviations,
        parse=said,
    )
    deviating = _checked(
        window,
        settings,
        "check_deviation",
        _distinct(window, candidates, _said(drafted)),
        lambda item: [rule(item).rule],
        complies=False,
    )
    chosen_of = {candidate.source.id: candidate for candidate in candidates}
    for rejected in deviating:
        chosen = chosen_of[rejected.source.id]
        row = {name: value for name, value in chosen.columns.items() if name != "principles"}
        row |= {"chosen": assistant(chosen.text), "rejected": assistant(rejected.text)}
        window.keep({**row, "principle": rule(chosen).name}, chosen=chosen, rejected=rejected)
    for candidate in candidates:
        if not candidate.settled:
            window.reject(candidate, "unpaired", "nothing deviates from it")


def _distinct(window: Window, candidates: Sequence[Item], deviating: Sequence[Item]) -> list[Item]:
    """Those that say something else than the candidate of their prompt, and than each other."""
    seen = {(candidate.source.id, " ".join(candidate.text.split())) for candidate in candidates}
    kept = []
    for item in deviating:
        said_there = (item.source.id, " ".join(item.text.split()))
        if said_there in seen:
            window.reject(item, "deviate:duplicate")
        else:
            kept.append(item)
        seen.add(said_there)
    return kept


def _revised(window: Window, chains: Sequence[Chain]) -> list[Chain]:
    """One round for each chain; returns those that can go on."""
    critique, revise = window.prompts.get("critique"), window.prompts.get("revise")
    chain_of = {chain.latest.id: chain for chain in chains}
    remarks = _said(
        window.generate(
            "critique",
            [chain.latest for chain in chains],
            lambda item: critique.fill(
                _shown(item), response=item.text, critique=chain_of[item.id].principle.critique
            ),
            parse=said,
        )
    )
    revisions = window.generate(
        "revise",
        remarks,
        lambda item: revise.fill(
            _shown(item),
            response=item.parent.text,
            remarks=item.text,
            revision=chain_of[item.parent.id].principle.revision,
        ),
        parse=said,
    )
    going = []
    for revision in _said(revisions):
        chain = chain_of[revision.parent.parent.id]
        window.tally("revisions")
        window.tally("revised", revision.text.split() != chain.latest.text.split())
        chain.latest = revision
        chain.revisions.append(revision)
        going.append(chain)
    return going


def _wanted(chain: Chain, settings: Any) -> list[tuple[int, Item]]:
    """Revisions with the number of rounds behind them; of equal ones the last."""
    distinct = {
        " ".join(revision.text.split()): (number, revision)
        for number, revision in enumerate(chain.revisions, 1)
    }
    wanted = sorted(distinct.values(), key=lambda pair: pair[0])
    return wanted if settings.output == "sft" and settings.keep == "all" else wanted[-1:]


def _checked(
    window: Window,
    settings: Any,
    step: str,
    items: Sequence[Item],
    rules: Callable[[Item], Sequence[str]],
    *,
    complies: bool,
) -> list[Item]:
    """Those of which the judge says that they follow the rules, or that they break them."""
    if not settings.check:
        return list(items)
    asked = window.prompts.get("check")

    def question(item: Item) -> list[dict[str, str]]:
        listed = "\n".join(f"- {rule}" for rule in rules(item))
        return asked.fill(_shown(item), response=item.text, rules=listed)

    kept = []
    for item, (found,) in window.judge(
        step, items, question, schema=CHECK_SCHEMA, engine=settings.judge
    ):
        if found["complies"] is complies:
            kept.append(item)
        else:
            window.reject(item, f"{step}:{'breaks' if complies else 'complies'}", found["reason"])
    return kept


def _said(groups: Sequence[Sequence[Item]]) -> list[Item]:
    """All children; their text is what they say after their thoughts."""
    children = [child for group in groups for child in group]
    for child in children:
        child.text = child.value
    return children


def _shown(item: Item) -> dict[str, str]:
    return {"dialogue": as_text(item.source.columns["prompt"])}


def _key(settings: Any, item: Item) -> str:
    return f"{settings.seed}:{item.source.id}"
