"""Why a run was ended, and what ran out, by somebody other than the command itself."""

from __future__ import annotations

from enum import StrEnum


class Stopped(StrEnum):
    """Why a supervisor ended a command that was still running."""

    ASKED = "asked"
    TIMEOUT = "timeout"
    HOST = "host"
    """The machine could not run it on: it is going down, or cannot hand out the GPUs that were placed on it."""
    OPERATOR = "operator"
    """Somebody with power over the provider ended it, and neither its user nor we had asked."""
    CLUSTER_LIMIT = "cluster_limit"
    """It ran for as long as the cluster lets anything run, which its user had not asked for."""
    OUT_OF_MEMORY = "out_of_memory"
    """A simulated provider does that, and whoever watches for the limit of its host's memory."""


class OutOfMemory(StrEnum):
    """Which memory ran out."""

    GPU = "gpu"
    HOST = "host"
