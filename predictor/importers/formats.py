"""The formats that can be imported, and which of them a file is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from predictor.importers import (
    hf_peft,
    hf_trainer,
    megatron_golden,
    mlperf_inference,
    mlperf_training,
    observations,
    table,
    torch_log,
    vllm_bench,
)
from predictor.importers.document import Document
from predictor.importers.draft import InvalidResults, Item


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of result file."""

    name: str
    recognises: Callable[[Document], bool]
    read: Callable[[Document], Iterator[Item]]
    is_complete: bool = False
    """Its rows are observations already: what they leave out, they leave out knowingly."""


# the surest signs come first; a log says little that a table might not say too
FORMATS = (
    Format("observations", observations.recognises, observations.read, is_complete=True),
    Format("mlperf-inference", mlperf_inference.recognises, mlperf_inference.read),
    Format("mlperf-training", mlperf_training.recognises, mlperf_training.read),
    Format("hf-peft", hf_peft.recognises, hf_peft.read),
    Format("megatron-golden", megatron_golden.recognises, megatron_golden.read),
    Format("vllm-bench", vllm_bench.recognises, vllm_bench.read),
    Format("hf-trainer", hf_trainer.recognises, hf_trainer.read),
    Format("table", table.recognises, table.read),
    Format("torch-log", torch_log.recognises, torch_log.read),
)
NAMES = tuple(known.name for known in FORMATS)


def find_format(document: Document, name: str | None) -> Format:
    """The format of that name, or else the first that knows the content."""
    for known in FORMATS:
        if known.name == name or (name is None and known.recognises(document)):
            return known
    if name is None:
        raise InvalidResults(f"the format of {document.path.name} is not recognised; name it: {', '.join(NAMES)}")
    raise InvalidResults(f"there is no format {name!r:.60}; it is one of {', '.join(NAMES)}")
