"""Start one stage under `accelerate launch`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import align
from align.recipe.load import Recipe
from align.recipe.plan import PlannedStage
from align.runner.lock import HOLDER
from align.runner.store import Store
from align.stages.job import StageError

ERROR_FILE = "ALIGN_ERROR_FILE"


def command(recipe: Recipe, stage: PlannedStage, runs: Path) -> list[str]:
    """The command line, as a person would type it."""
    words = [sys.executable, "-m", "accelerate.commands.launch"]
    if stage.launch.accelerate_config:
        words += ["--config_file", str(recipe.root / stage.launch.accelerate_config)]
    else:
        # The flag picks torch's elastic launcher, which starts gloo processes where there is no
        # GPU; `--cpu` would start a single process and ignore num_processes without a word.
        words += ["--multi_gpu", "--num_machines", "1", "--mixed_precision", "no"]
        words += ["--dynamo_backend", "no"]
    words += ["--num_processes", str(stage.launch.num_processes), "-m", "align.runner"]
    words += [str(recipe.path), "--only", stage.name, "--runs", str(runs)]
    for text in recipe.source.overridden.values():
        words += ["--set", text]
    return words


def launch(recipe: Recipe, stage: PlannedStage, store: Store, runs: Path) -> None:
    """Run `stage` in several processes; progress goes to our terminal, the rest to a log.

    Raises StageError with the message of the process that failed.
    """
    work = store.work(stage.name, stage.fingerprint, stage.launch.num_processes)
    log, error_file = work / "launch.log", work / "error.json"
    error_file.unlink(missing_ok=True)
    home = str(Path(align.__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        HOLDER: str(os.getpid()),
        ERROR_FILE: str(error_file),
        "PYTHONPATH": os.pathsep.join(paths),
    }
    with log.open("w", encoding="utf-8") as stream:
        words = command(recipe, stage, runs)
        done = subprocess.run(words, env=environment, stderr=stream, check=False)
    if done.returncode == 0:
        return
    if error_file.is_file():
        raise StageError(json.loads(error_file.read_text(encoding="utf-8"))["message"])
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
    raise RuntimeError(f"stage '{stage.name}' failed (exit code {done.returncode}):\n{tail}\n{log}")
