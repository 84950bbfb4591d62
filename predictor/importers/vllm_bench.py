"""vLLM's benchmarks: `vllm bench serve` (once `benchmark_serving.py`) and `throughput` (`benchmark_throughput.py`).

Used of serving (a JSON object, or one on each line with `--append-result`):
- `model_id`; `backend` (`endpoint_type`): which server, where it is not just `openai`
- `completed`, `total_input_tokens`, `total_output_tokens`: the requests and their mean lengths
- `failed`, `num_prompts`: whether all were answered; the seconds that went on others would be taken for work
- `duration`: seconds for all of them; `max_concurrency`: how many at once
- `request_rate`: "inf" where all are sent at once; at a finite rate the time tells of the arrivals, not of the server
- `tensor_parallel_size`, `pipeline_parallel_size`, `data_parallel_size`: where the user wrote them with `--metadata`
Used of throughput: `elapsed_time`, `num_requests`, `total_num_tokens` (input and output together, so one of the two
lengths is given with `--set workload.output_length=…`).
Neither says the GPU or any memory; what such an engine takes of a card would not be what it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from predictor.importers.document import Document
from predictor.importers.draft import Draft, Item, Rejected, UnusableResult
from predictor.importers.values import known, number, positive, section, text, whole

SERVERS = {"vllm": "vllm", "sglang": "sglang", "sglang-native": "sglang", "tensorrt-llm": "tensorrt-llm",
           "trt": "tensorrt-llm", "tgi": "tgi", "lmdeploy": "lmdeploy", "deepspeed-mii": "deepspeed-mii",
           "llama.cpp": "llama.cpp", "vllm-chat": "vllm"}  # fmt: skip
"""Backends that say which engine answered; `openai` is only a protocol."""

_SERVING = {"duration", "completed", "total_input_tokens", "total_output_tokens"}
_OFFLINE = {"elapsed_time", "num_requests", "total_num_tokens"}
_SLACK = 0.02
"""Tokenizers add a token or two to each prompt."""
_PARALLEL = ("tensor_parallel", "pipeline_parallel", "data_parallel")


def recognises(document: Document) -> bool:
    """The counters of either benchmark."""
    return document.keys >= _SERVING or document.keys >= _OFFLINE


def read(document: Document) -> Iterator[Item]:
    """One draft per benchmark run."""
    for found in document.objects:
        if isinstance(found, Rejected):
            yield found
            continue
        line, result = found
        try:
            yield _serving(line, result) if set(result) >= _SERVING else _offline(line, result)
        except UnusableResult as error:
            yield Rejected(line, str(error))


def _serving(line: int, result: Mapping[str, object]) -> Draft:
    requests, duration = whole(result.get("completed")), positive(result.get("duration"))
    if requests is None or duration is None:
        raise UnusableResult("no request was completed, or no duration measured")
    asked = max(requests + (whole(result.get("failed")) or 0), whole(result.get("num_prompts")) or 0)
    if asked > requests:
        raise UnusableResult(f"{asked - requests} of {asked} requests failed, and took some of the duration")
    rate = result.get("request_rate")
    if number(rate) is not None:
        raise UnusableResult(
            f"requests arrived at {rate}/s, so the duration says when they came, not how fast they went"
        )
    inputs, outputs = positive(result.get("total_input_tokens")), positive(result.get("total_output_tokens"))
    if inputs is None or outputs is None:
        raise UnusableResult("the numbers of input and output tokens are missing")
    backend = text(result.get("backend")) or text(result.get("endpoint_type")) or ""
    engine = SERVERS.get(backend.casefold())
    workload = known(
        type="inference",
        model=text(result.get("model_id")),
        precision_unstated=True,
        num_requests=requests,
        input_length=inputs / requests,
        output_length=outputs / requests,
        input_length_is_mean=True,
        output_length_is_mean=True,
        max_batch_size=whole(result.get("max_concurrency")),
        engine=engine,
    )
    fields = {
        "workload": workload,
        "software": known(engine=engine, scenario="serving-closed-loop"),
        "runtime_s": duration,
        "tokens_per_second": outputs / duration,
    }
    return Draft(line=line, fields=fields | _layout(result))


def _offline(line: int, result: Mapping[str, object]) -> Draft:
    requests, elapsed = whole(result.get("num_requests")), positive(result.get("elapsed_time"))
    tokens = positive(result.get("total_num_tokens"))
    if requests is None or elapsed is None or tokens is None:
        raise UnusableResult("one of elapsed_time, num_requests and total_num_tokens is missing")
    workload = {"type": "inference", "num_requests": requests, "engine": "vllm", "precision_unstated": True}
    fields = {
        "workload": workload | {"input_length_is_mean": True, "output_length_is_mean": True},
        "software": {"engine": "vllm", "scenario": "offline"},
        "runtime_s": elapsed,
    }

    def derive(row: dict[str, Any]) -> None:
        """The length that was not given is the rest; both must agree with what was counted."""
        lengths = section(row, "workload")
        given = {name: positive(lengths.get(name)) for name in ("input_length", "output_length")}
        said = sum(length for length in given.values() if length is not None)
        rest = tokens / requests - said
        if None not in given.values():
            if abs(rest) > _SLACK * said:
                raise UnusableResult(f"the file counted {tokens / requests:g} tokens a request, {said:g} were given")
        elif said and rest > 0:
            row["workload"] |= {name: rest for name, length in given.items() if length is None}
        outputs = positive(row["workload"].get("output_length"))
        if outputs is not None:
            row["tokens_per_second"] = outputs * requests / elapsed

    return Draft(line=line, fields=fields | _layout(result), derive=derive)


def _layout(result: Mapping[str, object]) -> dict[str, Any]:
    sizes = {name: whole(result.get(f"{name}_size")) for name in _PARALLEL}
    if sizes["tensor_parallel"] is None:
        return {}
    filled = {name: size or 1 for name, size in sizes.items()}
    return {"layout": filled | {"gpu_count": filled["tensor_parallel"] * filled["pipeline_parallel"]
                                * filled["data_parallel"]}}  # fmt: skip
