"""Settings come from the environment, go on to child processes, and are refused in one sentence."""

from __future__ import annotations

import os

import pytest

from scheduler.broker import broker_for
from scheduler.settings import InvalidSettings, Settings, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PYTHIA_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_any_postgresql_address_is_put_on_psycopg(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("PYTHIA_DATABASE_URL", f"{scheme}://u:p@h:5432/d")
    assert load_settings().database_url == "postgresql+psycopg://u:p@h:5432/d"


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("PYTHIA_DATABASE_URL", "mysql://h/d", "must look like postgresql://"),
        ("PYTHIA_DATABASE_URL", "h:5432", "must look like postgresql://"),
        ("PYTHIA_BROKER_URL", "kafka://h", "must begin with redis://"),
        ("PYTHIA_PORT", "http", "valid integer"),
        ("PYTHIA_PORT", "65536", "less than or equal to 65535"),
        ("PYTHIA_TIME_SCALE", "-1", "greater than or equal to 0"),
        ("PYTHIA_LEASE_S", "0", "greater than 0"),
        ("PYTHIA_QUEUE_PREFIX", "a b", "match pattern"),
        ("PYTHIA_KUBERNETES_NAMESPACE", "Not_A_Name", "match pattern"),
        ("PYTHIA_DSTACK_URL", "dstack.acme:3000", "match pattern"),
        ("PYTHIA_DSTACK_PROJECT", "../other", "match pattern"),
        ("PYTHIA_KUBERNETES_GPUS", '{"L4": {"product": ["x"]}}', "Extra inputs"),
    ],
)
def test_a_malformed_value_is_one_sentence_naming_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert variable in str(refused.value)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_password_is_not_repeated_in_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHIA_DATABASE_URL", "mysql://user:hunter2@h/d")
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("token", ["hunter2 ", "hunter2\n", "hun\tter2", "hunter2\u00a0", "hünter2", " "])
def test_a_token_that_no_header_can_hold_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("PYTHIA_DSTACK_TOKEN", token)
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert str(refused.value) == (
        "PYTHIA_DSTACK_TOKEN holds a value that cannot be used: a token is printable ASCII without spaces or line ends"
    )
    with pytest.raises(ValueError, match="printable ASCII") as raw:
        Settings(dstack_token=token)
    assert "ter2" not in str(raw.value)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHIA_BROKER_URL", "")
    assert load_settings().broker_url is None


def test_a_child_process_reads_what_its_parent_had(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(database_url="postgresql://h/d", time_scale=0.25, simulation_seed=7, port=1234)
    monkeypatch.setenv("PYTHIA_BROKER_URL", "redis://elsewhere")
    child = given.environment()
    assert "PYTHIA_BROKER_URL" not in child, "what the parent did not have must not leak in from the environment"
    monkeypatch.setattr(os, "environ", child)
    assert load_settings() == given


@pytest.mark.parametrize(
    ("url", "kind"), [(None, "embedded"), ("redis://h/0", "redis"), ("rediss://h/0", "redis"), ("amqp://h//", "amqp")]
)
def test_the_broker_follows_from_its_address(url: str | None, kind: str) -> None:
    broker = broker_for(Settings(database_url="postgresql://u:hunter2@h/d", broker_url=url))
    assert broker.kind == kind
    assert "hunter2" not in repr(broker)


def test_without_any_database_the_sentence_says_how_to_have_one() -> None:
    with pytest.raises(InvalidSettings, match="pythia up"):
        broker_for(Settings())
