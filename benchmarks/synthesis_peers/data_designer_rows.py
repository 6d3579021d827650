"""A two-step method in data-designer: `python data_designer_rows.py URL ROWS CONCURRENCY` prints
rows/s."""

import os
import sys
import tempfile
import time

os.environ |= {"NEMO_TELEMETRY_ENABLED": "false", "DD_KEY": "none"}
os.environ["DATA_DESIGNER_HOME"] = tempfile.mkdtemp()

import tiktoken


class Words:
    """Its report on token counts downloads a vocabulary; words are quicker to count anyway."""

    def encode(self, text: str, **_: object) -> list[str]:
        return text.split()


tiktoken.get_encoding = lambda name: Words()

import data_designer.config as dd  # noqa: E402
from data_designer.interface import DataDesigner  # noqa: E402

WARM_UP_ROWS = 16


def rate(url: str, rows: int, concurrency: int) -> float:
    server = dd.ModelProvider(name="here", endpoint=url, provider_type="openai", api_key="DD_KEY")
    sampling = dd.ChatCompletionInferenceParams(max_parallel_requests=concurrency)
    model = dd.ModelConfig(
        alias="m", model="m", provider="here", inference_parameters=sampling, skip_health_check=True
    )
    columns = dd.DataDesignerConfigBuilder(model_configs=[model])
    columns.add_column(
        dd.SamplerColumnConfig(
            name="seed", sampler_type=dd.SamplerType.UUID, params=dd.UUIDSamplerParams()
        )
    )
    question = "question {{ seed }} " + "word " * 20
    revised = question + "\n\n{{ draft }}\n\nRevise it."
    for name, prompt in (("draft", question), ("final", revised)):
        columns.add_column(dd.LLMTextColumnConfig(name=name, model_alias="m", prompt=prompt))
    with tempfile.TemporaryDirectory() as folder:
        designer = DataDesigner(artifact_path=folder, model_providers=[server])
        native = dd.JinjaRenderingEngine.NATIVE
        designer.set_run_config(dd.RunConfig(otel_metrics_port=None, jinja_rendering_engine=native))
        start = time.monotonic()
        made = designer.create(columns, num_records=rows).load_dataset()
        assert len(made) == rows and all(made["final"])
        return rows / (time.monotonic() - start)


def main(url: str, rows: str, concurrency: str) -> None:
    for number in (WARM_UP_ROWS, int(rows)):
        measured = rate(url, number, int(concurrency))
    print(measured)


if __name__ == "__main__":
    main(*sys.argv[1:])
