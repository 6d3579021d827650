"""The quickstart in minutes' miniature: every stage for real, too short to learn much."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "quickstart.yaml"
MINIATURE = {
    "corpus.problems.documents": 3000,
    "corpus.problems.prompts": 400,
    "corpus.problems.heldout": 60,
    "corpus.prose_characters": 60_000,
    "base.args.max_steps": 120,
    "base.args.checkpoint_every": 20,
    "math.prompts.limit": 200,
    "sft.args.save_steps": 2,
    "pairs.prompts.skip": 200,
    "pairs.prompts.limit": 200,
    "dpo.args.save_steps": 1,
    "rm.args.save_steps": 1,
    "rm.gate.accuracy": 0.0,
    "grpo.args.per_device_train_batch_size": 64,
    "grpo.args.max_steps": 6,
    "grpo.args.save_steps": 2,
}


def command(runs: Path, *words: str) -> list[str]:
    """The miniature as a command line."""
    sets = [w for key, value in MINIATURE.items() for w in ("--set", f"stages.{key}={value}")]
    return [sys.executable, "-m", "align", "run", str(RECIPE), "--runs", str(runs), *sets, *words]


def start(runs: Path, *words: str) -> subprocess.Popen:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        command(runs, *words),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(runs: Path, *words: str) -> str:
    """Run to the end; the output."""
    process = start(runs, *words)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    return output
