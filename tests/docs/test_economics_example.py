"""The questionnaire that the documentation shows can be answered."""

from __future__ import annotations

from pathlib import Path

from scheduler.cli.assess_question import assess_offline, read_questionnaire
from scheduler.cli.assess_table import assess_text

FILE = Path(__file__).parents[2] / "docs" / "examples" / "assess.yaml"


def test_the_questionnaire_is_answered_for_each_model() -> None:
    report = assess_offline(read_questionnaire(str(FILE)))
    large, small = report["findings"]
    assert (report["as_of"], report["switch"]) == ("2026-12-01", "2027-03-23")
    assert large["best"] == "stay"  # allowed: it is served in Finland by a company that sits in the Netherlands
    stay = next(way for way in small["ways"] if way["way"] == "stay")
    assert "US" in stay["refused"]
    assert small["best"] != "stay"
    # every machine named stands where it must
    for found in report["findings"]:
        assert {way["deployment"]["provider"] for way in found["ways"] if way["deployment"]} <= {
            "nebius", "scaleway", "seeweb", "verda", "ovhcloud", "genesiscloud",
        }  # fmt: skip
    text = assess_text(report)
    for found in report["findings"]:
        for said in found["says"]:
            assert said["text"].split(":")[0][:40] in text
