"""The few layouts an expert would try for a job on a number of GPUs, and what makes a layout impossible for a job.

More tensor-parallel ranks than KV heads are possible: engines repeat the heads (vLLM and Megatron do).
Tensor parallelism stays inside a machine, where links are fast; pipelines and replicas cross machines
(Narayanan et al., arXiv:2104.04473, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd

from predictor.architectures.architecture import Architecture
from predictor.errors import InvalidLayout
from predictor.layout import Layout
from predictor.words import Method, Sharding
from predictor.workload import CustomWorkload, InferenceWorkload, TrainingWorkload, Workload

MOST = 12
"""Layouts per GPU count: a plan asks all of them on every offer."""

LONG_SEQUENCE = 32_768
"""Tokens from which splitting the sequence itself is worth a try."""


def sensible_layouts(workload: Workload, gpu_count: int, *, node_gpus: int = 8) -> tuple[Layout, ...]:
    """At least one layout of exactly `gpu_count` GPUs, plainest first, always in the same order."""
    match workload:
        case TrainingWorkload():
            tried = _training(workload, gpu_count, node_gpus)
        case InferenceWorkload():
            tried = _inference(workload, gpu_count, node_gpus)
        case CustomWorkload():
            tried = iter((Layout(gpu_count=gpu_count, data_parallel=gpu_count),))
    possible = [layout for layout in dict.fromkeys(tried) if _objection(workload, layout) is None]
    # a context split needs nothing to be divisible, so there is always an answer
    return tuple(possible[:MOST]) or (Layout(gpu_count=gpu_count, context_parallel=gpu_count),)


def check_layout(workload: Workload, layout: Layout) -> None:
    """InvalidLayout, with the numbers, where this job cannot be split like that."""
    objection = _objection(workload, layout)
    if objection is not None:
        raise InvalidLayout(objection)


def _objection(workload: Workload, layout: Layout) -> str | None:
    if isinstance(workload, CustomWorkload):
        return None
    objection = _objection_of_model(workload.architecture, layout)
    if objection is None and isinstance(workload, TrainingWorkload) and workload.global_batch_size is not None:
        at_once = workload.micro_batch_size * layout.data_parallel
        if at_once > workload.global_batch_size:
            return (
                f"layout.data_parallel {layout.data_parallel} x micro_batch_size {workload.micro_batch_size} is "
                f"{at_once}, more than global_batch_size {workload.global_batch_size}"
            )
    return objection


def _objection_of_model(a: Architecture, layout: Layout) -> str | None:
    if a.num_attention_heads % layout.tensor_parallel:
        return (
            f"layout.tensor_parallel {layout.tensor_parallel} does not divide the "
            f"{a.num_attention_heads} attention heads of {a.id}"
        )
    if layout.pipeline_parallel > a.num_hidden_layers:
        return (
            f"layout.pipeline_parallel {layout.pipeline_parallel} is more than "
            f"the {a.num_hidden_layers} layers of {a.id}"
        )
    if layout.expert_parallel > 1 and not a.num_experts:
        return f"layout.expert_parallel {layout.expert_parallel} has nothing to spread: {a.id} has no experts"
    if layout.expert_parallel > max(1, a.num_experts):
        return f"layout.expert_parallel {layout.expert_parallel} is more than the {a.num_experts} experts of {a.id}"
    return None


def _training(workload: TrainingWorkload, count: int, node_gpus: int) -> Iterator[Layout]:
    """Data parallelism by rising sharding, then tensors inside a machine, experts, pipelines over machines, context."""
    if count == 1:
        yield Layout()
        return
    # sharding what adapters train saves nothing; sharding their frozen base does
    adapters = workload.method is not Method.FULL
    for sharding in (Sharding.NONE, Sharding.ZERO3) if adapters else Sharding:
        yield Layout(gpu_count=count, data_parallel=count, sharding=sharding)
    a = workload.architecture
    tensors = [size for size in _tensor_sizes(a, count, node_gpus) if size > 1]
    for size in tensors:
        yield _replicas(count, tensor=size)
    experts = gcd(count, a.num_experts)
    if experts > 1:
        yield _replicas(count, tensor=1, experts=experts)
        if tensors:
            yield _replicas(count, tensor=tensors[-1], experts=experts)
    nodes = count // node_gpus
    for size in (*tensors[-2:], 1):
        if nodes > 1 and count % (size * nodes) == 0:
            yield _replicas(count, tensor=size, pipeline=nodes)
    for size in _divisors(min(count, node_gpus)):
        if size > 1 and count % size == 0 and workload.sequence_length >= LONG_SEQUENCE:
            yield _replicas(count, tensor=1, context=size, sharding=Sharding.ZERO3)
    # a small global batch leaves no room for replicas: whatever of the rest divides
    for size in reversed(tensors):
        yield Layout(gpu_count=count, tensor_parallel=size, pipeline_parallel=count // size)
    yield Layout(gpu_count=count, pipeline_parallel=count)


def _inference(workload: InferenceWorkload, count: int, node_gpus: int) -> Iterator[Layout]:
    """Replicas of every tensor-parallel size, experts and repeated attention for mixtures, pipelines last."""
    a = workload.architecture
    sizes = _tensor_sizes(a, count, node_gpus)
    in_flight = min(workload.num_requests, workload.max_batch_size or workload.num_requests)
    for size in sizes:
        if count // size <= in_flight:  # a replica without a request does nothing
            yield Layout(gpu_count=count, tensor_parallel=size, data_parallel=count // size)
    if count == 1:
        return
    experts = gcd(count, a.num_experts)
    if experts > 1:
        for size in sizes:
            yield Layout(gpu_count=count, tensor_parallel=size, data_parallel=count // size, expert_parallel=experts)
        if a.kv_lora_rank:  # tensor parallelism cannot split a latent cache, sequences can
            yield Layout(
                gpu_count=count, tensor_parallel=sizes[-1], data_parallel=count // sizes[-1],
                expert_parallel=experts, data_parallel_attention=True,
            )  # fmt: skip
    for size in reversed(sizes):
        if size < count:
            yield Layout(gpu_count=count, tensor_parallel=size, pipeline_parallel=count // size)


def _replicas(
    count: int,
    *,
    tensor: int,
    pipeline: int = 1,
    context: int = 1,
    experts: int = 1,
    sharding: Sharding = Sharding.ZERO1,
) -> Layout:
    """These splits, and data parallelism over the rest; its ranks share the optimizer states."""
    data = count // (tensor * pipeline * context)
    return Layout(
        gpu_count=count, tensor_parallel=tensor, pipeline_parallel=pipeline, context_parallel=context,
        data_parallel=data, expert_parallel=experts, sharding=sharding if data * context > 1 else Sharding.NONE,
    )  # fmt: skip


def _tensor_sizes(a: Architecture, count: int, node_gpus: int) -> list[int]:
    """Sizes inside a machine that divide the GPUs and the heads, and share out or repeat the KV heads evenly."""
    return [
        size
        for size in _divisors(gcd(count, a.num_attention_heads))
        if size <= node_gpus and (a.num_key_value_heads % size == 0 or size % a.num_key_value_heads == 0)
    ]


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, number + 1) if number % size == 0]
