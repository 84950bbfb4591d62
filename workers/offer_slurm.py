"""Put a Slurm cluster's nodes into the inventory: `python -m workers.offer_slurm [--partition gpu] …`.

In `workers`, since only they speak to clusters. Run again, it takes the cluster as it is then: nodes that are down are
left out, and offers of nodes that are gone have no capacity any more.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal, InvalidOperation

from predictor.errors import PythiaError
from predictor.hardware import CPU, GpuCatalogue, load_gpu_types
from scheduler.domain.errors import InvalidOffer
from scheduler.domain.money import usd_to_micros
from scheduler.domain.price_file import HIGHEST_USD_PER_GPU_HOUR
from scheduler.services.import_offers import list_offers, put_offers
from scheduler.services.inventory import change_offer
from scheduler.settings import load_settings
from scheduler.storage.engine import Engine, make_engine
from workers.backends.base import ProviderUnavailable
from workers.backends.slurm.commands import Commands, Refused, environment_for_commands
from workers.backends.slurm.inventory import BACKEND, SINFO, Terms, offers_of, read_nodes

_FASTEST_GBPS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterImport:
    """What became of a cluster's nodes."""

    stored: int
    gpus: int
    emptied: int
    """Offers whose nodes are gone."""
    unknown_gres_types: tuple[str, ...]
    nodes_in_several_partitions: tuple[str, ...]


def main(arguments: list[str] | None = None) -> int:
    """Import what `sinfo` says; a cluster that does not answer is one sentence and exit code 2."""
    asked = _parser().parse_args(arguments)
    gpus = load_gpu_types()
    try:
        terms = Terms(
            provider=asked.cluster, micros_per_gpu_hour=_price(asked.usd_per_gpu_hour), country=_country(asked.country),
            day=date.today().isoformat(),  # noqa: DTZ011 - a date for people
            max_nodes=_nodes(asked.max_nodes), interconnect_gbps=_gbps(asked.interconnect_gbps),
        )  # fmt: skip
        names = _names(asked.gpu_type, gpus)
        engine = make_engine(load_settings().require_database_url(), pool_size=1)
        try:
            done = import_cluster(engine, terms, gpus, names=names, partitions=asked.partition)
        finally:
            engine.dispose()
    except (PythiaError, ProviderUnavailable, Refused) as error:
        print(f"pythia: {error}", file=sys.stderr)
        return 2
    print(json.dumps(asdict(done)) if asked.json else _text(done))
    return 0


def import_cluster(
    engine: Engine, terms: Terms, gpus: GpuCatalogue, *, names: Mapping[str, str], partitions: Sequence[str]
) -> ClusterImport:
    """Ask the cluster and store its offers; InvalidOffer where it has none."""
    nodes = read_nodes(Commands(environment=environment_for_commands()).query(*SINFO), partitions)
    offers, unknown = offers_of(nodes, terms, gpus, names)
    if not offers:
        hint = f"say what {', '.join(unknown)} is with --gpu-type NAME=TYPE" if unknown else "see `sinfo --Node`"
        raise InvalidOffer(f"the cluster has no nodes to offer in {', '.join(partitions) or 'any partition'}: {hint}")
    put_offers(engine, offers)
    keys = {(offer.region, offer.instance_type, offer.gpu_type) for offer in offers}
    gone = [
        offer
        for offer in list_offers(engine)
        if (offer.backend, offer.provider) == (BACKEND, terms.provider)
        and (not partitions or offer.region in partitions)
        and (offer.region, offer.instance_type, offer.gpu_type) not in keys
    ]
    for offer in gone:
        change_offer(engine, offer.id, {"capacity_gpus": 0})
    return ClusterImport(
        stored=len(offers),
        gpus=sum(offer.capacity_gpus for offer in offers if offer.gpu_type != CPU),
        emptied=len(gone),
        unknown_gres_types=unknown,
        nodes_in_several_partitions=nodes.shared,
    )


def _text(done: ClusterImport) -> str:
    lines = [f"{done.stored} offers stored, with {done.gpus} GPUs"]
    if done.emptied:
        lines.append(f"{done.emptied} offers have no capacity any more: their nodes are gone")
    lines += [
        f"left out: nobody knows which GPU type {name} is; say so with --gpu-type {name}=TYPE"
        for name in done.unknown_gres_types
    ]
    if done.nodes_in_several_partitions:
        lines.append(
            f"{len(done.nodes_in_several_partitions)} nodes stand in several partitions and are offered in each: "
            "Slurm lets jobs wait for them; with --partition they are counted once"
        )
    return "\n".join(lines)


def _price(text: str) -> int:
    try:
        usd = Decimal(text)
        if not 0 <= usd <= HIGHEST_USD_PER_GPU_HOUR:  # false for what is not a number, too
            raise InvalidOperation
    except InvalidOperation:
        raise InvalidOffer(
            f"--usd-per-gpu-hour is {text!r}, not a price from 0 to {HIGHEST_USD_PER_GPU_HOUR}"
        ) from None
    return usd_to_micros(usd)


def _country(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"[A-Z]{2}", text):
        raise InvalidOffer(f"--country is {text!r}, not an ISO code of two letters such as FI")
    return text


def _nodes(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,3}", text):
        raise InvalidOffer(f"--max-nodes is {text!r}, not a number of nodes from 1 to 9999")
    return int(text)


def _gbps(text: str | None) -> float | None:
    if text is None:
        return None
    with suppress(ValueError):
        if 0 < (gbps := float(text)) <= _FASTEST_GBPS:  # false for what is not a number, too
            return gbps
    raise InvalidOffer(f"--interconnect-gbps is {text!r}, not a rate between nodes in Gbit/s such as 400")


def _names(given: Sequence[str], gpus: GpuCatalogue) -> dict[str, str]:
    names = {}
    for one in given:
        gres, equals, gpu_type = one.partition("=")
        if not (gres and equals):
            raise InvalidOffer(f"--gpu-type is {one!r}, not NAME=TYPE such as a100=A100-80GB-SXM")
        gpus.variants(gpu_type)  # UnknownGpuType names those that there are
        names[gres] = gpu_type
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.offer_slurm", description="Offer a Slurm cluster's nodes.")
    parser.add_argument("--cluster", default="slurm", help="the provider's name in plans")
    parser.add_argument("--partition", action="append", default=[], help="only this partition; may be repeated")
    parser.add_argument("--gpu-type", action="append", default=[], metavar="NAME=TYPE", help="what a GRES type is")
    parser.add_argument("--usd-per-gpu-hour", default="0", help="what an hour of a GPU costs its users")
    parser.add_argument("--max-nodes", default="1", help="how many nodes one job may have")
    parser.add_argument("--interconnect-gbps", default=None, help="between nodes, of each, in Gbit/s")
    parser.add_argument("--country", default=None, help="where the cluster stands, such as FI")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


if __name__ == "__main__":
    sys.exit(main())
