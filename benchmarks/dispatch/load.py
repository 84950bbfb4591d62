"""Jobs for a simulated cloud in which much goes wrong, and a client that does not give up."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.dispatch.rig import Rig
from scheduler.domain.offers import Offer
from tests.support.offers import make_offer

CAPACITY = 16
"""GPUs of each offer, which is also what the provider itself refuses to go beyond."""


def cloud() -> list[Offer]:
    """Four offers with the habits of four kinds of provider: by the second, by one or two minutes, with a minimum.

    An hour that is paid for would be waited out, which a test has no time for.
    """
    habits: dict[str, tuple[float, int, int, float]] = {
        "RTX4090": (0.5, 1, 0, 10.0),
        "L40S": (1.0, 60, 0, 20.0),
        "A100-80GB-SXM": (2.0, 120, 0, 15.0),
        "H100-SXM": (3.0, 1, 90, 30.0),
    }
    return [
        make_offer(
            gpu_type, usd, region=f"region-{number}", capacity_gpus=CAPACITY, billing_increment_s=increment_s,
            minimum_s=minimum_s, provision_s=provision_s, spot_micros_per_gpu_hour=round(usd * 400_000),
        )
        for number, (gpu_type, (usd, increment_s, minimum_s, provision_s)) in enumerate(habits.items())
    ]  # fmt: skip


def drawn_specs(seed: int, ran: Path) -> Iterator[dict[str, Any]]:
    """Job specs without end: most complete, some run out of memory once or always, are too slow, or on spot.

    One in ten runs a real command, which adds a line to a file of its attempt's in `ran`: who runs twice has two.
    """
    dice = random.Random(seed)  # noqa: S311 - drawn again from the same seed
    while True:
        kind = dice.choices(("plain", "real", "surprise", "poison", "slow", "spot", "wide"), (55, 10, 10, 5, 5, 10, 5))[
            0
        ]
        runtime_s, need = dice.uniform(100, 1500), dice.choice((4.0, 10.0, 20.0, 35.0))
        spec: dict[str, Any] = {
            "name": kind,
            "workload": {"type": "custom", "kind": f"chaos-{need:g}", "runtime_s": runtime_s, "vram_gib": need},
            "run": {"command": ["true"]},
            "simulation": {"runtime_s": runtime_s, "peak_vram_gib": need, "run_command": False},
            "constraints": {"max_gpus": 2},
            "max_attempts": dice.choice((3, 5)),
            "priority": dice.choice((10, 50, 50, 90)),
        }
        match kind:
            case "real":
                spec["run"]["command"] = ["sh", "-c", f'echo $$ >> "{ran}/$PYTHIA_ATTEMPT_ID"']
                spec["simulation"]["run_command"] = True
            case "surprise":
                # more than the card that 20 GiB are placed on
                spec["workload"] |= {"kind": "chaos-20", "vram_gib": 20.0}
                spec["simulation"]["peak_vram_gib"] = 30.0
            case "poison":
                spec["simulation"]["peak_vram_gib"] = 5000.0
            case "slow":
                spec["constraints"]["max_runtime_over_p90"] = 1.5
                spec["simulation"]["runtime_s"] = runtime_s * 20
            case "spot":
                spec["constraints"]["spot"] = "require"
            case "wide":
                spec["constraints"]["gpu_count"] = 2
        yield spec


@dataclass(slots=True, kw_only=True)
class Client:
    """Submits specs one after the other, each until it is taken, and cancels some."""

    rig: Rig
    specs: Sequence[dict[str, Any]]
    seed: int
    pause_s: float
    """Between two submissions."""
    cancelled_share: float = 0.05
    taken: list[str] = field(default_factory=list)
    """Ids of the jobs."""
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until everything is submitted."""
        dice = random.Random(self.seed)  # noqa: S311 - as above
        with httpx.Client(
            base_url=self.rig.url, headers={"Authorization": f"Bearer {self.rig.api_key}"}, timeout=20
        ) as http:
            for number, spec in enumerate(self.specs):
                job_id = self._insist(http, spec, f"chaos-{self.seed}-{number}")
                if job_id is None:
                    return
                self.taken.append(job_id)
                if dice.random() < self.cancelled_share:
                    self._cancel(http, dice.choice(self.taken))
                if self.stopping.wait(self.pause_s):
                    return

    def _insist(self, http: httpx.Client, spec: dict[str, Any], key: str) -> str | None:
        while not self.stopping.is_set():
            try:
                answer = http.post("/v1/jobs", json=spec, headers={"Idempotency-Key": key})
            except httpx.HTTPError:
                time.sleep(0.2)  # it is being killed, or starts
                continue
            if answer.status_code == httpx.codes.CREATED:
                return str(answer.json()["id"])
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                raise RuntimeError(f"a job was refused: {answer.status_code} {answer.text[:300]}")
            time.sleep(0.2)
        return None

    def _cancel(self, http: httpx.Client, job_id: str) -> None:
        try:
            http.delete(f"/v1/jobs/{job_id}")
        except httpx.HTTPError:
            return  # then not
