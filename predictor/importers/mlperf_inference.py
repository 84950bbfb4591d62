"""MLPerf Inference result summaries: `summary_results.json` of a results repository, or a submission's `summary.csv`.

One entry per system, benchmark and scenario. Used are (JSON name, CSV name):
- `Model`, `MlperfModel`: the benchmark; it fixes the model, its data set and how many samples there are
- `Performance_Result`, `Result` with `Performance_Units`, `Units`: generated tokens (or samples) a second, whole system
- `Accelerator`, `accelerator_model_name`: the card; `a#`, `accelerators_per_node`, `Nodes`, `number_of_nodes`: how many
- `weight_data_types`: precision; `Software`, `framework`: engine and version; `Scenario`: offline, server, interactive
- `Accuracy`: holds `TOKENS_PER_SAMPLE`, the mean output length (JSON only)
The split of the model over the cards, the batch and most input lengths are not published. Accuracy targets 99 and 99.9
are two entries of one run; the second is kept out. What is no language model becomes a custom job of 1,000 samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from predictor.importers.csv_rows import csv_rows
from predictor.importers.document import Document
from predictor.importers.draft import Draft, Item, Rejected, UnusableResult
from predictor.importers.gpu_names import gpu_type_named
from predictor.importers.values import known, positive, text, whole
from predictor.words import Precision

CUSTOM_SAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What the rules of a language benchmark fix; see each benchmark's page under language/ of mlcommons/inference."""

    model: str
    samples: int
    """Of its data set, all of which an offline run answers."""
    input_length: float | None = None
    """Mean tokens, where MLCommons published it."""
    tokens_since: tuple[int, int] = (4, 0)
    """The round from which results count tokens; before it they counted samples."""


BENCHMARKS = {
    "llama2-70b": Benchmark("meta-llama/Llama-2-70b-hf", 24_576),
    "mixtral-8x7b": Benchmark("mistralai/Mixtral-8x7B-v0.1", 15_000),
    "gptj": Benchmark("EleutherAI/gpt-j-6b", 13_368, tokens_since=(4, 1)),
    "llama3.1-8b": Benchmark("meta-llama/Llama-3.1-8B", 13_368),
    # mlcommons.org, "LLM inference v5" (April 2025)
    "llama3.1-405b": Benchmark("meta-llama/Llama-3.1-405B", 8_313, input_length=9_400),
    "deepseek-r1": Benchmark("deepseek-ai/DeepSeek-R1", 4_388),
}

_CSV_NAMES = {
    "MlperfModel": "Model",
    "Result": "Performance_Result",
    "Units": "Performance_Units",
    "accelerator_model_name": "Accelerator",
    "accelerators_per_node": "a#",
    "number_of_nodes": "Nodes",
    "framework": "Software",
}
_TARGET = re.compile(r"-99(\.9)?$")
_ENGINES = {"vllm": "vllm", "sglang": "sglang", "tensorrt": "tensorrt-llm"}


def recognises(document: Document) -> bool:
    """JSON entries or CSV columns of a summary."""
    return document.keys >= {"Scenario", "Accelerator", "Model"} or document.header >= {
        "MlperfModel",
        "Scenario",
        "Result",
    }


def read(document: Document) -> Iterator[Item]:
    """One draft per measured entry."""
    seen: set[str] = set()
    for found in document.objects if document.keys else csv_rows(document.text or ""):
        if isinstance(found, Rejected):
            yield found
            continue
        line, entry = found
        try:
            draft = _draft(line, _in_json_names(entry))
        except UnusableResult as error:
            yield Rejected(line, str(error))
            continue
        run = str([draft.label, draft.fields, entry.get("Platform"), entry.get("Submitter", entry.get("Organization"))])
        if run in seen:
            yield Rejected(line, "the same run stands above under its other accuracy target")
            continue
        seen.add(run)
        yield draft


def _in_json_names(entry: Mapping[str, object]) -> Mapping[str, object]:
    if "MlperfModel" not in entry:
        return entry
    # beside MlperfModel, Model is the submitter's own name
    return {_CSV_NAMES.get(name, name): value for name, value in entry.items() if name != "Model"}


def _draft(line: int, entry: Mapping[str, Any]) -> Draft:
    name = _TARGET.sub("", text(entry.get("Model")) or "").replace("-interactive", "")
    if not name:
        raise UnusableResult("the entry names no benchmark (Model)")
    rate = positive(entry.get("Performance_Result"))
    units = text(entry.get("Performance_Units")) or ""
    if rate is None:
        raise UnusableResult(f"{name}: the result {entry.get('Performance_Result')!r:.40} is no number above 0")
    if not units.endswith("/s"):
        raise UnusableResult(f"{name}: a result in {units or 'unknown units'} is no throughput")
    per_node, nodes = whole(entry.get("a#")), whole(entry.get("Nodes"))
    scenario = (text(entry.get("Scenario")) or "").casefold()
    software = text(entry.get("Software")) or ""
    engine = next((engine for word, engine in _ENGINES.items() if word in software.casefold()), None)
    precision = (text(entry.get("weight_data_types")) or "").casefold()
    precision = precision if precision in tuple(Precision) else ""
    fields: dict[str, Any] = known(
        gpu_type=gpu_type_named(text(entry.get("Accelerator"))),
        layout={"gpu_count": per_node * nodes} if per_node and nodes else None,
        software=known(engine=engine, version=software or None, scenario=scenario or None),
        source=f"mlperf-inference-{text(entry.get('version')) or 'unknown'}",
        licence="Apache-2.0",
    )
    benchmark = BENCHMARKS.get(name)
    if benchmark is None:
        features = known(scenario=scenario or None, precision=precision or None, engine=software or None)
        fields["workload"] = {"type": "custom", "kind": f"mlperf-inference-{name}", "features": features}
        return Draft(line=line, label=name, fields=fields | {"runtime_s": CUSTOM_SAMPLES / rate})
    if not units.startswith("Tokens") and _round(entry) < benchmark.tokens_since:
        raise UnusableResult(f"{name} counted samples, not tokens, before round {benchmark.tokens_since}")
    length = re.search(r"TOKENS_PER_SAMPLE: ([\d.]+)", text(entry.get("Accuracy")) or "")
    fields["workload"] = known(
        type="inference",
        model=benchmark.model,
        precision=precision or None,
        precision_unstated=None if precision else True,
        num_requests=benchmark.samples,
        input_length=benchmark.input_length,
        output_length=positive(length[1]) if length else None,
        input_length_is_mean=True,
        output_length_is_mean=True,
        engine=engine,
    )
    return Draft(line=line, label=name, fields=fields | {"tokens_per_second": rate})


def _round(entry: Mapping[str, Any]) -> tuple[int, int]:
    found = re.match(r"v?(\d)\.(\d)$", text(entry.get("version")) or "")
    return (int(found[1]), int(found[2])) if found else (0, 0)
