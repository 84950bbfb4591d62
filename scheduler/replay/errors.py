"""What a replay refuses to start with."""

from __future__ import annotations

from predictor.errors import PythiaError


class InvalidTrace(PythiaError):
    """A trace cannot be read, or holds a line that cannot be true."""

    code = "invalid_trace"


class InvalidReplay(PythiaError):
    """What a replay was asked to compare does not exist, or nothing is left to replay."""

    code = "invalid_replay"
