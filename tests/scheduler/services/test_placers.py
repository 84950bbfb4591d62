"""Placers that are killed at random leave nothing behind; benchmarks/placers.py does the same with 10,000 jobs."""

from __future__ import annotations

from benchmarks.placers import QUOTA_GPUS, run


def test_killed_placers_leave_every_counter_exact_and_every_job_done(database_url: str) -> None:
    result = run(database_url, jobs=60, placers=4, kill_every_s=0.7, offers=6, seed=3)
    assert result.exact, result
    assert result.kills > 0
    assert result.commits_seen == 2 * result.jobs  # each was reserved once and released once
    assert 0 < result.most_held_of_quota <= QUOTA_GPUS
