"""A two-step method in data-designer: `python data_designer_rows.py URL ROWS CONCURRENCY` prints
rows/s."""

import os
import sys
import tempfile
import time

os.environ |= {"NEMO_TELEMETRY_ENABLED": "false", "DD_KEY": "none"}
os.environ["DATA_DESIGNER_HOME"] = tempfile.mkdtemp()

import data_designer.config as dd
from data_designer.interface import DataDesigner


def main(url: str, rows: str, concurrency: str) -> None:
    server = dd.ModelProvider(name="here", endpoint=url, provider_type="openai", api_key="DD_KEY")
    sampling = dd.ChatCompletionInferenceParams(max_parallel_requests=int(concurrency))
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
        start = time.monotonic()
        made = designer.create(columns, num_records=int(rows)).load_dataset()
        assert len(made) == int(rows) and made["final"][0]
        print(len(made) / (time.monotonic() - start))


if __name__ == "__main__":
    main(*sys.argv[1:])
