"""What placement takes a backend to be able to do is what the backend says of itself."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from scheduler.domain.offers import BESIDE, CONTAINER_BACKENDS, PLAIN_BACKENDS
from scheduler.domain.sharing import BACKENDS as SHARING
from scheduler.services.knowledge import beside_of
from scheduler.settings import Settings
from workers.backends.dstack.backend import Dstack
from workers.backends.handed_over import NOTHING
from workers.backends.kubernetes.backend import Kubernetes
from workers.backends.kubernetes.manifest import handed_over
from workers.backends.slurm.backend import slurm_backend


@pytest.mark.parametrize(("name", "backend"), [("dstack", Dstack), ("kubernetes", Kubernetes)])
def test_a_cluster_is_passed_by_for_what_it_hands_to_nobody(name: str, backend: type) -> None:
    hands_over = next(field.default for field in fields(backend) if field.name == "hands_over")
    assert hands_over is (name not in PLAIN_BACKENDS or name in BESIDE)
    assert name not in SHARING
    assert name in CONTAINER_BACKENDS


def test_slurm_hands_over_what_it_is_given_to_hand_over(tmp_path: Path) -> None:
    # a node has the files that the cluster's users share
    assert "slurm" not in PLAIN_BACKENDS | SHARING | CONTAINER_BACKENDS
    assert slurm_backend(tmp_path, log_cap_bytes=1, window_s=0.0, hand_over=lambda _: NOTHING).hands_over
    assert not slurm_backend(tmp_path, log_cap_bytes=1, window_s=0.0).hands_over


@pytest.mark.parametrize("image", [None, "acme/pythia:1"])
def test_a_kubernetes_cluster_is_trusted_with_what_its_jobs_are_written_with(image: str | None) -> None:
    assert beside_of(Settings(kubernetes_staging_image=image))["kubernetes"] == handed_over(image)
