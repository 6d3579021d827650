"""What a method works with: a window of rows, and the steps that can be done on them.

Every item is settled in the end: it has become part of a row (`keep`), or it was rejected under a
reason. Items that a method lets lie are rejected when the window is done: as `nothing_left` if all
that was made of them is rejected, else as `unused`.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from synth.flow import structured
from synth.flow.asking import Ask, Asking, Failed, step_seed
from synth.flow.item import Answer, Item, child_id
from synth.flow.settings import Settings
from synth.flow.store import canonical
from synth.flow.templates import Conversation, Prompts
from synth.flow.verdicts import PASSING
from synth.synthesis import Reject, Row, SynthesisError, provenance_of
from verifiers import Verdict, grade_all

Parse = Callable[[Answer], Any]
"""Reads a value out of an answer; raises ValueError where that can't be done."""


class Window:
    """Some source rows on their way through a method. `engine` is the stage's model."""

    def __init__(
        self, method: Any, rows: Sequence[Row], engine: Any, settings: Settings, asking: Asking
    ) -> None:
        self.method, self.engine, self.settings = method, engine, settings
        self.items = [Item(str(row["id"]), row) for row in rows]
        ids = Counter(item.id for item in self.items)
        if len(ids) < len(self.items):
            shared = next(name for name, number in ids.items() if number > 1)
            raise SynthesisError(f"two rows have the id '{shared}'; give each one of its own")
        self.rows: list[Row] = []
        self.rejects: list[Reject] = []
        self.tallies: Counter[str] = Counter()
        self.num_used = 0
        self._num_of: Counter[tuple[str, ...]] = Counter()
        self._asking = asking
        self._all = list(self.items)

    @property
    def prompts(self) -> Prompts:
        """The method's prompt files, in the language of the settings."""
        return Prompts(self.method.METHOD, self.settings.language, self.settings.templates)

    def generate(
        self,
        step: str,
        items: Sequence[Item],
        messages: Callable[[Item], Conversation],
        *,
        n: int = 1,
        engine: Any = None,
        sampling: Any = None,
        schema: Mapping[str, Any] | None = None,
        parse: Parse | None = None,
        top_logprobs: int = 0,
    ) -> list[list[Item]]:
        """`n` answers for each item, as its children; those that are none are rejected.

        schema: the answer is JSON, and `value` what it says, which `parse` may go on to check. An
        answer that can't be read is asked for again `settings.reasks` times. Reasons:
        `<step>:truncated` (cut off at max_tokens), `<step>:unparsed`, `<step>:failed:<reason>`.
        """
        ask = self._ask(step, engine, sampling, schema, top_logprobs)
        answered = self._answers(ask, items, messages, n, _reading(schema, parse))
        groups = []
        for item, outcomes in zip(items, answered, strict=True):
            children = []
            for index, (outcome, value, record) in enumerate(outcomes):
                child = item.child(step, index, records=[record])
                self._all.append(child)
                if isinstance(outcome, Failed):
                    self.reject(child, f"{step}:{outcome.reason}", outcome.detail)
                    continue
                child.text, child.value = outcome.text, value
                children.append(child)
            groups.append(children)
        self._accepted(step, sum(map(len, groups)), n * len(items))
        return groups

    def judge(
        self,
        step: str,
        items: Sequence[Item],
        messages: Callable[[Item], Conversation],
        *,
        parse: Parse | None = None,
        schema: Mapping[str, Any] | None = None,
        n: int = 1,
        engine: Any = None,
        sampling: Any = None,
        top_logprobs: int = 0,
        required: bool = True,
    ) -> list[tuple[Item, list[Any]]]:
        """Each item with the values that `n` answers about it say; the item itself stays.

        Answers that could not be had or read are left out and noted in the provenance. Items of
        which nothing is known are rejected as `<step>:undecided`, or with `required=False` come
        with an empty list.
        """
        ask = self._ask(step, engine, sampling, schema, top_logprobs)
        judged = []
        for item, outcomes in zip(
            items, self._answers(ask, items, messages, n, _reading(schema, parse)), strict=True
        ):
            values = []
            for outcome, value, record in outcomes:
                if isinstance(outcome, Failed):
                    item.records.append({**record, "undecided": outcome.reason})
                else:
                    values.append(value)
                    item.records.append({**record, "said": outcome.text[:2000]})
            if values or not required:
                judged.append((item, values))
            else:
                why = outcomes[-1][0]
                self.reject(item, f"{step}:undecided", f"{why.reason}: {why.detail}")
        self._accepted(step, len(judged), len(items))
        return judged

    def verify(
        self,
        step: str,
        items: Sequence[Item],
        verifier: Callable[..., Verdict],
        *,
        completion: Callable[[Item], str] = lambda item: item.text,
        row: Callable[[Item], Row] = lambda item: item.columns,
    ) -> list[tuple[Item, Verdict]]:
        """Each item with the verifier's verdict on it.

        Items that it can't tell about are rejected as `<step>:undecided:<reason>`. Raises
        `verifiers.VerifierError` for data that the verifier can't judge at all.
        """

        def graded(inputs: Sequence[Any]) -> list[Any]:
            texts, rows = [text for text, _ in inputs], [row for _, row in inputs]
            verdicts = grade_all(verifier, texts, rows)
            return [[*dataclasses.astuple(verdict), _isolation(verifier)] for verdict in verdicts]

        inputs = [[completion(item), _judged_columns(row(item))] for item in items]
        results, keys = self._asking.executions(
            step, graded, inputs, source=verifier, keeps=lambda result: result[2] not in PASSING
        )
        source = self._asking.source_key(verifier)
        decided = []
        for item, (*verdict, isolation), key in zip(items, results, keys, strict=True):
            verdict = Verdict(*verdict)
            item.records.append(
                {
                    "step": step,
                    "key": key,
                    "verifier": _name(verifier),
                    "verifier_source": source[:12],
                    "verdict": dataclasses.asdict(verdict),
                    **({"isolation": isolation} if isolation is not None else {}),
                }
            )
            if verdict.correct is None:
                self.reject(item, f"{step}:undecided:{verdict.reason}", verdict.detail)
            else:
                decided.append((item, verdict))
        self._accepted(step, sum(v.correct for _, v in decided), len(items))
        return decided

    def compute(
        self,
        step: str,
        function: Callable[[Sequence[Any]], Sequence[Any]],
        inputs: Sequence[Any],
        *,
        source: Any = None,
        keeps: Callable[[Any], bool] = lambda result: True,
    ) -> list[Any]:
        """`function` of a list of JSON values, a JSON value for each; what is known isn't redone.

        For executions that are no verifier's. source: the callable whose source decides the
        results, where `function` only wraps it. What `keeps` refuses is not stored.
        """
        return self._asking.executions(step, function, inputs, source=source, keeps=keeps)[0]

    def reject(self, item: Item, reason: str, detail: str = "") -> None:
        """Settle an item: it is not used, under this reason."""
        assert not item.settled, (item.id, reason)
        item.settled = True
        self.rejects.append(
            Reject(
                id=item.id,
                source=item.source.id,
                reason=reason,
                detail=detail,
                text=item.text,
                columns=_json(item.columns),
                provenance=_json(self._provenance(item.id, {"steps": item.history()}, [item])),
            )
        )

    def keep(self, columns: Mapping[str, Any], *items: Item, **named: Item) -> None:
        """A row. It is made of `items`, whose history is its provenance, or of the `named` ones.

        Items that stand for the same thing twice are fine. The row's `id` is its source row's.
        """
        everything = [*items, *named.values()]
        for item in everything:
            self._use(item)
        if named:
            story = {name: item.history() for name, item in named.items()}
        else:
            story = {"steps": [record for item in items for record in item.history()]}
        self.rows.append(
            {
                **columns,
                "id": everything[0].source.id,
                "provenance": _json(self._provenance(self._row_id(everything), story, everything)),
            }
        )

    def _row_id(self, items: Sequence[Item]) -> str:
        """Follows from what the row is made of, and from how many rows are already made of that."""
        parents = tuple(dict.fromkeys(item.id for item in items))
        self._num_of[parents] += 1
        return child_id(parents, self.method.METHOD, self._num_of[parents])

    def tally(self, name: str, number: int = 1) -> None:
        """Count something for the metrics of the whole set."""
        self.tallies[name] += number

    def finish(self) -> None:
        """Reject what was let lie, and check that nothing is lost."""
        for item in self._all:
            if not item.settled:
                self.reject(item, "nothing_left" if item.has_children else "unused")
        assert self.num_used + len(self.rejects) == len(self._all)

    @property
    def num_items(self) -> int:
        return len(self._all)

    def expand(self, step: str, item: Item, columns: Iterable[Row]) -> list[Item]:
        """Children of an item without asking anybody, one for each mapping of further columns."""
        children = []
        for index, more in enumerate(columns):
            child = item.child(step, index)
            child.columns = {**item.columns, **more}
            child.text, child.value = item.text, item.value
            children.append(child)
        self._all += children
        return children

    def _use(self, item: Item | None) -> None:
        while item is not None and not item.settled:
            item.settled = True
            self.num_used += 1
            item = item.parent

    def _ask(
        self,
        step: str,
        engine: Any,
        sampling: Any,
        schema: Mapping[str, Any] | None,
        top_logprobs: int,
    ) -> Ask:
        return Ask(
            step,
            engine or self.engine,
            sampling or self.settings.sampling,
            step_seed(self.settings.seed, step),
            schema,
            top_logprobs,
        )

    def _answers(
        self,
        ask: Ask,
        items: Sequence[Item],
        messages: Callable[[Item], Conversation],
        n: int,
        read: Parse | None,
    ) -> list[list[tuple[Answer | Failed, Any, dict[str, Any]]]]:
        """For each item `n` times: the answer or why there is none, its value, its record."""
        conversations = [conversation for item in items for conversation in [messages(item)] * n]
        samples = list(range(n)) * len(items)
        origin = {
            "step": ask.step,
            "model": ask.engine.fingerprint,
            "sampling": dataclasses.asdict(ask.sampling),
            "seed": ask.seed,
        }
        answers, keys = self._asking.answers(ask, conversations, samples)
        outcomes = [
            (*_read(answer, read), {**origin, "key": key, "sample": sample})
            for answer, key, sample in zip(answers, keys, samples, strict=True)
        ]
        for _ in range(self.settings.reasks if read else 0):
            unread = [i for i, o in enumerate(outcomes) if _is_unread(o[0])]
            if not unread:
                break
            for i in unread:
                conversations[i] = structured.asked_again(
                    conversations[i], answers[i].text, outcomes[i][0].detail
                )
            again, new_keys = self._asking.answers(
                ask, [conversations[i] for i in unread], [samples[i] for i in unread]
            )
            for i, answer, key in zip(unread, again, new_keys, strict=True):
                answers[i] = answer
                record = {**outcomes[i][2], "key": key, "asked_again": True}
                outcomes[i] = (*_read(answer, read), record)
        with self._asking.steps.changing(ask.step) as state:
            state.sources += len({id(item.source) for item in items})
        return [outcomes[start : start + n] for start in range(0, len(outcomes), n)]

    def _accepted(self, step: str, accepted: int, judged: int) -> None:
        with self._asking.steps.changing(step) as state:
            state.accepted += accepted
            state.judged += judged

    def _provenance(
        self, row_id: str, story: Mapping[str, Any], items: Sequence[Item]
    ) -> dict[str, Any]:
        sources = list({item.source.id: item.source for item in items}.values())
        before = [made for source in sources if (made := provenance_of(source.columns))]
        return {
            "row": row_id,
            "method": self.method.METHOD,
            "method_version": self.method.VERSION,
            "parents": [source.id for source in sources],
            **({"before": before} if before else {}),
            **story,
        }


def _reading(schema: Mapping[str, Any] | None, parse: Parse | None) -> Parse | None:
    """Reads JSON by the schema first, and hands its value on to `parse`."""
    if schema is None:
        return parse
    read = structured.reader(schema)
    if parse is None:
        return read
    return lambda answer: parse(read(answer))


def _read(answer: Answer | Failed, read: Parse | None) -> tuple[Answer | Failed, Any]:
    if isinstance(answer, Failed):
        return Failed(f"failed:{answer.reason}", answer.detail), None
    # Where the first token's odds are wanted, the rest of the answer need not be there.
    if answer.finish_reason == "length" and not answer.first_logps:
        return Failed("truncated", f"cut off after {answer.num_tokens} tokens"), None
    if read is None:
        return answer, None
    try:
        return answer, read(answer)
    except ValueError as error:
        return Failed("unparsed", str(error)), None


def _is_unread(outcome: Answer | Failed) -> bool:
    return isinstance(outcome, Failed) and outcome.reason == "unparsed"


def _judged_columns(row: Row) -> Row:
    """What a verifier may look at; how the row came to be is not its business."""
    return {name: value for name, value in row.items() if name not in ("id", "provenance")}


def _isolation(verifier: Callable[..., Verdict]) -> int | None:
    """Level of the sandbox that a verifier of ours runs code in; None if it runs none."""
    if not verifier.__module__.startswith(("verifiers.code", "verifiers.functions")):
        return None
    from verifiers import code

    return code.sandbox().isolation.level


def _name(verifier: Callable[..., Verdict]) -> str:
    return f"{verifier.__module__}.{getattr(verifier, '__qualname__', type(verifier).__qualname__)}"


def _json(value: Any) -> str:
    return canonical(value).decode()
