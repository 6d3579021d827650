"""A two-step method in distilabel: `python distilabel_rows.py URL ROWS BATCH` prints rows/s.

Each pipeline starts a process for each of its steps, so that a run before the clock would warm
nothing up.
"""

import os
import sys
import tempfile
import time

os.environ |= {"DISTILABEL_LOG_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration


def main(url: str, rows: str, batch: str) -> None:
    size = int(batch)
    questions = [{"instruction": f"question {n} " + "word " * 20} for n in range(int(rows))]
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        with Pipeline(name="two-steps", cache_dir=folder) as pipeline:
            load = LoadDataFromDicts(data=questions, batch_size=size)
            common = {"input_batch_size": size, "add_raw_input": False, "add_raw_output": False}
            draft = TextGeneration(
                name="draft",
                llm=OpenAILLM(model="m", base_url=url, api_key="none"),
                output_mappings={"generation": "draft"},
                **common,
            )
            revise = TextGeneration(
                name="revise",
                llm=OpenAILLM(model="m", base_url=url, api_key="none"),
                template="{{ instruction }}\n\n{{ draft }}\n\nRevise it.",
                columns=["instruction", "draft"],
                **common,
            )
            load >> draft >> revise
        made = pipeline.run(use_cache=False)["default"]["train"]
        assert len(made) == int(rows) and all(made["generation"])
        print(len(made) / (time.monotonic() - start))


if __name__ == "__main__":
    main(*sys.argv[1:])
