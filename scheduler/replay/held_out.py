"""Predictors for a measured replay: each has learned from everything but the groups that it is asked about."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import predictor
from predictor.bundle import MANIFEST, Bundle, load_bundle, save_bundle
from predictor.learned.folds import group_folds
from predictor.telemetry import Observation
from predictor.training import train
from predictor.workload import InferenceWorkload

FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """For each group the bundle that has not seen it."""

    bundle_of: dict[str, Bundle]
    trained: int
    """How many bundles were trained now; the others were kept from before."""


def hold_out(
    observations: Sequence[Observation],
    group_of: Callable[[Observation], str],
    *,
    seed: int,
    keep_in: Path,
    say: Callable[[str], None] = lambda sentence: None,
) -> HeldOut:
    """Train on the inference observations without each fold of groups in turn; bundles are kept in a folder.

    Training rows teach other tasks and are left out: nothing that is asked here could change by them.
    """
    serving = [one for one in observations if isinstance(one.question.workload, InferenceWorkload)]
    groups = np.array([group_of(one) for one in serving])
    bundle_of: dict[str, Bundle] = {}
    trained = 0
    for number, mask in enumerate(group_folds(groups, FOLDS, seed), start=1):
        rest = [one for one, held in zip(serving, mask.tolist(), strict=True) if not held]
        folder = keep_in / _fingerprint(rest, seed)
        if not (folder / MANIFEST).is_file():
            say(f"training without fold {number} of {FOLDS} ({len(rest):,} observations)")
            bundle = train(rest, seed=seed, created="held-out", git_revision="", base=None)
            save_bundle(bundle, folder)
            trained += 1
        bundle = load_bundle(folder)
        bundle_of |= dict.fromkeys(groups[mask].tolist(), bundle)
    return HeldOut(bundle_of=bundle_of, trained=trained)


def _fingerprint(observations: Sequence[Observation], seed: int) -> str:
    """Names what was trained on what by which code: a bundle made by other code would forecast something else."""
    digest = hashlib.sha256(f"{seed}\n".encode())
    for source in sorted(Path(str(predictor.__path__[0])).rglob("*.py")):
        digest.update(source.read_bytes())
    for one in observations:
        digest.update(f"{one.id}\t{one.configuration}\t{one.runtime_s}\t{one.peak_vram_gib}\n".encode())
    return digest.hexdigest()[:24]
