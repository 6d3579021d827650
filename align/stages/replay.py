"""Recorded answers in a model's place."""

import shutil

from align.generate import ReplayEngine
from align.stages.job import Job, Outcome

ANSWERS = "answers.jsonl"


def run(job: Job) -> Outcome:
    shutil.copyfile(job.root / job.config.answers, job.output / ANSWERS)
    ReplayEngine(job.output / ANSWERS)  # reads it whole, and says what is wrong with it
    return Outcome()
