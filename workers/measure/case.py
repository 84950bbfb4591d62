"""Run cases, each in a process of its own: one line of JSON in, one line out.

A fresh process per case, because an allocator that has seen one run answers differently
in the next, and because an out-of-memory error must not reach the rest of the grid. The
process is forked from one that has imported torch, transformers and peft but never touched
the GPU: importing takes many times as long as most cases.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config
from transformers import __version__ as transformers_version

GIB = 1024**3
WARM_UP_STEPS = 2
TIMED_STEPS = 5
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def build(family: str, model: Mapping[str, Any], dtype: torch.dtype, attention: str, device: str) -> Any:
    """A decoder with random weights, on the device from the start so that host memory is not the limit."""
    config_class = {"llama": LlamaConfig, "qwen2": Qwen2Config}[family]
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    config = config_class(
        **{name: model[name] for name in names},
        vocab_size=model["vocab_size"],
        tie_word_embeddings=model["tie_word_embeddings"],
        max_position_embeddings=32_768,
    )
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)


def optimizer_for(name: str, parameters: list[Any]) -> torch.optim.Optimizer:
    """The optimizers as PyTorch ships them."""
    if name == "adafactor":
        return torch.optim.Adafactor(parameters)
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=1e-5)
    return torch.optim.AdamW(parameters, lr=1e-5)


def training_step(family: str, work: Mapping[str, Any], device: str) -> Callable[[], None]:
    """One optimizer step of the asked kind on random tokens."""
    precision, full = str(work["precision"]), work["method"] == "full"
    pure = bool(work.get("pure_low_precision", True))
    # with an FP32 master the weights live in FP32 and autocast computes in the low precision
    dtype = DTYPES[precision] if pure or not full else torch.float32
    model = build(family, work["model"], dtype, str(work["attention"]), device)
    if work["gradient_checkpointing"] == "full":
        model.gradient_checkpointing_enable()
        if not full:
            model.enable_input_require_grads()
    if not full:
        rank = int(work["lora_rank"])
        model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
    model.train()
    optimizer = optimizer_for(str(work["optimizer"]), [p for p in model.parameters() if p.requires_grad])
    shape = (int(work["micro_batch_size"]), int(work["sequence_length"]))
    tokens = torch.randint(0, work["model"]["vocab_size"], shape, device=device)
    mixed = full and not pure and precision != "fp32"

    def step() -> None:
        with torch.autocast(device, dtype=DTYPES[precision]) if mixed else contextlib.nullcontext():
            loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def generation(family: str, work: Mapping[str, Any], device: str) -> Callable[[], None]:
    """One static batch: prompts of random tokens, greedy decoding of exactly the asked length."""
    model = build(family, work["model"], DTYPES[str(work["precision"])], "sdpa", device).eval()
    shape = (int(work["max_batch_size"]), int(work["input_length"]))
    tokens = torch.randint(10, work["model"]["vocab_size"], shape, device=device)
    length = int(work["output_length"])

    def run() -> None:
        with torch.inference_mode():
            model.generate(
                input_ids=tokens,
                attention_mask=torch.ones_like(tokens),
                min_new_tokens=length,
                max_new_tokens=length,
                do_sample=False,
                pad_token_id=0,
            )

    return run


def measure(family: str, work: Mapping[str, Any], device: str) -> dict[str, object]:
    """Peaks in GiB as allocated, reserved and driver see them, and the median time of the repeats."""
    cuda = device == "cuda"
    training = work["type"] == "training"
    before = torch.cuda.mem_get_info()[0] if cuda else 0
    run = training_step(family, work, device) if training else generation(family, work, device)
    warm_up, timed = (WARM_UP_STEPS, TIMED_STEPS) if training else (1, 2)
    times = []
    for number in range(warm_up + timed):
        start = time.perf_counter()
        run()
        if cuda:
            torch.cuda.synchronize()
        if number >= warm_up:
            times.append(time.perf_counter() - start)
    seconds = statistics.median(times)
    result: dict[str, object] = {"outcome": "completed"}
    if training:
        result["step_time_s"] = seconds
        result["tokens_per_second"] = work["micro_batch_size"] * work["sequence_length"] / seconds
    else:
        result["tokens_per_second"] = work["max_batch_size"] * work["output_length"] / seconds
    if cuda:
        # `before` was read with the context already made, whose size is added from the first reading of the parent.
        # the caching allocator gives nothing back but where memory ran short: what it freed then was held at the peak
        reserved = torch.cuda.max_memory_reserved()
        result["peak_allocated_gib"] = torch.cuda.max_memory_allocated() / GIB
        result["peak_reserved_gib"] = reserved / GIB
        result["freed_gib"] = (reserved - torch.cuda.memory_reserved()) / GIB
        result["driver_growth_gib"] = (before - torch.cuda.mem_get_info()[0]) / GIB
        result["context_free_gib"] = before / GIB
    return result


def answer(line: str) -> str:
    """Measure what a line asks for ({family, workload, device}); never raises."""
    try:
        asked = json.loads(line)
        result = measure(asked["family"], asked["workload"], asked["device"])
    except torch.OutOfMemoryError:
        result = {"outcome": "out_of_memory"}
    except Exception as error:  # whatever breaks one case must not end the others
        text = str(error).strip() or type(error).__name__
        result = {"outcome": "out_of_memory" if "out of memory" in text.lower() else "failed", "error": text[:300]}
    version = f"torch {torch.__version__}, transformers {transformers_version}"
    return json.dumps(result | {"version": version})


def in_a_fork(line: str) -> str:
    """Answer in a child, stopped after the seconds that the line allows."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.dup2(2, 1)  # what libraries print must not look like an answer
        signal.alarm(math.ceil(json.loads(line)["seconds"]))  # the default action ends the child: no handler to outlive
        with os.fdopen(writer, "w") as out:
            out.write(answer(line))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    _, status = os.waitpid(child, 0)
    if text:
        return text
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        return json.dumps({"outcome": "timeout"})
    return json.dumps({"outcome": "failed", "error": f"the process ended with status {status}"})


def main() -> None:
    """Answer each line of standard input with a line, until it closes."""
    for line in sys.stdin:
        print(in_a_fork(line), flush=True)


if __name__ == "__main__":
    main()
