"""A synthesis on a server, killed again and again: only what was in flight is asked twice."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from tests.generate.scripted_server import Reply, ScriptedServer, completion

pytestmark = pytest.mark.slow

KILLS = 20
IN_FLIGHT = 16
PROBLEMS = 400
SAMPLES = 4
RECIPE = """\
name: killed
seed: 5
stages:
  model: {{kind: server, url: "{url}", model: m, label: here, max_concurrency: {in_flight}}}
  problems: {{kind: prompts, source: problems.jsonl, heldout: 0}}
  pairs:
    kind: synth
    method: rejection_sampling
    model: model
    prompts: problems
    verifier: math
    samples: {samples}
    output: preference
"""


def answer(request, number):
    """Right, wrong, cut off or no JSON at all, as question and seed have it."""
    question = int(request["messages"][-1]["content"].split()[-1])
    draw = random.Random(f"{question}/{request['seed']}").random()
    if draw < 0.05:
        return Reply(completion("I think", finish="length"), delay_s=0.005)
    right = question + 1 if draw < 0.5 else question
    return Reply(completion(f"{draw:.3f}\n#### {right}"), delay_s=0.005)


def begun(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "align", "run", str(folder / "r.yaml")]
    return subprocess.Popen(
        [*command, "--runs", str(folder / "runs")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(folder: Path) -> None:
    process = begun(folder)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


def folder_for(path: Path, server: ScriptedServer) -> Path:
    path.mkdir()
    rows = [{"prompt": f"What follows {n}", "answer": f"{n + 1}"} for n in range(PROBLEMS)]
    (path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = RECIPE.format(url=server.url, in_flight=IN_FLIGHT, samples=SAMPLES)
    (path / "r.yaml").write_text(recipe)
    return path


def made(folder: Path) -> dict[str, bytes]:
    stage = folder / "runs" / "killed" / "pairs"
    return {name: (stage / name).read_bytes() for name in ("data.parquet", "rejected.parquet")}


def distinct(server: ScriptedServer) -> int:
    return len({orjson.dumps(request) for request in server.requests})


def test_killed_at_20_random_points_it_repeats_no_more_than_what_was_in_flight(tmp_path):
    with ScriptedServer(answer) as server:
        calm = folder_for(tmp_path / "calm", server)
        finished(calm)
        total = server.num_asked
        assert total == PROBLEMS * SAMPLES == distinct(server)
    draw = random.Random(int(time.time()))
    points = sorted(draw.sample(range(1, total), KILLS))
    with ScriptedServer(answer) as server:
        torn = folder_for(tmp_path / "torn", server)
        for number, point in enumerate(points):
            process = begun(torn)
            # Repeated requests count too, so the point is in what the server has seen of new ones.
            while len(server.asked) < point and process.poll() is None:
                time.sleep(0.001)
            assert process.poll() is None, (number, point, process.stdout.read())
            process.send_signal(signal.SIGKILL)
            process.wait()
        finished(torn)
        repeated = server.num_asked - total
        assert distinct(server) == total
        assert repeated <= KILLS * IN_FLIGHT, (points, repeated)
    assert made(torn) == made(calm)
