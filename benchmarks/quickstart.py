"""Run the quickstart under several seeds and write benchmarks/quickstart.md.

    python benchmarks/quickstart.py [--seeds 17 18 19] [--runs FOLDER]

Each seed is a run from nothing in a process of its own, as a new user would start it.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from markdown import table

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "recipes" / "quickstart.yaml"
PAGE = ROOT / "benchmarks" / "quickstart.md"


def manifest(artifact: Path) -> dict:
    return json.loads((artifact / "manifest.json").read_text())


def peak_gib(run: Path) -> float:
    return max(manifest(m.parent)["peak_memory_bytes"] for m in run.glob("*/manifest.json")) / 2**30


def one_run(seed: int, runs: Path) -> dict:
    """One run from nothing, and the same command again."""
    folder = runs / str(seed)
    shutil.rmtree(folder, ignore_errors=True)
    words = [sys.executable, "-m", "align", "run", str(RECIPE)]
    words += ["--set", f"seed={seed}", "--runs", str(folder)]
    seconds = []
    for _ in ("from nothing", "again"):
        started = time.monotonic()
        subprocess.run(words, cwd=ROOT, check=True)
        seconds.append(time.monotonic() - started)
    run = folder / "quickstart"
    return {
        "seed": seed,
        "seconds": seconds[0],
        "again": seconds[1],
        "gib": peak_gib(run),
        "scores": json.loads((run / "scores" / "scores.json").read_text()),
        "rm": manifest(run / "rm")["metrics"],
        "stages": {
            stage["name"]: manifest(run / stage["name"])["wall_seconds"]
            for stage in json.loads((run / "run.json").read_text())["stages"]
        },
    }


def interval(cell: dict, scale: float = 100, digits: int = 1) -> str:
    value, low, high = (cell[k] * scale for k in ("value", "low", "high"))
    return f"{value:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def score_table(results: list[dict], metric: str, scale: float) -> str:
    """A row a model: each seed's value with its interval, and the mean over the seeds."""
    rows = [["model", *(f"seed {r['seed']}" for r in results), "mean"]]
    for model in results[0]["scores"]["models"]:
        cells = [r["scores"]["models"][model][metric] for r in results]
        mean = statistics.fmean(c["value"] for c in cells) * scale
        rows.append([model, *(interval(c, scale) for c in cells), f"**{mean:.1f}**"])
    return table(rows)


def page(results: list[dict]) -> str:
    cells = next(iter(results[0]["scores"]["models"].values()))
    costs = [["seed", "from nothing, s", "again, s", "peak memory, GiB", "RM held-out accuracy, %"]]
    for r in results:
        rm = {
            "value": r["rm"]["heldout_accuracy"],
            "low": r["rm"]["heldout_accuracy_low"],
            "high": r["rm"]["heldout_accuracy_high"],
        }
        costs.append(
            [
                str(r["seed"]),
                f"{r['seconds']:.0f}",
                f"{r['again']:.1f}",
                f"{r['gib']:.2f}",
                f"{interval(rm)}, {r['rm']['heldout_pairs']:.0f} pairs",
            ]
        )
    stages = [["stage", *(f"seed {r['seed']}" for r in results)]]
    for name in results[0]["stages"]:
        stages.append([name, *(f"{r['stages'][name]:.1f}" for r in results)])
    return f"""# The quickstart, measured

Made by `python benchmarks/quickstart.py` on {os.cpu_count()} cores ({platform.machine()}), no GPU,
Python {platform.python_version()}; each seed a run from nothing in a process of its own.

## Held-out problems solved, %

{cells["accuracy"]["n"]} problems that no training set holds, one sample each at temperature 1, with
95 % intervals (Wilson).

{score_table(results, "accuracy", 100)}

## Perplexity of held-out prose (the alignment tax)

{score_table(results, "prose_perplexity", 1)}

## Cost

{table(costs)}

Seconds a stage:

{table(stages)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[17, 18, 19])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "benchmark")
    given = parser.parse_args()
    results = [one_run(seed, given.runs) for seed in given.seeds]
    PAGE.write_text(page(results), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
