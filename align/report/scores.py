"""What the evaluations say: the run's outcome in a line, and the models side by side."""

from dataclasses import dataclass

from align.report.numbers import NOTHING, THIN, measured, percent, signed
from align.report.read import Estimate, Metric, RunRecord, Scores, StageRun


@dataclass(frozen=True)
class Outcome:
    """The first model beside the last. `tax` is the change of what should not get worse."""

    stage: StageRun
    first: str
    last: str
    before: str
    after: str
    gain: str
    on: str
    is_clear: bool
    tax: str


@dataclass(frozen=True)
class Cell:
    """One estimate in words; `value`, `low` and `high` in percent for a bar, or None."""

    text: str
    interval: str
    change: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Board:
    """Every model by every metric of one evaluation, and by every task."""

    stage: StageRun
    headline: Metric | None
    metrics: list[Metric]
    models: list[str]
    n: str
    cells: dict[tuple[str, str], Cell]
    tasks: list[str]
    task_cells: dict[tuple[str, str], Cell]


def title(metric: str) -> str:
    """A metric's name as words."""
    return metric.replace("_", " ").replace("/", " ")


def models_in_order(run: RunRecord, scores: Scores) -> list[str]:
    """The models in the order in which the run made them; unknown ones stay last."""
    place = {stage.name: i for i, stage in enumerate(run.stages)}
    return sorted(scores.models, key=lambda model: place.get(model, len(place)))


def headline_metric(scores: Scores) -> Metric | None:
    """Accuracy if there is one, else the first share of which more is better."""
    shares = [m for m in scores.metrics if m.is_share and m.better == "higher"]
    return next((m for m in shares if m.name == "accuracy"), shares[0] if shares else None)


def outcome(run: RunRecord) -> Outcome | None:
    """The last evaluation's first and last model; None before two models are scored."""
    for stage in reversed(run.stages):
        metric = headline_metric(stage.scores) if stage.scores else None
        if stage.scores is None or metric is None:
            continue
        models = stage.scores.models
        named = [m for m in models_in_order(run, stage.scores) if metric.name in models[m]]
        if len(named) >= 2:
            return _outcome(stage, stage.scores, metric, named[0], named[-1])
    return None


def _outcome(stage: StageRun, scores: Scores, metric: Metric, first: str, last: str) -> Outcome:
    before, after = scores.models[first][metric.name], scores.models[last][metric.name]
    points = 100 * (after.value - before.value)
    on = "held-out problems"
    if metric.name != "accuracy":
        on = f"held-out rows ({title(metric.name)})"
    return Outcome(
        stage=stage,
        first=first,
        last=last,
        before=percent(before.value, 0),
        after=percent(after.value, 0),
        gain=f"{signed(points)} points",
        on=f"{after.n:,} {on}" if after.n else on,
        is_clear=_apart(before, after),
        tax=_tax(scores, first, last),
    )


def _apart(one: Estimate, other: Estimate) -> bool:
    """Whether the two intervals share no value."""
    if None in (one.low, one.high, other.low, other.high):
        return True
    return one.high < other.low or other.high < one.low


def _tax(scores: Scores, first: str, last: str) -> str:
    """The first lower-is-better metric (a perplexity, usually) of both models."""
    for metric in scores.metrics:
        before = scores.models[first].get(metric.name)
        after = scores.models[last].get(metric.name)
        if metric.better == "lower" and before and after and before.value:
            change = 100 * (after.value / before.value - 1)
            return (
                f"{title(metric.name)} {measured(before.value)} → {measured(after.value)} "
                f"({signed(change, 1)}{THIN}%)"
            )
    return ""


def board(run: RunRecord, stage: StageRun, scores: Scores) -> Board:
    """The tables of one evaluation."""
    models = models_in_order(run, scores)
    headline = headline_metric(scores)
    cells = {
        (model, metric.name): _cell(scores, metric, model, models[0])
        for model in models
        for metric in scores.metrics
    }
    tasks = list(dict.fromkeys(task for model in models for task in scores.tasks.get(model, {})))
    task_cells = {
        (model, task): _share_cell(scores.tasks.get(model, {}).get(task))
        for model in models
        for task in tasks
    }
    n = _counts(scores, headline) if headline else ""
    return Board(stage, headline, scores.metrics, models, n, cells, tasks, task_cells)


def _counts(scores: Scores, metric: Metric) -> str:
    """Number of items that the metric was measured on; all of them, should models differ."""
    found = {row[metric.name].n for row in scores.models.values() if metric.name in row}
    return " / ".join(f"{n:,}" for n in sorted(n for n in found if n))


def _cell(scores: Scores, metric: Metric, model: str, first: str) -> Cell:
    found = scores.models[model].get(metric.name)
    if metric.is_share:
        return _share_cell(found)
    if found is None:
        return Cell(NOTHING, "")
    interval = ""
    if found.low is not None and found.high is not None:
        interval = f"{measured(found.low)} to {measured(found.high)}"
    start = scores.models[first].get(metric.name)
    change = ""
    if start and start.value and model != first:
        change = f"{signed(100 * (found.value / start.value - 1), 1)}{THIN}%"
    unit = f" {metric.unit}" if metric.unit else ""
    return Cell(f"{measured(found.value)}{unit}", interval, change)


def _share_cell(found: Estimate | None) -> Cell:
    """A fraction as percent with its interval, and where both lie on a bar from 0 to 100."""
    if found is None:
        return Cell(NOTHING, "")
    low, high = found.low, found.high
    if low is None or high is None:
        return Cell(percent(found.value), "", value=_place(found.value))
    return Cell(
        percent(found.value),
        f"{100 * low:.1f} to {100 * high:.1f}",
        value=_place(found.value),
        low=_place(low),
        high=_place(high),
    )


def _place(share: float) -> float:
    return round(100 * min(1.0, max(0.0, share)), 2)
