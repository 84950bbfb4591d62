"""What the arithmetic had to assume about one question, beside what its workload already says was left out."""

from __future__ import annotations

from predictor.forecast import Question
from predictor.words import Method, Precision, Sharding, VramMetric
from predictor.workload import InferenceWorkload, TrainingWorkload
from predictor.workloads.engines import is_known_engine, is_known_trainer
from predictor.workloads.lengths import training_lengths
from predictor.workloads.optimizers import optimizer_assumption


def arithmetic_assumptions(question: Question, batch: float) -> tuple[str, ...]:
    """One note for each assumption; ``batch`` is the footprint's, used where the question left it open."""
    notes = []
    workload, layout = question.workload, question.layout
    if isinstance(workload, TrainingWorkload):
        notes += _training(workload, layout.sharding)
    elif isinstance(workload, InferenceWorkload):
        notes += _inference(workload, batch)
    else:
        return ()
    if question.gpu.slice_of is not None:
        notes.append(f"{question.gpu.name}: memory and rates of {question.gpu.slice_of} in proportion")
    if layout.gpu_count > question.node_gpus and question.interconnect_gbps is None:
        notes.append("interconnect_gbps: the maker's reference design")
    if question.vram_metric is VramMetric.STATED:
        notes.append("vram_metric: stated, read as driver")
    return tuple(notes)


def _training(workload: TrainingWorkload, sharding: Sharding) -> list[str]:
    notes = []
    unknown_optimizer = optimizer_assumption(workload.optimizer)
    if unknown_optimizer:
        notes.append(unknown_optimizer)
    engine = workload.software.engine
    if not is_known_trainer(engine):
        notes.append(f"engine: {engine} is not known, counted as transformers")
    if workload.sequence_length_is_mean or workload.sequence_length_is_cap:
        lengths = training_lengths(workload)
        notes.append(
            f"sequence_length: lengths vary, {lengths.mean:.0f} in a mean batch and {lengths.peak:.0f} in the longest"
        )
    sharded = sharding is Sharding.ZERO3 and workload.method is Method.FULL and workload.precision is not Precision.FP16
    if sharded and any(note.startswith("pure_low_precision: True") for note in workload.assumptions):
        notes.append("pure_low_precision: FP32 shards (the habit of FSDP)")
    return notes


def _inference(workload: InferenceWorkload, batch: float) -> list[str]:
    notes = []
    if workload.max_batch_size is None:
        notes.append(f"max_batch_size: {batch:.0f} (what fits the card, within the engine's limits)")
    if not is_known_engine(workload.engine):
        notes.append(f"engine: {workload.engine} is not known, counted as vllm")
    return notes
