"""What a supervisor is told to do: `work.json` in an attempt's directory.

The directory holds `work.json` (this), `status.json` (see `status`), `stop` (somebody wants it to end),
`stdout.N` and `stderr.N` (see `output`), `limits.json` (see `limits`), `files.json` and `moved.json` for jobs with
files (see `workers.staging.plan` and `moving`), `tmp/` (the command's TMPDIR) and `work/` (where it runs
unless the spec names a directory).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from workers.supervision.files import read_json, write_json
from workers.supervision.truth import Truth

WORK, STATUS, STOP, LOCK = "work.json", "status.json", "stop", "lock"
FILES, MOVED = "files.json", "moved.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One command with its surroundings and its limits."""

    attempt_id: str
    job_id: str
    command: tuple[str, ...]
    env: dict[str, str]
    working_dir: str | None
    max_runtime_s: float | None
    grace_s: float
    """Between asking a command to end (SIGTERM) and making it end (SIGKILL)."""
    log_cap_bytes: int
    """Kept of each of stdout and stderr."""
    gpu_count: int = 0
    """GPUs of this host handed to the command; with 0 it sees none."""
    gpu_usable_gib: float | None = None
    """Memory of each by its type: how the host's cards of that type are told from others."""
    devices_dir: str | None = None
    """Where the host's GPUs are locked, one file each; None where a batch system has handed them out already."""
    preallocates: bool = False
    """The engine grabs the card up front: what it holds is an upper bound of its need."""
    truth: Truth | None = None
    """Set on the simulated backend."""
    machine_key: str | None = None
    """The machine that it runs on; None for one that was started before machines were kept."""
    shares_card: bool = False
    """Other attempts of the same machine may be on its GPU, now or later."""
    left: bool = False
    """The command is not run at all: what is drawn is all there is."""

    def write(self, folder: Path) -> None:
        """Put the order into an attempt's directory; one that a power cut takes is written again."""
        write_json(folder / WORK, asdict(self), durable=False)


def read_order(folder: Path) -> Order | None:
    """The order in a directory, None if nothing was ordered there."""
    body = read_json(folder / WORK)
    if body is None:
        return None
    truth = body.pop("truth")
    if truth is not None:
        truth.pop("provision_s", None)  # in orders from before machines were kept
    return Order(**{**body, "command": tuple(body["command"])}, truth=None if truth is None else Truth(**truth))
