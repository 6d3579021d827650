"""A two-step method in curator: `python curator_rows.py URL ROWS CONCURRENCY` prints rows/s."""

import os
import sys
import tempfile
import time

# Progress shown at each answer costs curator about a third of its speed.
os.environ |= {
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "TQDM_DISABLE": "1",
    "TELEMETRY_ENABLED": "false",
}

import tiktoken


class Words:
    """curator downloads a vocabulary at its first request; words are quicker to count anyway."""

    def encode(self, text: str, **_: object) -> list[str]:
        return text.split()


tiktoken.get_encoding = tiktoken.encoding_for_model = lambda name: Words()

from bespokelabs import curator  # noqa: E402
from datasets import Dataset  # noqa: E402

WARM_UP_ROWS = 16


class Draft(curator.LLM):
    def prompt(self, row: dict) -> str:
        return row["question"]

    def parse(self, row: dict, response: str) -> dict:
        return {**row, "draft": response}


class Revise(curator.LLM):
    def prompt(self, row: dict) -> str:
        return f"{row['question']}\n\n{row['draft']}\n\nRevise it."

    def parse(self, row: dict, response: str) -> dict:
        return {**row, "final": response}


def rate(url: str, rows: int, concurrency: int) -> float:
    backend = {
        "base_url": url,
        "api_key": "none",
        "max_requests_per_minute": 10**9,
        "max_tokens_per_minute": 10**12,
        "max_concurrent_requests": concurrency,
    }
    data = Dataset.from_list([{"question": f"question {n} " + "word " * 20} for n in range(rows)])
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        for step in (Draft, Revise):
            made = step(model_name="m", backend="openai", backend_params=backend)(
                data, working_dir=folder
            )
            data = getattr(made, "dataset", made)
        assert len(data) == rows and all(data["final"])
        return rows / (time.monotonic() - start)


def main(url: str, rows: str, concurrency: str) -> None:
    for number in (WARM_UP_ROWS, int(rows)):
        measured = rate(url, number, int(concurrency))
    print(measured)


if __name__ == "__main__":
    main(*sys.argv[1:])
