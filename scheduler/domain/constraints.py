"""Which offers a job's constraints allow, told from the offer alone: before anything is forecast."""

from __future__ import annotations

from dataclasses import dataclass

from predictor.hardware import CPU, GpuCatalogue, GpuType
from predictor.layout import Layout, parse_layout
from predictor.workload import CustomWorkload, Workload
from scheduler.domain.jurisdictions import satisfies
from scheduler.domain.offers import Offer
from scheduler.domain.precision import unsupported
from scheduler.domain.spec import Constraints, Spot
from scheduler.domain.verdicts import Code, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a GPU-hour of an offer costs under the job's spot rule."""

    micros_per_gpu_hour: int
    spot: bool


class Filter:
    """A job's constraints, read once and asked for every offer."""

    def __init__(self, constraints: Constraints, workload: Workload, gpus: GpuCatalogue) -> None:
        """UnknownGpuType where a constraint names a GPU type that does not exist."""
        self._asked = constraints
        self._workload = workload
        self._gpus = gpus
        self._only = frozenset(gpu.name for name in constraints.gpu_types for gpu in gpus.variants(name))
        self._never = frozenset(gpu.name for name in constraints.exclude_gpu_types for gpu in gpus.variants(name))
        self._providers = _folded(constraints.providers)
        self._regions = _folded(constraints.regions)
        self._counts: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._by_type: dict[str, tuple[tuple[GpuType, ...], Verdict | None]] = {}
        self.fixed_layout, self._gpu_count = _fixed(constraints)

    def variants(self, gpu_type: str) -> tuple[GpuType, ...]:
        """The GPU types that an offer's name may mean."""
        return self._type(gpu_type)[0]

    def verdict(self, offer: Offer) -> Verdict | None:
        """Why no placement on this offer is allowed; None where one may be."""
        asked = self._asked
        if self._providers and offer.provider.casefold() not in self._providers:
            return Verdict(Code.PROVIDER, None, f"provider {offer.provider} is not among those asked for")
        if self._regions and offer.region.casefold() not in self._regions:
            return Verdict(Code.REGION, None, f"region {offer.region or 'unknown'} is not among those asked for")
        by_law = self._jurisdiction(offer) if asked.jurisdictions or asked.provider_jurisdictions else None
        by_nature = self._type(offer.gpu_type)[1] or by_law
        if by_nature is not None:
            return by_nature
        if asked.tenancy == "dedicated" and offer.tenancy != "dedicated":
            return Verdict(Code.TENANCY, None, f"tenancy is {offer.tenancy}, dedicated is asked for")
        if not self.counts(offer):
            sold = ", ".join(map(str, offer.counts()))
            wanted = f"{self._gpu_count}" if self._gpu_count else f"at most {asked.max_gpus}"
            return Verdict(Code.GPU_COUNT, None, f"sells {sold} GPUs, asked for {wanted}")
        return None if isinstance(price := self.price(offer), Price) else price

    def counts(self, offer: Offer) -> tuple[int, ...]:
        """The GPU counts of an offer that the job may use."""
        sold = offer.counts()
        if sold not in self._counts:
            exact, most = self._gpu_count, self._asked.max_gpus
            self._counts[sold] = tuple(n for n in sold if (n <= most if exact is None else n == exact))
        return self._counts[sold]

    def price(self, offer: Offer) -> Price | Verdict:
        """The lower of the prices that the spot rule allows."""
        on_demand, spot = offer.on_demand_micros_per_gpu_hour, offer.spot_micros_per_gpu_hour
        rule = self._asked.spot
        spot_wins = rule is Spot.REQUIRE or on_demand is None or (spot is not None and spot < on_demand)
        if spot is not None and rule is not Spot.FORBID and spot_wins:
            return Price(micros_per_gpu_hour=spot, spot=True)
        if on_demand is not None and rule is not Spot.REQUIRE:
            return Price(micros_per_gpu_hour=on_demand, spot=False)
        if on_demand is None and spot is None:
            return Verdict(Code.NO_PRICE, None, "has no price")
        sold = "only as spot, which is forbidden" if on_demand is None else "not as spot, which is required"
        return Verdict(Code.SPOT, None, f"is sold {sold}")

    def _jurisdiction(self, offer: Offer) -> Verdict | None:
        asked = self._asked
        wanted = ", ".join(asked.jurisdictions)
        match satisfies(offer.country, asked.jurisdictions, offer.jurisdiction):
            case None:
                return Verdict(Code.JURISDICTION_UNKNOWN, None, f"where it stands is not known, {wanted} required")
            case False:
                return Verdict(Code.JURISDICTION, None, f"stands in {offer.country}, {wanted} required")
        wanted = ", ".join(asked.provider_jurisdictions)
        match satisfies(offer.provider_hq, asked.provider_jurisdictions):
            case None:
                text = f"where its provider sits is not known, {wanted} required"
                return Verdict(Code.JURISDICTION_UNKNOWN, None, text)
            case False:
                text = f"its provider sits in {offer.provider_hq}, {wanted} required"
                return Verdict(Code.PROVIDER_JURISDICTION, None, text)
        return None

    def _type(self, name: str) -> tuple[tuple[GpuType, ...], Verdict | None]:
        if name not in self._by_type:
            variants = self._gpus.variants(name)
            self._by_type[name] = variants, self._type_verdict(variants)
        return self._by_type[name]

    def _type_verdict(self, variants: tuple[GpuType, ...]) -> Verdict | None:
        names = {gpu.name for gpu in variants}
        # a bare name may turn out to be any of its variants: all must be wanted, none forbidden
        if self._only and not names <= self._only:
            asked = ", ".join(self._asked.gpu_types)
            return Verdict(Code.GPU_TYPE, None, f"is not {'surely ' if names & self._only else ''}one of {asked}")
        if names & self._never:
            return Verdict(Code.GPU_TYPE, None, "is excluded")
        if names == {CPU} and not isinstance(self._workload, CustomWorkload):
            return Verdict(Code.GPU_TYPE, None, "has no GPU; only custom work runs on it")
        for gpu in variants:
            missing = unsupported(self._workload, gpu)
            if missing is not None:
                return Verdict(Code.PRECISION_UNSUPPORTED, None, f"{gpu.name} has no {missing} unit")
        return None


def _folded(words: list[str]) -> frozenset[str]:
    return frozenset(word.casefold() for word in words)


def _fixed(constraints: Constraints) -> tuple[Layout | None, int | None]:
    """The layout and the GPU count that the user insists on."""
    if constraints.layout is None:
        return None, constraints.gpu_count
    parsed = parse_layout(constraints.layout)
    if isinstance(parsed, int):
        return None, parsed
    if parsed.gpu_count == 1 and constraints.layout.keys() <= {"gpu_count"}:
        return None, 1
    return parsed, parsed.gpu_count
