"""Other engines of synthesis, each in an environment of its own."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDS = {
    "distilabel": ["distilabel[openai]==1.5.3", "requests"],  # it forgets to ask for requests
    "curator": ["bespokelabs-curator==0.1.31"],
    "data_designer": ["data-designer==0.9.7"],
}
SETTINGS = {"distilabel": (250, 1000), "curator": (64, 256), "data_designer": (16, 64)}
"""Batch size of distilabel, requests at once of the others: all are tried, the best counts. Also
tried, and no faster: 50 and 500, and two replicas of each step for distilabel; 1,024 and 4,096 for
curator; 4, 8, 32 and 256, and other group sizes for data-designer."""


def install(peer: str, folder: Path) -> Path:
    """The peer's interpreter under `folder`, made if it isn't there."""
    python = folder / peer / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / peer], check=True)
        command = [python, "-m", "pip", "install", "--quiet", *NEEDS[peer]]
        subprocess.run(command, check=True)
    return python


def rows_per_second(python: Path, peer: str, url: str, rows: int, setting: int) -> float:
    """Of the peer's two-step method, from the start of its pipeline until the data set is there.

    Its imports are before the clock; what it starts for each pipeline (distilabel 3 s of processes)
    is not, so few rows make it look slower than it is.
    """
    command = [python, HERE / f"{peer}_rows.py", url, str(rows), str(setting)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{peer}: {done.stderr[-2000:]}")
    return float(done.stdout.strip().splitlines()[-1])
