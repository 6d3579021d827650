"""vLLM in a process of its own: a JSON object a line in, a JSON list of answers a line out.

`VllmProcess` runs this file as a program. It imports nothing of ours, so that nothing but vLLM is
loaded, and steps vLLM's engine itself, so that an answer leaves as soon as it is complete.

In:  first vLLM's engine arguments; then requests {"id", "tokens", "sampling", "schema"}, and
     {"abort": [id, ...]} for those that nobody waits for any more.
Out: first {"context": positions}; then lists of {"id", "tokens", "logps", "first", "finish"},
     or {"id", "refused": why}.
"""

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, TextIO

Send = Callable[[Any], None]


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # vLLM prints, and what it prints must not come between the answers.
    os.dup2(2, 1)

    def send(message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    engine = _engine(json.loads(sys.stdin.readline()))
    send({"context": engine.model_config.max_model_len})
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin, inbox), daemon=True).start()
    _serve(engine, inbox, send)


def _engine(arguments: dict[str, Any]) -> Any:
    from vllm import EngineArgs, LLMEngine
    from vllm.platforms import current_platform
    from vllm.usage.usage_lib import UsageContext

    if current_platform.is_cpu() and "enable_chunked_prefill" not in arguments:
        # On a CPU vLLM ends when a request with a seed has its prompt read in several steps: it
        # sets the generator back, which torch's for the CPU can't ("does not use offset").
        context = EngineArgs(**arguments).create_model_config().max_model_len
        whole = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(4096, context)}
        arguments = whole | arguments
    # The context picks vLLM's defaults for many prompts at once, over those for a server.
    return LLMEngine.from_engine_args(EngineArgs(**arguments), UsageContext.LLM_CLASS)


def _receive(stdin: TextIO, inbox: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in stdin:
        inbox.put(json.loads(line))
    # Whoever asked has closed the pipe or is dead; what is being computed is for nobody. The worker
    # leads a group of its own, in which are the processes that vLLM started, if any.
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _serve(engine: Any, inbox: queue.SimpleQueue[dict[str, Any]], send: Send) -> None:
    while True:
        while not inbox.empty() or not engine.has_unfinished_requests():
            message = inbox.get()
            if "abort" in message:
                engine.abort_request([str(number) for number in message["abort"]])
            else:
                _add(engine, message, send)
        finished = [output for output in engine.step() if output.finished]
        if finished:
            send([_reply(output) for output in finished])


def _add(engine: Any, request: dict[str, Any], send: Send) -> None:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    try:
        schema = request["schema"]
        sampling = SamplingParams(
            **request["sampling"],
            detokenize=False,
            flat_logprobs=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
            structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
        )
        engine.add_request(str(request["id"]), {"prompt_token_ids": request["tokens"]}, sampling)
    # What vLLM raises for a request it can't take has had several classes, with no common one.
    except Exception as error:
        send([{"id": request["id"], "refused": str(error)}])


def _reply(output: Any) -> dict[str, Any]:
    """Every position has the sampled token first, then the likeliest ones as asked for."""
    answer = output.outputs[0]
    table = answer.logprobs
    first = slice(table.start_indices[0] + 1, table.end_indices[0]) if len(table) else slice(0)
    return {
        "id": int(output.request_id),
        "tokens": list(answer.token_ids),
        "logps": [table.logprobs[start] for start in table.start_indices],
        "first": list(zip(table.token_ids[first], table.logprobs[first], strict=True)),
        "finish": answer.finish_reason,
    }


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        traceback.print_exc()
        # At once, or the libraries' complaints on the way out would be the last that was said.
        os._exit(1)
