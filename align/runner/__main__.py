"""`accelerate launch [options] -m align.runner RECIPE --only STAGE`: a stage in many processes."""

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path

from align.runner.execute import is_main
from align.runner.launch import ERROR_FILE
from align.runner.lock import HOLDER
from align.runner.run import run
from align.runner.user_errors import USER_ERRORS


def _end_with(pid: int) -> None:
    """End this process once `pid` is gone: a launched stage must not outlive its run's lock."""
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            os._exit(1)
        time.sleep(1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="align.runner", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--only", required=True, metavar="STAGE")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    given = parser.parse_args()
    if HOLDER in os.environ:
        holder = int(os.environ[HOLDER])
        threading.Thread(target=_end_with, args=(holder,), daemon=True).start()
    try:
        run(given.recipe, given.overrides, runs=given.runs, only=given.only)
    except USER_ERRORS as error:
        if is_main():
            print(f"error: {error}", file=sys.stderr)
            if ERROR_FILE in os.environ:
                Path(os.environ[ERROR_FILE]).write_text(json.dumps({"message": str(error)}))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
