"""Settings that cannot be used and servers that do not answer lose nothing, and are told in one sentence."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.support.fake_dstack import FakeDstack
from tests.support.fake_dstack_server import FakeServer
from tests.workers.backends.dstack.conftest import settings_of
from tests.workers.backends.dstack.works import make_cloud_work, start
from workers.backends.base import Phase, ProviderUnavailable, StartFailed
from workers.backends.dstack.backend import Dstack

pytestmark = pytest.mark.usefixtures("still")


# settings that cannot be used

UNUSABLE = [
    {"dstack_url": "http://hunter2:port"}, {"dstack_url": "http://[hunter2"}, {"dstack_token": "hünter2"},
    {"dstack_token": "hunter2 "}, {"dstack_token": "hunter2\n"},
]  # fmt: skip


@pytest.mark.parametrize("changes", UNUSABLE, ids=str)
def test_settings_that_cannot_be_used_stop_nothing_else_and_are_not_quoted(
    fake: FakeServer, cloud: FakeDstack, changes: dict[str, Any]
) -> None:
    """As where they were not read by `load_settings`, which refuses such a token."""
    broken = Dstack(settings=settings_of(fake).model_copy(update=changes), clock=cloud.now)
    calls = (lambda: broken.poll(broken.locate(uuid4())), broken.list, lambda: broken.release("x"))
    for call in calls:
        with pytest.raises(ProviderUnavailable) as raised:
            call()
        assert "ter2" not in str(raised.value)
        assert raised.value.__suppress_context__
    broken.tidy(lambda _: True)  # the sweep goes on to the other backends
    assert fake.requests == []


# a server with bad days


def test_a_server_that_does_not_answer_loses_nothing(live: Dstack, cloud: FakeDstack, fake: FakeServer) -> None:
    _, run, handle = start(live)
    cloud.running(run)
    fake.down = True
    for call in (lambda: live.poll(handle), live.list, lambda: live.collect(handle, {}, ended=False)):
        with pytest.raises(ProviderUnavailable, match="cannot be reached"):
            call()
    fake.down = False
    assert live.poll(handle).phase is Phase.RUNNING


@pytest.mark.parametrize("trouble", [503, 429, "hangs up"])
def test_a_short_trouble_is_not_heard_of(live: Dstack, fake: FakeServer, trouble: int | str) -> None:
    _, _, handle = start(live)
    fake.troubles.append(("runs/get", trouble))
    assert live.poll(handle).phase is Phase.STARTING


def test_something_else_that_answers_is_no_dstack_server(live: Dstack, fake: FakeServer) -> None:
    _, _, handle = start(live)
    fake.troubles.append(("runs/get", "no dstack"))
    with pytest.raises(ProviderUnavailable, match="no dstack server"):
        live.poll(handle)


def test_a_project_that_is_none_has_not_lost_all_its_machines(
    live: Dstack, cloud: FakeDstack, fake: FakeServer
) -> None:
    start(live)
    elsewhere = settings_of(fake).model_copy(update={"dstack_project": "other"})
    with pytest.raises(ProviderUnavailable, match="has no project 'other'"):
        Dstack(settings=elsewhere, clock=cloud.now).list()


def test_an_answer_in_another_form_is_told_without_what_is_in_it(live: Dstack, cloud: FakeDstack) -> None:
    _, run, handle = start(live, env={"HF_TOKEN": "hunter2"})
    cloud.run(run)["submitted_at"] = {"hunter2": "hunter2"}
    with pytest.raises(ProviderUnavailable, match=r"cannot be read: submitted_at: ") as raised:
        live.poll(handle)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpu_type": "A10/3", "forecast": {}}, "no whole GPU"),
        ({"provider": "akash"}, "rents nothing from akash"),
        ({"image": None}, "has no run.image"),
        ({"secrets": {"TOKEN": "hub"}}, "run.secrets"),
    ],
)
def test_what_cannot_be_rented_does_not_start_and_says_why(
    live: Dstack, cloud: FakeDstack, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(StartFailed, match=said):
        live.start(make_cloud_work(**changes))
    assert cloud.runs == []
