"""How long a batch of requests takes: prompts are bound by arithmetic, generation by memory.

A job of N requests runs as N / B rounds of the B sequences in flight, the last round smaller. With equal lengths this
is the time of continuous batching as well as that of static waves: either way every prompt is read once and every
generated token belongs to a pass over the weights (Pope et al. 2022, arXiv:2211.05102, sections 2 and 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictor.columns import InferenceColumns
from predictor.gather import Floats
from predictor.roofline.forward_pass import PassTime, Replica, forward_pass, replica, tensor_split
from predictor.roofline.kernel import keys_seen


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceTime:
    """Seconds of a whole batch job without its start; compute to overhead add up to it, and so do the phases."""

    runtime_s: Floats
    prefill_s: Floats
    """Reading prompts."""
    decode_s: Floats
    """Generating all tokens but the first of each answer."""
    compute_s: Floats
    """In kernels that arithmetic bounds."""
    memory_s: Floats
    """In kernels that device memory bounds: weights and cache read for few sequences, everything elementwise."""
    communication_s: Floats
    """Between GPUs."""
    overhead_s: Floats
    """Launches, scheduling and sampling while the GPUs wait."""
    tokens_per_second: Floats
    """Generated, over the whole layout; 0 for jobs that only read prompts."""
    prefill: PassTime
    decode: PassTime
    """What each phase waits for."""


def inference_roofline(c: InferenceColumns, batch: Floats) -> InferenceTime:
    """The time of every row's job with `batch` sequences in flight over all its replicas."""
    requests = c.requests / c.layout.dp  # of the busiest replica but for rounding: they share one queue
    most = np.where(c.steady, np.inf, requests)
    in_flight = np.clip(batch / c.layout.dp, np.minimum(1.0, requests), most)
    rounds = requests / in_flight
    rounds = np.where(c.steady, rounds, np.floor(rounds))
    rest = requests - rounds * in_flight
    last = np.where(~c.steady & (rest > 1e-9 * requests), 1.0, 0.0)
    rest = np.where(last > 0.0, rest, in_flight)  # any positive size: it is counted 0 times
    sizes, times, on = np.stack([in_flight, rest]), np.stack([rounds, last]), replica(c)
    prefill = _prefill(c, on, sizes).times(times).together()
    decode = _decode(c, on, sizes).times(times).together()
    both = prefill.plus(decode)
    return InferenceTime(
        runtime_s=both.total,
        prefill_s=prefill.total,
        decode_s=decode.total,
        compute_s=both.compute_s,
        memory_s=both.memory_s,
        communication_s=both.communication_s,
        overhead_s=both.overhead_s,
        tokens_per_second=c.requests * c.output / both.total,
        prefill=prefill,
        decode=decode,
    )


def _prefill(c: InferenceColumns, on: Replica, sequences: Floats) -> PassTime:
    """Reading the prompts of one round on each replica, (rounds, n): passes of at most `prefill_chunk` tokens."""
    # an engine computes the last token of a prompt even if all of it is cached, and starts an empty one with a token
    length = np.maximum(c.input - c.cached_prefix, 1.0)
    start = np.maximum(c.input - length, 0.0)
    tokens = sequences * length
    pieces = np.where(c.pace.stages_overlap, np.clip(sequences, 1.0, c.layout.pp), 1.0)
    chunk = np.minimum(tokens / pieces, c.prefill_chunk)
    prompts = chunk / length
    one = forward_pass(
        c,
        on,
        tokens=chunk,
        sequences=np.where(c.keeps_prompt_logits, chunk, np.minimum(prompts, sequences)),
        keys=keys_seen(c.model, start, length),
        cache_read=prompts * _cache_elements(c, start + length / 2.0),
        latent_attention=False,
    )
    passes = tokens / chunk
    # one pass crosses all stages; with several on the way each stage is busy with one of them
    staged = np.where(c.pace.stages_overlap, (passes + c.layout.pp - 1.0) / c.layout.pp, passes)
    return one.times(staged)


def _decode(c: InferenceColumns, on: Replica, sequences: Floats) -> PassTime:
    """Generating the answers of one round, (rounds, n); the first token of each comes from reading its prompt."""
    pieces = np.where(c.pace.stages_overlap, np.clip(sequences, 1.0, c.layout.pp), 1.0)
    together = sequences / pieces
    one = forward_pass(
        c,
        on,
        tokens=together,
        sequences=together,
        keys=keys_seen(c.model, c.input, c.output),
        cache_read=together * _cache_elements(c, c.input + c.output / 2.0),
        latent_attention=True,
    )
    return one.times(np.maximum(c.output - 1.0, 0.0))


def _cache_elements(c: InferenceColumns, position: Floats) -> Floats:
    """Cache elements one sequence reads per pass on one rank, its recurrent state (read and written) included."""
    m, tp = c.model, tensor_split(c)
    full = m.cache_full / np.minimum(tp, m.cache_full_heads) * position
    sliding = m.cache_sliding / np.minimum(tp, m.cache_sliding_heads) * np.minimum(position, m.window)
    return full + sliding + 2.0 * m.cache_state / tp
