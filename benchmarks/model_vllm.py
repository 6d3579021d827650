"""Tokens/s of vLLM, as JSON: greedy and sampled at batches of 1, 64 and 256.

python benchmarks/model_vllm.py FOLDER      # by an interpreter that has vLLM
"""

import json
import os
import random
import sys
import time

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")

from vllm import LLM, SamplingParams

NEW, PROMPT = 128, 64


def main() -> None:
    llm = LLM(
        sys.argv[1],
        skip_tokenizer_init=True,
        dtype="float32",
        max_model_len=256,
        max_num_seqs=256,
        enable_prefix_caching=False,
    )
    vocabulary = llm.llm_engine.model_config.get_vocab_size()
    settings = {"max_tokens": NEW, "min_tokens": NEW, "ignore_eos": True, "detokenize": False}
    speeds = []
    for batch in (1, 64, 256):
        draw = random.Random(2)
        prompts = [
            {"prompt_token_ids": [draw.randrange(vocabulary) for _ in range(PROMPT)]}
            for _ in range(batch)
        ]
        for how in ({"temperature": 0.0}, {"temperature": 0.8, "top_p": 0.95}):
            params = SamplingParams(**how, **settings)
            llm.generate(prompts, params, use_tqdm=False)
            started = time.perf_counter()
            llm.generate(prompts, params, use_tqdm=False)
            speeds.append(batch * NEW / (time.perf_counter() - started))
    print(json.dumps(speeds))


if __name__ == "__main__":
    main()
