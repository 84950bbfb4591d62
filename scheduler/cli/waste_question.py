"""`pythia economics waste`: ask a server, or the database itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from scheduler.cli.output import InvalidArgument


def ask_waste(since: str | None, tenant: str | None, *, all_tenants: bool, simulated: bool) -> dict[str, Any]:
    """The report of one's own tenant by its server, or of all of them from the database."""
    if all_tenants and tenant is not None:
        raise InvalidArgument("--tenant and --all-tenants exclude each other; drop one")
    begin = None if since is None else _moment(since)
    return _from_database(begin, simulated) if all_tenants else _by_server(begin, tenant, simulated)


def _moment(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgument(f"--since is {text!r}, must be a date such as 2026-11-01") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _by_server(since: datetime | None, tenant: str | None, simulated: bool) -> dict[str, Any]:
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        answer: dict[str, Any] = server.get(
            "/v1/economics/waste", since=None if since is None else since.isoformat(), tenant=tenant,
            simulated=simulated,
        )  # fmt: skip
    return answer


def _from_database(since: datetime | None, simulated: bool) -> dict[str, Any]:
    """Of all tenants: whoever may read the database may see them."""
    from predictor.hardware import load_gpu_types  # noqa: PLC0415
    from scheduler.api import present_waste  # noqa: PLC0415
    from scheduler.embedded.postgres import database_url_of  # noqa: PLC0415
    from scheduler.services.waste import LOOKED_BACK, waste_of_all  # noqa: PLC0415
    from scheduler.settings import load_settings  # noqa: PLC0415
    from scheduler.storage.engine import make_engine  # noqa: PLC0415

    settings = load_settings()
    found = settings.model_copy(update={"database_url": database_url_of(settings)})
    engine, now = make_engine(found.require_database_url(), pool_size=1), datetime.now(UTC)
    try:
        begin = now - LOOKED_BACK if since is None else since
        report = waste_of_all(engine, load_gpu_types(), since=begin, now=now, simulated=simulated)
    finally:
        engine.dispose()
    return present_waste.waste(report).model_dump(mode="json")
