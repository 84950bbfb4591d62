"""The demo from its first plan to its last table, on a server that is already there."""

from __future__ import annotations

import time
from typing import Any

from scheduler.cli.client import Client
from scheduler.cli.plan_table import plan_text
from scheduler.demo.cast import LEARNER, ROLES, RUNS, SHOWN_PLANS, Story
from scheduler.demo.narrator import Narrator
from scheduler.demo.tables import first_and_last, learning, off_by, summary
from scheduler.demo.watch import DemoFailed, story_of, until_ended

_ALL_JOBS_S = 60.0
_ONE_RUN_S = 30.0


def play(server: Client, narrator: Narrator) -> list[Story]:
    """Everything; DemoFailed with one sentence if anything is not as promised."""
    label = f"demo=run-{time.time_ns() // 1_000_000}"
    _plans(server, narrator)
    stories = _jobs(server, narrator, label)
    runs = _runs(server, narrator, label)
    narrator.chapter("What became of them")
    narrator.show(summary([*stories, runs[-1]]))
    demand(stories, runs)
    return stories


def _plans(server: Client, narrator: Narrator) -> None:
    for role in ROLES:
        if role.file in SHOWN_PLANS:
            narrator.chapter(f"A plan: {role.point}   (pythia plan datasets/demo/{role.file})")
            narrator.show([plan_text(server.post("/v1/plans", role.spec()))])


def _jobs(server: Client, narrator: Narrator, label: str) -> list[Story]:
    narrator.chapter(f"{len(ROLES)} jobs over HTTP; cloud GPUs are simulated, the commands run here")
    ids = []
    for seed, role in enumerate(ROLES, start=1):
        spec = role.spec()
        # the same draws everywhere: none of these meets the bad luck that P(fit) ≥ 0.95 leaves room for
        taken = _submit(server, spec | {"simulation": {**spec.get("simulation", {}), "seed": seed}}, label)
        ids.append(taken["id"])
        narrator.say(f"{taken['name']:<26} {role.point}\n{'':9}{taken['decision']['reason']}")
    narrator.say("running them")
    until_ended(server, narrator, ids, label=label, limit_s=_ALL_JOBS_S)
    return [story_of(server, job_id) for job_id in ids]


def _runs(server: Client, narrator: Narrator, label: str) -> list[Story]:
    spec = LEARNER.spec()
    workload = spec["workload"]
    if server.get("/v1/observations", kind=workload["kind"], limit=1)["items"]:
        # this database has seen the kind before: take a name it has not, or there would be nothing to learn
        workload["kind"] += "-" + label.rpartition("-")[2]
    stated = workload["runtime_s"]
    narrator.chapter(f"{RUNS} real runs of {workload['kind']} on this machine; its user guessed {stated:g} s")
    runs = []
    for number in range(1, RUNS + 1):
        taken = _submit(server, spec, label)
        until_ended(server, narrator, [taken["id"]], label=label, limit_s=_ONE_RUN_S, tell=False)
        runs.append(story_of(server, taken["id"]))
        narrator.say(f"run {number:>2} {runs[-1].job['state']}")
    narrator.show(["", *learning(runs), "", *first_and_last(runs), f"and printed: {_printed(server, runs[-1])}"])
    return runs


def _printed(server: Client, run: Story) -> str:
    chunks = server.get(f"/v1/jobs/{run.job['id']}/logs")["items"]
    return "".join(chunk["text"] for chunk in chunks if chunk["stream"] == "stdout").strip()


def _submit(server: Client, spec: dict[str, Any], label: str) -> dict[str, Any]:
    name, _, value = label.partition("=")
    taken: dict[str, Any] = server.post("/v1/jobs", spec | {"labels": {**spec.get("labels", {}), name: value}})
    return taken


def where_next(url: str, api_key: str, stories: list[Story], *, stays: bool) -> list[str]:
    """What to look at after the last table."""
    surprise = next(story.job["id"] for story in stories if len(story.attempts) > 1)
    lines = [
        "Where next",
        f"  pythia explain {surprise}   why each try of that job went where it went",
        f"  {url}/docs   every call, to be tried out",
        "  one SELECT on the record of decisions (docs/operations.md has more):",
        "    SELECT decision, rank, gpu_type, gpu_count, provider, expected_usd, reason, reason_text",
        f"      FROM why WHERE job_id = '{surprise}' ORDER BY decision, rank;",
    ]
    if stays:
        reach = f"export PYTHIA_URL={url} PYTHIA_API_KEY={api_key}"
        return [*lines, f"The system stays until Ctrl-C. In another terminal: {reach}"]
    return [
        *lines,
        "This system stops now: `pythia demo --stay` leaves it running for these, `pythia up` starts your own.",
    ]


def demand(stories: list[Story], runs: list[Story]) -> None:
    """DemoFailed unless every job came to what it is there to show."""
    complaints = [role.complaint(story) for role, story in zip(ROLES, stories, strict=True)]
    complaints += [LEARNER.complaint(run) for run in runs]
    first, last = (run.attempts[-1]["forecast"]["basis"] for run in (runs[0], runs[-1]))
    if (first, last) != ("stated", "history"):
        complaints.append(f"the first run's forecast is {first} and the last one's {last}, not stated and history")
    elif off_by(runs[-1]) >= off_by(runs[0]):
        complaints.append("the last forecast is no better than the user's guess")
    complaints += [
        f"{story.job['name']} ran on a simulated provider and is not marked so"
        for story in stories
        if any(a["backend"] == "simulated" and not a["simulated"] for a in story.attempts)
    ]
    if any(attempt["simulated"] for run in runs for attempt in run.attempts):
        complaints.append("a run on this machine is marked as simulated")
    found = [complaint for complaint in complaints if complaint]
    if found:
        raise DemoFailed("the demo is not as promised: " + "; ".join(found))
