"""A plan is printed as the contract lays it out."""

from __future__ import annotations

import pytest

from scheduler.cli.plan_table import HEADER, pareto_text, plan_text
from tests.scheduler.cli.decisions import candidate, decision, rejected


def cells(line: str) -> list[str]:
    return [cell for cell in line.split("  ") if cell.strip()]


def row(text: str, gpu: str) -> list[str]:
    found = next(line for line in text.splitlines() if line.split()[1:2] == [gpu])
    return [cell.strip() for cell in cells(found)]


def test_head_says_job_predictor_memory_and_constraints() -> None:
    lines = plan_text(decision()).splitlines()
    assert lines[0] == (
        "Job        Llama-3.1-8B full fine-tune, bf16, 8-bit AdamW, seq 4096, micro-batch 2, 1.8M samples"
    )
    assert lines[1] == "Predictor  2026-11-26.1, trained on 41,203 observations; in domain: yes; basis: learned"
    assert lines[2] == (
        "VRAM/GPU   p50 58.1  p95 63.4 GiB   "
        "(weights 15.0 + gradients 15.0 + optimizer 15.0 + activations 11.3 + overhead 1.8)"
    )
    assert lines[3] == (
        "Objective  min expected cost     Constraints  EU, deadline 2026-12-01 06:00 UTC, max $40.00, P(fit) ≥ 0.95"
    )


def test_columns_are_those_of_the_contract() -> None:
    header = plan_text(decision()).splitlines()[5]
    assert [cell.strip() for cell in cells(header)] == list(HEADER)


def test_chosen_candidate_shows_every_figure() -> None:
    assert row(plan_text(decision()), "H100-SXM") == [
        "1", "H100-SXM", "1", "-", "verda FIN-01", "63.4 / 79.7 GiB", "0.99", "3h10 .. 3h55", "3.25",
        "10.42 .. 12.89", "now", "CHOSEN",
    ]  # fmt: skip


def test_a_card_that_is_shared_says_with_how_many_and_how_long_it_takes_beside_them() -> None:
    sharing = {"with_jobs": ["a", "b"], "use_s": {"p50": 22_800.0, "p90": 36_000.0}}
    shown = row(plan_text(decision(candidates=[candidate(sharing=sharing)])), "H100-SXM")
    assert (shown[7], shown[-1]) == ("6h20 .. 10h00", "CHOSEN, shares the card of 2")


def test_dearer_candidate_keeps_its_number_and_says_how_much() -> None:
    shown = row(plan_text(decision()), "L40S")
    assert (shown[0], shown[3], shown[-2], shown[-1]) == ("2", "dp2 zero3", "+12 min", "+110 % cost")


def test_candidate_ruled_out_has_no_number_and_its_reason() -> None:
    text = plan_text(decision())
    assert row(text, "H200-SXM")[0] == "-"
    assert row(text, "H200-SXM")[-1] == "jurisdiction: stands in US, EU required"
    assert "vram: short by 18.4 GiB" in text


def test_foot_says_what_follows_and_that_nothing_was_reserved() -> None:
    assert plan_text(decision()).splitlines()[-1] == (
        "If it runs out of memory: H100-SXM × 2 (within budget). Prices of 2026-08-23. "
        "Shown 4 of 212 candidates. Nothing was reserved."
    )


def test_stored_decision_does_not_claim_that_nothing_was_reserved() -> None:
    assert "Nothing was reserved" not in plan_text(decision(job_id="0193"))


@pytest.mark.parametrize(("kind", "word"), [("refusal", "Refused"), ("wait", "Waiting")])
def test_what_is_no_placement_says_why_in_the_head(kind: str, word: str) -> None:
    text = plan_text(decision(kind=kind, reason="nothing holds 900 GiB", candidates=[]))
    assert f"{word:<11}nothing holds 900 GiB" in text.splitlines()


def test_short_form_shows_one_of_every_reason_before_a_second_of_any() -> None:
    many = [rejected("vram", f"vram: short by {n} GiB", n, gpu_type=f"GPU{n}") for n in range(20)]
    last = rejected("deadline", "3h late", 10800.0, gpu_type="SLOW")
    text = plan_text(decision(candidates=[candidate(), *many, last]))
    assert "deadline: 3h late" in text
    assert "Shown 7 of" in text


def test_all_candidates_are_shown_on_request() -> None:
    many = [candidate(gpu_type=f"GPU{n}", reason="dearer", reason_number=1.0) for n in range(30)]
    assert "Shown 31 of" in plan_text(decision(candidates=[candidate(), *many]), everything=True)


def test_custom_job_without_memory_shows_dashes_not_zeroes() -> None:
    none = {"p50": None, "p95": None}
    bare = candidate(forecast={
        **decision()["candidates"][0]["forecast"], "peak_vram_gib": none, "usable_vram_gib": None,
        "fit_probability": None, "vram_breakdown_gib": None,
    }, fit_probability=None)  # fmt: skip
    text = plan_text(decision(candidates=[bare]))
    assert "VRAM/GPU" not in text
    assert row(text, "H100-SXM")[5:7] == ["-", "-"]


SUGGESTION = {
    "text": "gradient_checkpointing=full", "gpu_type": "L40S", "gpu_count": 1, "spot": False,
    "expected_cost_usd": "8.10", "saving_percent": 22.0, "longer_percent": 31.0,
}  # fmt: skip


def test_changes_that_save_are_said_with_what_they_cost_in_time() -> None:
    spot = SUGGESTION | {"text": "spot=allow", "spot": True, "saving_percent": 10.0, "longer_percent": -3.0}
    lines = plan_text(decision(suggestions=[SUGGESTION, spot])).splitlines()
    assert (
        "Cheaper if you change the job: gradient_checkpointing=full → L40S × 1, $8.10 (−22 %), runtime +31 %" in lines
    )
    assert " " * 31 + "spot=allow → L40S × 1 spot, $8.10 (−10 %), runtime −3 %" in lines


def test_a_refused_job_is_told_what_would_make_it_possible() -> None:
    possible = SUGGESTION | {"saving_percent": None, "longer_percent": None}
    text = plan_text(decision(kind="refusal", suggestions=[possible]))
    assert "Possible if you change the job: gradient_checkpointing=full → L40S × 1, $8.10\n" in text


def test_the_day_of_the_chosen_price_comes_first_and_an_older_one_beside_it() -> None:
    older = candidate(rank=2, price_date="2026-05-24", verdict="rejected", reason="dearer", reason_number=1.0)
    text = plan_text(decision(candidates=[candidate(), older]))
    assert "Prices of 2026-08-23 (the oldest listed: 2026-05-24). " in text


def test_the_choice_between_money_and_time_is_a_table_of_its_own() -> None:
    sooner = candidate(rank=2, gpu_type="B200", cost_usd={"p50": "20.00", "p90": "22.00", "expected": "20.50"})
    text = pareto_text(decision(pareto=[candidate(), sooner]))
    assert row(text, "B200")[:3] == ["2", "B200", "1"]
    assert row(text, "H100-SXM")[-1] == "now"
    assert "VERDICT" not in text
    assert pareto_text(decision(kind="refusal", pareto=[])).endswith("Nothing would do now.")
