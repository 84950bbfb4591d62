"""Where a worker process gets its database, backends and predictor: made at its first task, once per process."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, cached_property
from uuid import UUID

from celery.signals import worker_process_init

from predictor.architectures.catalogue import load_models
from predictor.hardware import load_gpu_types
from scheduler.clock import CommonClock
from scheduler.domain.attempt import AttemptWork
from scheduler.revision import git_revision
from scheduler.services.champion import champion_predictor
from scheduler.services.knowledge import Knowledge, know
from scheduler.services.place_waiting import place_waiting
from scheduler.services.trainings import run_training
from scheduler.settings import Settings, load_settings
from scheduler.storage.engine import Engine, make_engine
from workers.backends.base import Backend
from workers.backends.handed_over import HandedOver
from workers.backends.local import local_backend
from workers.backends.simulated import simulated_backend
from workers.backends.slurm.backend import slurm_backend
from workers.backends.supervised import nothing
from workers.handing_out import handing_out
from workers.runner import Runner
from workers.supervision.limits import Limits
from workers.webhook import Messenger

TRAINING_NICE = 10
"""How far a training stands back for everything else on its machine."""


def utc_now() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)


class Installation:
    """An installation as one worker process sees it."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings, self._engine = settings, engine
        self._clock = clock = CommonClock(engine, utc_now)
        self.runner = Runner(
            engine=engine,
            backends=make_backends(settings, handing_out(engine, settings).of),
            clock=clock,
            lease_s=settings.lease_s,
            poll_interval_s=settings.poll_interval_s,
            log_days=settings.log_days,
            host=settings.this_host,
        )
        self.messenger = Messenger(engine=engine, clock=clock)

    def place_waiting(self) -> None:
        """Decide again for jobs that wait."""
        place_waiting(self._engine, self._knowledge, now=self._clock())

    def train(self, training_id: UUID) -> None:
        """Learn from what was measured, with less claim to the processor than what serves."""
        os.nice(max(0, TRAINING_NICE - os.nice(0)))
        run_training(
            self._engine, training_id, load_gpu_types(), load_models(), git_revision=git_revision(), clock=self._clock
        )

    @cached_property
    def _knowledge(self) -> Knowledge:
        """Loaded by the first job that waits: most worker processes never decide anything."""
        return know(champion_predictor(self._engine, self._settings), self._settings)


def make_backends(settings: Settings, hand_over: Callable[[AttemptWork], HandedOver] = nothing) -> dict[str, Backend]:
    """The ways to run attempts that this worker has, by the names that offers give them."""
    data_path, cap = settings.data_path, settings.log_cap_bytes
    limits = Limits(
        processes=settings.local_processes, open_files=settings.local_open_files, file_bytes=settings.local_file_bytes,
        memory_gib=settings.local_memory_gib,
    )  # fmt: skip
    backends: dict[str, Backend] = {
        "local": local_backend(
            data_path, log_cap_bytes=cap, host=settings.this_host, limits=limits, hand_over=hand_over
        ),
        "simulated": simulated_backend(
            data_path,
            log_cap_bytes=cap,
            seed=settings.simulation_seed,
            time_scale=settings.time_scale,
            run_commands=settings.simulation_commands,
            faults=settings.simulation_faults,
            host=settings.this_host,
            hand_over=hand_over,
        ),
    }
    if settings.slurm_dir is not None:
        backends["slurm"] = slurm_backend(
            settings.slurm_dir.expanduser().absolute(),
            log_cap_bytes=cap,
            python=settings.slurm_python,
            options=settings.slurm_options,
            window_s=settings.slurm_window_s,
            hand_over=hand_over,
        )
    if settings.kubernetes_namespace is not None:
        # its client is large, and most installations have no cluster
        from workers.backends.kubernetes.backend import Kubernetes  # noqa: PLC0415

        backends["kubernetes"] = Kubernetes(settings=settings, clock=utc_now, hand_over=hand_over)
    if settings.dstack_url is not None:
        from workers.backends.dstack.backend import Dstack  # noqa: PLC0415

        backends["dstack"] = Dstack(settings=settings, clock=utc_now)
    return backends


@cache
def installation() -> Installation:
    """The installation that the environment names."""
    settings = load_settings()
    # a process of the pool works on one task at a time: one connection, and one to spare
    return Installation(settings, make_engine(settings.require_database_url(), pool_size=1, overflow=1))


@worker_process_init.connect
def _leave_parent_installation(**_: object) -> None:
    """What a forked process inherited belongs to its parent: connections on one socket would mix their answers."""
    installation.cache_clear()
