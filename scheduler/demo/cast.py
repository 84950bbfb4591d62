"""Who plays in the demo: the job files and what each must come to, so that the demo can fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from predictor.facts import datasets_dir
from scheduler.cli.job_file import read_job_file
from scheduler.domain.jurisdictions import EU

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """One job as it turned out, as the API tells it."""

    job: Json
    decisions: list[Json]
    """First to last."""
    attempts: list[Json]

    @property
    def candidate(self) -> Json | None:
        """The candidate that the last placement chose; None where nothing was ever placed."""
        chosen = [c for decision in self.decisions for c in decision["candidates"] if c["verdict"] == "chosen"]
        return chosen[-1] if chosen else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A job file and what must be true of its job at the end."""

    file: str
    point: str
    """What the job is there to show."""
    state: str = "completed"
    check: Callable[[Story], bool] = lambda _: True
    because: str = ""
    """What `check` looks for, as a sentence."""

    def spec(self) -> dict[str, Any]:
        """The job spec in the file."""
        return read_job_file(str(datasets_dir() / "demo" / self.file))

    def complaint(self, story: Story) -> str | None:
        """What is not as it must be, or None."""
        name, state = story.job["name"], story.job["state"]
        if state != self.state:
            return f"{name} is {state} ({story.job['reason'] or 'no reason given'}), expected {self.state}"
        return None if self.check(story) else f"{name}: expected that {self.because}"


def _recovered(story: Story) -> bool:
    outcomes = [attempt["outcome"] for attempt in story.attempts]
    usable = [attempt["forecast"]["usable_vram_gib"] for attempt in story.attempts]
    return outcomes[0] == "out_of_memory" and outcomes[-1] == "completed" and bool(usable[-1] > usable[0])


def _in_eu(story: Story) -> bool:
    return story.candidate is not None and story.candidate["country"] in EU


def _refused_for(reason: str) -> Callable[[Story], bool]:
    return lambda story: reason in story.decisions[-1]["rejected_by_reason"] and not story.attempts


ROLES: tuple[Role, ...] = (
    Role(file="01-lora-llama-8b.yaml", point="LoRA of an 8B model at 8k tokens"),
    Role(file="02-full-qwen-7b.yaml", point="full fine-tune of a 7B model"),
    Role(file="03-qlora-llama-70b.yaml", point="QLoRA of a 70B model"),
    Role(
        file="04-support-tickets-70b-eu.yaml",
        point="10,000 tickets through a 70B model in FP8, in the EU",
        check=_in_eu,
        because="its machine stands in the European Union",
    ),
    Role(file="05-deepseek-v3.yaml", point="a 671B mixture of experts"),
    Role(
        file="06-fits-nowhere.yaml",
        point="fits nowhere",
        state="infeasible",
        check=_refused_for("vram"),
        because="it is refused for want of memory and never tried",
    ),
    Role(
        file="07-deadline-out-of-reach.yaml",
        point="a deadline that nothing meets",
        state="infeasible",
        check=_refused_for("deadline"),
        because="it is refused for its deadline and never tried",
    ),
    Role(
        file="08-out-of-memory-first.yaml",
        point="runs out of memory, then finds a larger card",
        check=_recovered,
        because="its first try runs out of memory and its last, on a card with more of it, completes",
    ),
    Role(file="09-full-llama-1b-soonest.yaml", point="soonest instead of cheapest"),
    Role(file="10-tag-archive-spot.yaml", point="spot machines allowed"),
    Role(
        file="11-lora-mixtral-eu-company.yaml",
        point="machine and company both in the EU",
        check=_in_eu,
        because="its machine stands in the European Union",
    ),
)

SHOWN_PLANS = ("02-full-qwen-7b.yaml", "04-support-tickets-70b-eu.yaml")
LEARNER = Role(file="12-count-primes.yaml", point="a kind of work Pythia knows nothing of")
RUNS = 12
