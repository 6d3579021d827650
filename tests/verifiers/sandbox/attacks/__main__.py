"""A JSON line for each attack: number, title, expected, verdict, ok, problem, skipped.

    python -m tests.verifiers.sandbox.attacks [--level 3] [--numbers 1,2,3]

Exit status 1 if one of them got through. At level 1 those that Landlock does not stop are told
apart by "weaker", and do not count.
"""

import argparse
import json
import sys
from dataclasses import asdict

from verifiers.sandbox import Sandbox

from . import ATTACKS, HOSTILE
from .host import host
from .running import run_all


def main() -> int:
    parser = argparse.ArgumentParser(prog="attacks")
    parser.add_argument("--level", type=int, default=3)
    parser.add_argument("--numbers", default="")
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    wanted = set(map(float, filter(None, options.numbers.split(","))))
    attacks = [a for a in (*ATTACKS, *HOSTILE) if not wanted or a.number in wanted]
    if not hasattr(Sandbox, "examine"):
        attacks = [a for a in attacks if a in ATTACKS]
    weaker = {a.number: a.level_1 for a in ATTACKS if options.level == 1}
    with host() as canaries:
        with Sandbox(
            min_level=options.level, max_level=options.level, workers=options.workers
        ) as sandbox:
            outcomes = run_all(sandbox, canaries, attacks)
        changes = [*canaries.changes(), *(f"process {pid} is left" for pid in canaries.daemons())]
    failed = len(changes)
    for number, outcome in sorted(outcomes.items()):
        reason = weaker.get(number, "")
        failed += not outcome.ok and not reason
        print(json.dumps({**asdict(outcome), "ok": outcome.ok, "weaker": reason}))
    print(json.dumps({"level": options.level, "changes": changes, "failed": failed}))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
