"""The page: everything of a run in one HTML file that needs no network."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from align.report import chain
from align.report.numbers import NOTHING, duration, moment, size
from align.report.read import RunRecord, Sample, Scores, StageRun, read_run
from align.report.scores import board, models_in_order, outcome, title
from align.report.stage_view import StageView, views

HOME = Path(__file__).parent
MAX_SAMPLES = 3


def write(run_folder: Path) -> Path:
    """Write `report.html` into a run's folder and return its path.

    A run in progress gets a page that says what is missing. Raises ReportError, which names the
    file, if there is no run in the folder or a file of it is corrupt.
    """
    folder = Path(run_folder)
    page = render(read_run(folder))
    path = folder / "report.html"
    fresh = path.with_name(f".report.html.{os.getpid()}")
    # A lone surrogate is legal in JSON but not in UTF-8: the browser shows its replacement mark.
    fresh.write_bytes(page.encode("utf-8", "xmlcharrefreplace"))
    fresh.replace(path)
    return path


def render(run: RunRecord) -> str:
    """The page's HTML."""
    return _template().render(**_context(run))


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(HOME),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style"] = Markup((HOME / "style.css").read_text(encoding="utf-8"))
    environment.filters["words"] = title
    return environment.get_template("page.html")


def _context(run: RunRecord) -> dict[str, Any]:
    stages = views(run.stages)
    labels = {view.stage.name: view.label for view in stages}
    boards = [board(run, s, s.scores) for s in run.stages if s.scores and s.scores.models]
    return {
        "run": run,
        "outcome": outcome(run),
        "facts": _facts(run, stages),
        "across": chain.draw(run.stages, labels, vertical=False),
        "down": chain.draw(run.stages, labels, vertical=True),
        "stages": stages,
        "total_time": duration(_total(stages)),
        "boards": boards,
        "answers": [
            _answers(run, s, s.scores) for s in run.stages if s.scores and s.scores.samples
        ],
        "failed": [view for view in stages if view.state == "failed"],
        "waiting": [view.stage.name for view in stages if not view.stage.is_done],
        "stale": [view.stage.name for view in stages if view.stage.is_stale],
        "warned": [view for view in stages if view.warnings],
    }


def _answers(run: RunRecord, stage: StageRun, scores: Scores) -> dict[str, Any]:
    """The first prompts of an evaluation with each model's answer, models in running order."""
    order = models_in_order(run, scores)
    return {
        "stage": stage.name,
        "total": len(scores.samples),
        "samples": [(s, _in_order(s, order)) for s in scores.samples[:MAX_SAMPLES]],
    }


def _in_order(sample: Sample, models: list[str]) -> list[str]:
    return [m for m in models if m in sample.answers] + [
        m for m in sample.answers if m not in models
    ]


def _total(stages: list[StageView]) -> float:
    """Seconds that the stages took whose artifacts belong to this run."""
    return sum(view.seconds for view in stages if view.stage.is_done)


def _facts(run: RunRecord, stages: list[StageView]) -> list[tuple[str, str]]:
    done = [s for s in run.stages if s.is_done]
    peaks = [s.manifest.peak_bytes for s in done if s.manifest and s.manifest.peak_bytes]
    return [
        ("finished" if run.finished else "started", moment(run.finished or run.started)),
        ("stages done", f"{len(done)} of {len(stages)}"),
        ("time, all stages", duration(_total(stages)) if done else NOTHING),
        ("peak memory", size(max(peaks)) if peaks else NOTHING),
        ("seed", NOTHING if run.seed is None else f"{run.seed:g}"),
    ]
