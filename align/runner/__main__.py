"""`accelerate launch [options] -m align.runner RECIPE --only STAGE`: a stage in many processes."""

import argparse
import json
import os
import sys
from pathlib import Path

from align.runner.execute import is_main
from align.runner.launch import ERROR_FILE
from align.runner.run import run
from align.runner.user_errors import USER_ERRORS


def main() -> int:
    parser = argparse.ArgumentParser(prog="align.runner", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--only", required=True, metavar="STAGE")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    given = parser.parse_args()
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
