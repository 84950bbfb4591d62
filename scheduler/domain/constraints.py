"""Which offers a job's constraints allow, told from the offer alone: before anything is forecast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from predictor.hardware import CPU, GpuCatalogue, GpuType
from predictor.layout import Layout, parse_layout
from predictor.workload import CustomWorkload, Workload
from scheduler.domain.arrays import Flags, Ints
from scheduler.domain.jurisdictions import satisfies
from scheduler.domain.offers import BESIDE, CONTAINER_BACKENDS, FILES, PLAIN_BACKENDS, STAGING, Offer
from scheduler.domain.precision import unsupported
from scheduler.domain.spec import NO_DEMANDS, Constraints, Demands, Spot
from scheduler.domain.stock import FACTORS, Stock
from scheduler.domain.verdicts import FEASIBLE, Code, Verdict

Judge = Callable[[Any], Verdict | None]
"""Judges one property of an offer."""


class Filter:
    """A job's constraints, read once and asked for every offer."""

    def __init__(
        self,
        constraints: Constraints,
        workload: Workload,
        gpus: GpuCatalogue,
        *,
        demands: Demands = NO_DEMANDS,
        beside: Mapping[str, frozenset[str]] = BESIDE,
    ) -> None:
        """UnknownGpuType where a constraint names a GPU type that does not exist. `beside`: as the installation is set
        up."""
        self._asked = constraints
        self._workload = workload
        self._demands, self._beside = demands, beside
        self._gpus = gpus
        self._only = frozenset(gpu.name for name in constraints.gpu_types for gpu in gpus.variants(name))
        self._never = frozenset(gpu.name for name in constraints.exclude_gpu_types for gpu in gpus.variants(name))
        self._providers = _folded(constraints.providers)
        self._regions = _folded(constraints.regions)
        self._by_type: dict[str, tuple[tuple[GpuType, ...], Verdict | None]] = {}
        self.fixed_layout, self._gpu_count = _fixed(constraints)
        judges: tuple[tuple[str, object, Judge], ...] = (
            ("provider", self._providers, self._provider),
            ("region", self._regions, self._region),
            ("gpu_type", True, lambda name: self._type(name)[1]),
            ("place", constraints.jurisdictions, self._place),
            ("seat", constraints.provider_jurisdictions, self._seat),
            ("tenancy", constraints.tenancy == "dedicated", self._tenancy),
            ("backend", demands != NO_DEMANDS, self._backend),
            ("counts", True, self._counts),
            ("sold_as", True, self._sold_as),
        )
        self._judges = tuple((name, judge) for name, asked, judge in judges if asked)

    def variants(self, gpu_type: str) -> tuple[GpuType, ...]:
        """The GPU types that an offer's name may mean."""
        return self._type(gpu_type)[0]

    def verdict(self, offer: Offer) -> Verdict | None:
        """Why no placement on this offer is allowed; None where one may be."""
        for name, judge in self._judges:
            verdict = judge(FACTORS[name](offer))
            if verdict is not None:
                return verdict
        return None

    def nearness(self, stock: Stock) -> Ints:
        """`verdict` for every offer of a stock at once: how near each came, `FEASIBLE` where one may be placed."""
        near = np.full(len(stock.offers), FEASIBLE, dtype=np.int64)
        for name, judge in self._judges:
            factor = stock.factors[name]
            found = np.array([_nearness(judge(value)) for value in factor.values], dtype=np.int64)
            near = np.where(near == FEASIBLE, found[factor.code], near)
        return near

    def allows(self, gpu_count: Ints, spot: Flags) -> Flags:
        """Which lots of an allowed offer the job may take."""
        fits = gpu_count <= self._asked.max_gpus if self._gpu_count is None else gpu_count == self._gpu_count
        match self._asked.spot:
            case Spot.FORBID:
                return fits & ~spot
            case Spot.REQUIRE:
                return fits & spot
            case Spot.ALLOW:
                return fits

    def _provider(self, provider: str) -> Verdict | None:
        if provider.casefold() in self._providers:
            return None
        return Verdict(Code.PROVIDER, None, f"provider {provider} is not among those asked for")

    def _region(self, region: str) -> Verdict | None:
        if region.casefold() in self._regions:
            return None
        return Verdict(Code.REGION, None, f"region {region or 'unknown'} is not among those asked for")

    def _place(self, place: tuple[str | None, str | None]) -> Verdict | None:
        country, stated = place
        wanted = ", ".join(self._asked.jurisdictions)
        match satisfies(country, self._asked.jurisdictions, stated):
            case None:
                return Verdict(Code.JURISDICTION_UNKNOWN, None, f"where it stands is not known, {wanted} required")
            case False:
                return Verdict(Code.JURISDICTION, None, f"stands in {country}, {wanted} required")
        return None

    def _seat(self, country: str | None) -> Verdict | None:
        wanted = ", ".join(self._asked.provider_jurisdictions)
        match satisfies(country, self._asked.provider_jurisdictions):
            case None:
                text = f"where its provider sits is not known, {wanted} required"
                return Verdict(Code.JURISDICTION_UNKNOWN, None, text)
            case False:
                text = f"its provider sits in {country}, {wanted} required"
                return Verdict(Code.PROVIDER_JURISDICTION, None, text)
        return None

    def _tenancy(self, tenancy: str) -> Verdict | None:
        if tenancy == "dedicated":
            return None
        return Verdict(Code.TENANCY, None, f"tenancy is {tenancy}, dedicated is asked for")

    def _backend(self, backend: str) -> Verdict | None:
        if self._demands.lacks_image and backend in CONTAINER_BACKENDS:
            return Verdict(Code.IMAGE, None, "runs containers only, and the job has no run.image")
        lacking = [name for name in self._demands.beyond if name not in self._beside.get(backend, ())]
        if lacking and backend in PLAIN_BACKENDS:
            asked = ", ".join(f"run.{name}" for name in lacking)
            helps = f" unless {STAGING[backend]} is set" if backend in STAGING and FILES.issuperset(lacking) else ""
            return Verdict(Code.RUN, None, f"its backend, {backend}, cannot carry out {asked}{helps}")
        return None

    def _counts(self, sold: tuple[int, ...]) -> Verdict | None:
        exact, most = self._gpu_count, self._asked.max_gpus
        if any(count <= most if exact is None else count == exact for count in sold):
            return None
        wanted = f"{exact}" if exact else f"at most {most}"
        return Verdict(Code.GPU_COUNT, None, f"sells {', '.join(map(str, sold))} GPUs, asked for {wanted}")

    def _sold_as(self, sold: tuple[bool, bool]) -> Verdict | None:
        on_demand, spot = sold
        if not on_demand and not spot:
            return Verdict(Code.NO_PRICE, None, "has no price")
        if self._asked.spot is Spot.FORBID and not on_demand:
            return Verdict(Code.SPOT, None, "is sold only as spot, which is forbidden")
        if self._asked.spot is Spot.REQUIRE and not spot:
            return Verdict(Code.SPOT, None, "is sold not as spot, which is required")
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


def _nearness(verdict: Verdict | None) -> int:
    return FEASIBLE if verdict is None else verdict.nearness


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
