"""One stage as the page shows it: its line in the chain, its numbers, its rows, its settings."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from align.report import chart, curves
from align.report.chain import Label, mark_of
from align.report.chart import Series
from align.report.numbers import NOTHING, duration, number, percent, size
from align.report.read import Manifest, StageRun

KEY_SETTINGS = 8
LONGEST_SETTING = 90
# What a stage is for in one number: the metric, and how the chain labels it.
HEADLINES: dict[str, tuple[str, str]] = {
    "tokenizer": ("vocab_size", "vocab"),
    "pretrain": ("loss", "loss"),
    "sft": ("loss", "loss"),
    "dpo": ("reward_accuracy", "chosen"),
    "reward": ("heldout_accuracy", "held out"),
    "grpo": ("reward", "reward"),
}
SHARES = ("accurac", "frac_", "share", "without_signal")  # in names of metrics in 0..1


@dataclass(frozen=True)
class Drop:
    """Rows dropped for one reason; `share` in percent of all rows seen, for a bar."""

    reason: str
    count: str
    share: float


@dataclass(frozen=True)
class Rows:
    """Row counts: kept, dropped by reason, and any other counts that the stage keeps."""

    kept: str
    kept_share: float
    dropped: str
    drops: list[Drop]
    others: list[tuple[str, str]]


@dataclass(frozen=True)
class StageView:
    stage: StageRun
    state: str
    mark: str
    label: Label
    seconds: float
    time: str
    time_share: float
    memory: str
    fingerprint: str
    rows: Rows | None
    metrics: list[tuple[str, str]]
    charts: list[tuple[Series, Markup]]
    settings: list[tuple[str, str, str]]
    more_settings: list[tuple[str, str, str]]
    warnings: list[str]


def views(stages: list[StageRun]) -> list[StageView]:
    longest = max((_seconds(s) or 0.0 for s in stages), default=0.0)
    return [_view(stage, longest) for stage in stages]


def _seconds(stage: StageRun) -> float | None:
    """What the stage's artifact took to make, even if this run found it finished."""
    if stage.manifest and stage.manifest.seconds is not None:
        return stage.manifest.seconds
    return stage.seconds


def _view(stage: StageRun, longest: float) -> StageView:
    made, seconds = stage.manifest, _seconds(stage)
    state, mark = mark_of(stage)
    settings = flat(made.config) if made else []
    return StageView(
        stage=stage,
        state={"pending": "not run"}.get(state, state),
        mark=mark,
        label=_label(stage, seconds),
        seconds=seconds or 0.0,
        time=duration(seconds),
        time_share=round(100 * (seconds or 0.0) / longest, 1) if longest else 0.0,
        memory=size(made.peak_bytes) if made else NOTHING,
        fingerprint=made.fingerprint[:12] if made else "",
        rows=_rows(made),
        metrics=[(k, _metric(k, v)) for k, v in made.metrics.items()] if made else [],
        charts=[(series, chart.draw(series)) for series in curves.chosen(stage)],
        settings=settings[:KEY_SETTINGS],
        more_settings=settings[KEY_SETTINGS:],
        warnings=made.warnings if made else [],
    )


def _label(stage: StageRun, seconds: float | None) -> Label:
    if not stage.is_done:
        state = "not run" if stage.state == "pending" else stage.state
        return Label(stage.kind, "", "out of date" if stage.is_stale else state)
    return Label(stage.kind, "" if seconds is None else duration(seconds), _headline(stage))


def _headline(stage: StageRun) -> str:
    made = stage.manifest
    if stage.scores:
        return f"{len(stage.scores.models)} models"
    if made is None:
        return ""
    name, label = HEADLINES.get(stage.kind, ("", ""))
    if name in made.metrics:
        return f"{label} {_metric(name, made.metrics[name], 0)}"
    if isinstance(made.rows.get("kept"), int):
        return f"{made.rows['kept']:,} rows"
    return next((f"{k} {_metric(k, v, 0)}" for k, v in made.metrics.items()), "")


def _metric(name: str, value: float, digits: int = 1) -> str:
    is_share = any(word in name for word in SHARES) and 0 <= value <= 1
    return percent(value, digits) if is_share else number(value)


def _rows(made: Manifest | None) -> Rows | None:
    if made is None or not made.rows:
        return None
    kept = _count(made.rows.get("kept"))
    reasons = {str(k): _count(v) for k, v in (made.rows.get("dropped") or {}).items()}
    seen = max(1, kept + sum(reasons.values()))
    drops = [
        Drop(reason.replace("_", " "), f"{count:,}", round(100 * count / seen, 2))
        for reason, count in sorted(reasons.items(), key=lambda item: -item[1])
        if count
    ]
    others = [
        (key.removeprefix("rows.").replace("_", " "), text)
        for key, text, _ in flat({k: v for k, v in made.rows.items() if k not in _OWN})
    ]
    return Rows(
        f"{kept:,}", round(100 * kept / seen, 2), f"{sum(reasons.values()):,}", drops, others
    )


_OWN = ("kept", "dropped")


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def flat(config: dict[str, Any], prefix: str = "") -> list[tuple[str, str, str]]:
    """Settings as (dotted key, shown value, whole value); what is null, empty or the kind is not
    one."""
    found = []
    for key, value in config.items():
        if value is None or value in ({}, [], "") or (key == "kind" and not prefix):
            continue
        if isinstance(value, dict):
            found += flat(value, f"{prefix}{key}.")
            continue
        whole = _setting(value)
        shown = whole if len(whole) <= LONGEST_SETTING else whole[: LONGEST_SETTING - 1] + "…"
        found.append((f"{prefix}{key}", shown, whole))
    return found


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list):
        return ", ".join(_setting(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_setting(v)}" for k, v in value.items())
    return str(value)
