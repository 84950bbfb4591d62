"""The root of every error a caller may see, and those the predictor raises itself."""

from __future__ import annotations


class PythiaError(Exception):
    """Something went wrong that a person can act on; the message is one sentence and says how."""

    code = "error"


class InvalidWorkload(PythiaError):
    """A workload cannot be read or contradicts itself."""

    code = "invalid_workload"


class InvalidLayout(PythiaError):
    """A layout's sizes do not multiply to its GPU count, or its words are unknown."""

    code = "invalid_layout"


class UnknownModel(InvalidWorkload):
    """A model id is not in the catalogue and no dimensions came with it."""

    code = "unknown_model"


class UnknownGpuType(PythiaError):
    """A GPU type is not in the catalogue, or its name fits several variants where one is needed."""

    code = "unknown_gpu_type"


class InvalidFacts(PythiaError):
    """A file of facts or telemetry holds a line that cannot be true."""

    code = "invalid_facts"


class InvalidBundle(PythiaError):
    """A predictor on disk is damaged or was made for other features."""

    code = "invalid_bundle"


class NotEnoughData(PythiaError):
    """A promise was asked for that the data cannot support."""

    code = "not_enough_data"
