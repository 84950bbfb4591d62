"""Read price catalogues of others: prices per instance-hour, in the columns their makers chose.

Three are known by their header: listings (`gpu_count`, `on_demand_usd_per_hour`, `date` …), gpuhunt's, which dstack
publishes (`instance_name`, `location`, `price`, `spot` …, one row for each way to pay), and SkyPilot's `vms.csv`
(`InstanceType`, `AcceleratorName`, `Price`, `SpotPrice` …, one row for each zone). They list much that is no offer of
ours, so such lines are skipped and counted by reason; a figure that cannot be read still refuses the whole file.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from predictor.errors import InvalidFacts
from predictor.facts import FactRow
from predictor.hardware import GpuCatalogue
from scheduler.domain.card_names import card_named
from scheduler.domain.errors import InvalidOffer
from scheduler.domain.price_file import MOST_NODE_GPUS, day_of, micros_of, read_lines
from scheduler.domain.price_line import ONE_MACHINE, PriceKey, PriceLine

T = TypeVar("T")
_DAY = re.compile(r"(20\d\d)(?:-(\d\d)(?:-(\d\d))?)?\b")
Place = tuple[str | None, str | None]
"""Country and jurisdiction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a catalogue does not say of itself."""

    provider: str | None
    price_date: date | None
    places: Mapping[tuple[str, str], Place]
    """Where each region of each provider lies, as other lists have said."""
    latest: date = date.max
    """No price can be of a later day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """What a file holds."""

    format: str
    lines: tuple[PriceLine, ...]
    """One for each provider, region, instance type and GPU type."""
    skipped: Mapping[str, int]
    """Reason to how many lines."""


class _Skip(Exception):
    """A line that is no offer of ours, and why."""


def read_price_list(path: Path, gpus: GpuCatalogue, given: Given) -> PriceList:
    """Read a price list of any known format; InvalidOffer where the format or a line cannot be read."""
    header = _header(path)
    for name, (columns, read) in _FORMATS.items():
        if set(columns) <= set(header):
            return _read(path, name, given, lambda row, read=read: read(row, gpus, given))  # type: ignore[misc]
    return PriceList(format="pythia", lines=tuple(read_lines(path, gpus, given.latest)), skipped={})


def _read(path: Path, name: str, given: Given, line_of: Callable[[FactRow], PriceLine]) -> PriceList:
    skipped: Counter[str] = Counter()
    lines: dict[PriceKey, PriceLine] = {}
    try:
        for row in _rows(path):
            try:
                line = _placed(line_of(row), given)
            except _Skip as why:
                skipped[str(why)] += 1
                continue
            before = lines.get(line.key)
            lines[line.key] = line if before is None else _merged(before, line)
    except InvalidFacts as error:
        raise InvalidOffer(str(error)) from None
    return PriceList(format=name, lines=tuple(lines.values()), skipped=dict(skipped))


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return [name.strip() for name in next(csv.reader(stream), [])]
    except UnicodeDecodeError:
        raise InvalidOffer(f"{path.name} line 1: not UTF-8 text") from None


def _rows(path: Path) -> Iterator[FactRow]:
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise InvalidFacts(f"{path.name} line {reader.line_num}: not as many values as columns")
                yield FactRow(path.name, reader.line_num, {name.strip(): value.strip() for name, value in row.items()})
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidFacts(f"{path.name} line {reader.line_num + 1}: not readable as CSV ({error})") from None


def _merged(one: PriceLine, other: PriceLine) -> PriceLine:
    """Two lines of one offer: the newer list; of one day the ways to pay together, each at its lowest."""
    if one.price_date != other.price_date:
        return max(one, other, key=lambda line: line.price_date)

    def lowest(first: int | None, second: int | None) -> int | None:
        return min((price for price in (first, second) if price is not None), default=None)

    return replace(
        one,
        on_demand_micros=lowest(one.on_demand_micros, other.on_demand_micros),
        spot_micros=lowest(one.spot_micros, other.spot_micros),
    )


def _placed(line: PriceLine, given: Given) -> PriceLine:
    if line.country is not None or line.jurisdiction is not None:
        return line
    # a zone (`us-central1-a`) lies where its region does
    for region in (line.region, line.region.rpartition("-")[0]):
        place = given.places.get((line.provider, region))
        if place is not None:
            return replace(line, country=place[0], jurisdiction=place[1])
    return line


def _listing(row: FactRow, gpus: GpuCatalogue, given: Given) -> PriceLine:
    card, count, max_nodes = _gpus(row, "gpu_count", "gpu_type", _memory(row, "gpu_vram_gib"), gpus)
    return _line(
        provider=row.text("provider"), region=row.values["region"],
        instance_type=row.values["instance_type"] or f"{row.text('gpu_type')} × {count}",
        gpu_type=card, count=count, max_nodes=max_nodes, price_date=_first_day(row, "date", given.latest),
        on_demand=_price(row, "on_demand_usd_per_hour", count), spot=_price(row, "spot_usd_per_hour", count),
        country=row.optional_text("country"), provider_hq=row.optional_text("provider_hq"),
        jurisdiction={"EU": "EU", "EEA": "EEA", "non-EU": "other"}.get(row.values["jurisdiction"], "unknown"),
        source=row.text("source"),
    )  # fmt: skip


def _gpuhunt(row: FactRow, gpus: GpuCatalogue, given: Given) -> PriceLine:
    card, count, max_nodes = _gpus(row, "gpu_count", "gpu_name", _memory(row, "gpu_memory"), gpus)
    spot = row.values["spot"].casefold() == "true"
    price = _price(row, "price", count)
    provider = row.values.get("provider") or _need(given.provider, "a gpuhunt catalogue", "provider")
    return _line(
        provider=provider, region=row.values["location"], instance_type=row.text("instance_name"),
        gpu_type=card, count=count, max_nodes=max_nodes,
        on_demand=None if spot else price, spot=price if spot else None, source="gpuhunt catalogue",
        price_date=_day(given, "a gpuhunt catalogue"),
    )  # fmt: skip


def _skypilot(row: FactRow, gpus: GpuCatalogue, given: Given) -> PriceLine:
    name = row.values["AcceleratorName"]
    # SkyPilot's A100 is the smaller one; the larger is called A100-80GB. Its V100 likewise.
    memory = {"A100": 40.0, "V100": 16.0}.get(name)
    card, count, max_nodes = _gpus(row, "AcceleratorCount", "AcceleratorName", memory, gpus)
    return _line(
        provider=_need(given.provider, "a SkyPilot catalogue", "provider"), region=row.text("Region"),
        instance_type=row.values["InstanceType"] or name, gpu_type=card, count=count,
        max_nodes=max_nodes, on_demand=_price(row, "Price", count), spot=_price(row, "SpotPrice", count),
        source="SkyPilot catalogue",
        price_date=_day(given, "a SkyPilot catalogue"),
    )  # fmt: skip


_FORMATS: Mapping[str, tuple[tuple[str, ...], Callable[[FactRow, GpuCatalogue, Given], PriceLine]]] = {
    "listing": (
        ("provider", "region", "country", "jurisdiction", "provider_hq", "instance_type", "gpu_type", "gpu_count",
         "gpu_vram_gib", "on_demand_usd_per_hour", "spot_usd_per_hour", "date", "source"), _listing,
    ),
    "gpuhunt": (("instance_name", "location", "price", "gpu_count", "gpu_name", "gpu_memory", "spot"), _gpuhunt),
    "skypilot": (
        ("InstanceType", "AcceleratorName", "AcceleratorCount", "Region", "Price", "SpotPrice"), _skypilot,
    ),
}  # fmt: skip

FORMATS = ("pythia", *_FORMATS)
"""Names of the formats that are known; `pythia` is that of `price_file`."""


def _line(
    *, provider: str, region: str, instance_type: str, gpu_type: str, count: int, price_date: str,
    source: str, on_demand: int | None, spot: int | None, country: str | None = None,
    jurisdiction: str | None = None, provider_hq: str | None = None, max_nodes: int | None = None,
) -> PriceLine:  # fmt: skip
    if on_demand is None and spot is None:
        raise _Skip("no price")
    return PriceLine(
        provider=provider, region=region, country=country, jurisdiction=jurisdiction, provider_hq=provider_hq,
        instance_type=instance_type, gpu_type=gpu_type, node_gpus=count, sold_gpus=(count,),
        on_demand_micros=on_demand, spot_micros=spot, price_date=price_date, source=source,
        max_nodes=max_nodes,
    )  # fmt: skip


def _first_day(row: FactRow, column: str, latest: date) -> str:
    """A list's day; of one that names a month or a year only its first, so that no price looks younger than it is."""
    said = _DAY.match(row.values[column])
    if said is None:
        raise _Skip("no date")
    year, month, day = said.groups()
    try:
        first = date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        raise row.refuse(f"{column} is {row.values[column]!r}, not a date such as 2026-08-23") from None
    return day_of(row, column, first, latest)


def _gpus(
    row: FactRow, column: str, name: str, memory_gb: float | None, gpus: GpuCatalogue
) -> tuple[str, int, int | None]:
    """The card, how many, and over how many machines at most; a part of a card is a card of its own."""
    count = row.number(column, maximum=MOST_NODE_GPUS) if row.values[column] else 0.0
    if count == 0:
        raise _Skip("no GPU")
    if count == int(count):
        return _card(row, name, memory_gb, gpus), int(count), None
    # beside a part some lists write its memory, others that of the whole card: the share says enough
    part = gpus.part_of(_card(row, name, None, gpus), count)
    if part is None:
        raise _Skip("a part of a GPU")
    return part.name, 1, ONE_MACHINE


def _card(row: FactRow, column: str, memory_gb: float | None, gpus: GpuCatalogue) -> str:
    name = card_named(row.values[column], memory_gb, gpus)
    if name is None:
        raise _Skip("a card that is not in the catalogue of GPU types")
    return name


def _memory(row: FactRow, column: str) -> float | None:
    return row.optional_number(column) or None


def _price(row: FactRow, column: str, count: int) -> int | None:
    """Micro-dollars per GPU-hour of a price per instance-hour; zero and `nan` stand for none in these catalogues."""
    raw = row.values[column]
    if not raw or raw.casefold() == "nan" or row.number(column) == 0:
        return None
    return micros_of(row, column, Decimal(raw) / count)


def _day(given: Given, what: str) -> str:
    day = _need(given.price_date, what, "price_date")
    if day > given.latest:
        raise InvalidOffer(f"price_date is {day}, a day that has not come")
    return day.isoformat()


def _need(value: T | None, what: str, name: str) -> T:
    if value is None:
        raise InvalidOffer(f"{what} does not say its {name}: give it with --{name.replace('_', '-')}")
    return value
