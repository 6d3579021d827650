"""A row as a person reads it: rendered with the chat template, what is trained on in colour."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from align.report.data_rows import DataSet, Row, provenance
from align.report.read import ReportError

# What the loss is on, and what it is not on.
TRAINED = {"completion": "green", "chosen": "green", "rejected": "red"}
GIVEN = "default"
NOTE = "dim"

_SHOWN_CHARS = 6000
_MESSAGES = ("prompt", *TRAINED)
_ELSEWHERE = (*_MESSAGES, "provenance", "columns", "text", "id", "reason", "detail", "source")


class Template:
    """Renders conversations as the model sees them: by a tokenizer's chat template, or ChatML."""

    def __init__(self, tokenizer: Any = None) -> None:
        self._tokenizer = tokenizer

    @property
    def is_models_own(self) -> bool:
        return self._tokenizer is not None

    def render(self, messages: Sequence[dict[str, str]], *, to_be_answered: bool = False) -> str:
        if self._tokenizer is None:
            turns = [f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages]
            return "".join(turns) + ("<|im_start|>assistant\n" if to_be_answered else "")
        return self._tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=to_be_answered
        )

    def split(
        self, prompt: Sequence[dict[str, str]], completion: Sequence[dict[str, str]]
    ) -> tuple[str, str]:
        """What is given and what the loss is on, as TRL's trainers draw the line: behind the prompt
        with the words that open the answer."""
        given = self.render(prompt, to_be_answered=True)
        whole = self.render([*prompt, *completion])
        if not whole.startswith(given):
            raise ReportError(
                "the chat template renders a prompt otherwise once it is answered, so there is no "
                "telling where the loss begins; a trainer would mask it wrongly too"
            )
        return given, whole[len(given) :]


def template_for(data: DataSet, model: Path | None) -> Template:
    """The template of `model`, or of the model that the rows were made with, if it is at hand."""
    folder = model or _model_of(data)
    if folder is None:
        return Template()
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()  # it wonders about our models, of which it reads the tokens alone
    try:
        return Template(AutoTokenizer.from_pretrained(folder))
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ReportError(f"{folder}: no tokenizer that can be loaded: {first}") from None


def _model_of(data: DataSet) -> Path | None:
    stage = data.manifest.get("config", {}).get("model")
    folder = data.path.parent.parent / str(stage)
    return folder if stage and (folder / "tokenizer_config.json").is_file() else None


def view(row: Row, number: int, template: Template) -> RenderableType:
    """One row of any kind: SFT, preference, prompts, or rejected."""
    head = f"row {number}  {row.get('id', '')}"
    parts: list[RenderableType] = [Rule(Text(head), align="left", style=NOTE)]
    if "reason" in row and "source" in row:
        parts += _rejected(row)
    else:
        parts += _conversations(row, template)
    parts.append(Padding(Text("\n".join(_notes(row)), style=NOTE), (0, 0, 1, 2)))
    return Group(*parts)


def _conversations(row: Row, template: Template) -> list[RenderableType]:
    prompt = row.get("prompt") or []
    sides = [side for side in TRAINED if row.get(side)]
    if not sides:
        return [_cut(template.render(prompt, to_be_answered=True), GIVEN)]
    parts: list[RenderableType] = []
    for side in sides:
        given, trained = template.split(prompt, row[side])
        if not parts:
            parts.append(_cut(given, GIVEN))
        if len(sides) > 1:
            parts.append(Text(f"{side}:", style=f"bold {TRAINED[side]}"))
        parts.append(_cut(trained, TRAINED[side]))
    return parts


def _rejected(row: Row) -> list[RenderableType]:
    said = Text(row["reason"], style="bold red")
    if row["detail"]:
        said.append(f"  {row['detail']}", style="red")
    return [said, _cut(row["text"] or row["columns"], GIVEN)]


def _notes(row: Row) -> list[str]:
    """The other columns, and step by step how the row came to be."""
    others = [f"{k}: {str(v)[:200]}" for k, v in row.items() if k not in _ELSEWHERE and v]
    story = provenance(row)
    steps = [
        (f"{side} " if side != "steps" else "", record)
        for side, records in story.items()
        if isinstance(records, list) and side != "parents"
        for record in records
    ]
    made = [f"{side}{_step(record)}" for side, record in steps if isinstance(record, dict)]
    source = f"{story['method']} {story['method_version']}, from " if "method" in story else ""
    return [*others, *([source + ", ".join(story.get("parents", []))] if source else []), *made]


def _step(record: dict[str, Any]) -> str:
    shown = [f"  {record.get('step', '?')}:"]
    if "model" in record:
        shown.append(f"{record['model'][:24]} sample {record['sample']}, seed {record['seed']}")
    if "verdict" in record:
        verdict = record["verdict"]
        shown.append(f"{record['verifier']} says {verdict['correct']} ({verdict['reason']})")
    for name in ("said", "undecided", "score", "isolation"):
        if record.get(name) is not None:
            shown.append(f"{name} {str(record[name])[:120]!r}")
    return " ".join(shown)


def _cut(text: str, style: str) -> Text:
    if len(text) <= _SHOWN_CHARS:
        return Text(text, style=style)
    left_out = f" ... {len(text) - _SHOWN_CHARS:,} more characters"
    return Text(text[:_SHOWN_CHARS], style=style).append(left_out, style=NOTE)
