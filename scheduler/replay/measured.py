"""The measured world: jobs whose run time on every card and layout they may choose was measured.

Each job is a configuration of batch inference, a workload on a layout, that somebody timed on two or more GPU types.
It may choose among the measured cells only, whatever the policy, and what happens there is what was measured. The trace
gives arrivals and durations: a job is as much of its configuration's work as takes that long where its user would have
run it. Where the layout is free as well, a configuration is a workload on whatever cards and layouts it was timed on:
fewer of them, with more to choose from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from predictor.bundle import Bundle
from predictor.errors import PythiaError
from predictor.forecast import Forecast
from predictor.hardware import GpuCatalogue
from predictor.layout import Layout
from predictor.model import Predictor
from predictor.telemetry import Observation
from predictor.workload import InferenceWorkload, Software
from scheduler.domain.candidates import Proposals, enumerate_candidates
from scheduler.domain.spec import Constraints
from scheduler.replay.errors import InvalidReplay
from scheduler.replay.market import Market
from scheduler.replay.menu import Kind, Menu, Rows, certain, concatenate, fastest_on_each_terms
from scheduler.replay.trace import Trace
from scheduler.replay.world import Class, Jobs, Truth, World

REFERENCE = "H100-SXM"
"""The card that users take where their configuration was measured on it; else the one that most others were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One card and layout that a configuration was timed on."""

    example: Observation
    """The run of median time."""
    run_s: float
    repeats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One job that was timed on several cards."""

    workload: InferenceWorkload
    """Software versions aside: they differ from cell to cell."""
    layout: Layout | None
    """That of every cell; None where it is free."""
    cells: tuple[Cell, ...]

    @property
    def group(self) -> str:
        """Names the configuration."""
        return group_of(self.cells[0].example)


def group_of(observation: Observation) -> str:
    """Equal for all runs of one configuration, whatever the card, the layout and the software version."""
    return repr(_bare(observation))


def family_of(observation: Observation) -> str:
    """Equal for all runs of one model family: a much harder way of holding out."""
    return observation.family


GROUPS: Mapping[str, Callable[[Observation], str]] = {"configuration": group_of, "family": family_of}


def configurations(observations: Sequence[Observation], *, free_layout: bool = False) -> list[Configuration]:
    """What was timed on at least two GPU types, in an order of its own."""
    runs: dict[tuple[InferenceWorkload, Layout | None], dict[tuple[str, Layout], list[Observation]]] = {}
    for one in observations:
        if isinstance(one.question.workload, InferenceWorkload) and one.runtime_s is not None:
            layout = one.question.layout
            of = runs.setdefault((_bare(one), None if free_layout else layout), {})
            of.setdefault((one.question.gpu.name, layout), []).append(one)
    found = [
        Configuration(workload=workload, layout=layout, cells=tuple(_cell(repeats) for repeats in cells.values()))
        for (workload, layout), cells in runs.items()
        if len({gpu for gpu, _ in cells}) >= 2
    ]
    return sorted(found, key=lambda one: (repr(one.workload), repr(one.layout)))


def _bare(observation: Observation) -> InferenceWorkload:
    workload = observation.question.workload
    assert isinstance(workload, InferenceWorkload)  # noqa: S101 - only runs of inference are asked about
    return replace(workload, software=Software(), assumptions=())


def _cell(repeats: list[Observation]) -> Cell:
    by_time = sorted(repeats, key=lambda one: (one.runtime_s or 0.0, one.id))
    times = [one.runtime_s or 0.0 for one in by_time]
    return Cell(example=by_time[(len(by_time) - 1) // 2], run_s=float(np.median(times)), repeats=len(repeats))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredWorlds:
    """The same jobs twice."""

    known: World
    """Memory is not at issue: that the runs were made says that they fit, and every policy may know it."""
    doubted: World
    """Pythia's memory forecasts are in force, as they would be for work that nobody has run yet."""


def build_measured(
    trace: Trace,
    found: Sequence[Configuration],
    market: Market,
    gpus: GpuCatalogue,
    bundle_of: Callable[[Observation], Bundle],
    *,
    seed: int,
    reference: str = REFERENCE,
) -> MeasuredWorlds:
    """The worlds of a trace; InvalidReplay where no configuration can be bought on two GPU types."""
    drafts = [_draft(one, market, gpus) for one in found]
    # a choice between cards needs two that are for sale
    drafts = [one for one in drafts if len({cell.example.question.gpu.name for cell in one.cells}) >= 2]
    if not drafts:
        raise InvalidReplay("no configuration was timed on two GPU types that are for sale on demand")
    _forecast(drafts, bundle_of)
    popular = Counter(name for one in drafts for name in sorted({c.example.question.gpu.name for c in one.cells}))
    ranked = sorted(popular, key=lambda name: (name != reference, -popular[name], name))
    classes = [_class(one, market, ranked) for one in drafts]
    jobs = _jobs(trace, market, classes, seed)
    sure = [
        replace(one, menu=certain(one.menu), truth=replace(one.truth, fit=np.ones(len(one.menu))), _judged={})
        for one in classes
    ]
    doubtful = sum(not one.menu.accepted.any() for one in classes)
    cells = sum(len(one.cells) for one in drafts)
    notes = (
        f"{len(classes)} of {len(found)} configurations have two GPU types for sale; {cells} measured cells in all",
        "a run time is the median of its repeats; start-up is forecast, provisioning as the offer says",
        f"for {doubtful} configurations the memory forecast is sure of no cell, though all of them were run",
    )
    return MeasuredWorlds(
        known=World(market=market, classes=tuple(sure), jobs=jobs, basis="measured", reference=reference, notes=notes),
        doubted=World(
            market=market, classes=tuple(classes), jobs=jobs, basis="measured", reference=reference, notes=notes
        ),
    )


@dataclass(slots=True)
class _Draft:
    configuration: Configuration
    cells: list[Cell]
    proposals: list[Proposals]
    """Of each cell: the lots that are that cell, and its questions."""
    forecasts: list[list[Forecast]]


def _draft(configuration: Configuration, market: Market, gpus: GpuCatalogue) -> _Draft:
    draft = _Draft(configuration, [], [], [])
    for cell in configuration.cells:
        question = cell.example.question
        constraints = _exactly(question.gpu.name, question.layout)
        proposals = enumerate_candidates(constraints, question.workload, market.inventory, gpus)
        if (market.terms_of_lot[proposals.places] >= 0).any():
            draft.cells.append(cell)
            draft.proposals.append(proposals)
    return draft


def _exactly(gpu_type: str, layout: Layout) -> Constraints:
    fields = layout.to_json()
    return Constraints.model_validate({"gpu_types": [gpu_type], "layout": fields, "max_gpus": layout.gpu_count})


def _forecast(drafts: Sequence[_Draft], bundle_of: Callable[[Observation], Bundle]) -> None:
    """Ask each predictor once, for all that it has not seen."""
    asked: dict[str, list[tuple[_Draft, int]]] = {}
    bundles: dict[str, Bundle] = {}
    for draft in drafts:
        for place, cell in enumerate(draft.cells):
            bundle = bundle_of(cell.example)
            bundles[bundle.version] = bundle
            asked.setdefault(bundle.version, []).append((draft, place))
        draft.forecasts = [[] for _ in draft.cells]
    for version, cells in asked.items():
        questions = [question for draft, place in cells for question in draft.proposals[place].questions]
        answers = iter(Predictor(bundles[version]).answer(questions))
        for draft, place in cells:
            for _ in draft.proposals[place].questions:
                answer = next(answers)
                if isinstance(answer, PythiaError):
                    raise answer
                draft.forecasts[place].append(answer)


def _class(draft: _Draft, market: Market, ranked: Sequence[str]) -> Class:
    menus: list[Menu] = []
    run_s: list[float] = []
    gpu_types: list[str] = []
    usable: list[float] = []
    for cell, proposals, forecasts in zip(draft.cells, draft.proposals, draft.forecasts, strict=True):
        question = cell.example.question
        menu = Kind(market, _exactly(question.gpu.name, question.layout), proposals, forecasts).menu
        menus.append(menu)
        run_s += [cell.run_s] * len(menu)
        gpu_types += [question.gpu.name] * len(menu)
        usable += [question.gpu.usable_gib or 0.0] * len(menu)
    menu = concatenate(menus)
    order = np.argsort(menu.terms, kind="stable")  # the layouts of one lot stand together
    return Class(
        name=draft.configuration.workload.architecture.id,
        menu=menu.take(order),
        truth=Truth(
            run_s=np.array(run_s)[order],
            fit=np.ones(len(menu)),
            usable_gib=np.array(usable)[order],
            peak_gib=np.zeros(len(menu)),
            card=np.zeros(len(menu), dtype=np.int64),
            gpu_type=tuple(gpu_types[place] for place in order),
            time=None,
            memory=None,
        ),
        usual=_usual(menu.take(order), [gpu_types[place] for place in order], ranked),
    )


def _usual(menu: Menu, gpu_types: Sequence[str], ranked: Sequence[str]) -> dict[int, Rows]:
    """For each count the user may have in mind, the nearest that was measured on the card users take."""
    card = next(name for name in ranked if name in gpu_types)
    mine = np.array([name == card for name in gpu_types], dtype=np.bool_)
    measured = sorted(set(menu.gpu_count[mine].tolist()))
    return {
        count: fastest_on_each_terms(menu, mine & (menu.gpu_count == min(measured, key=lambda one: abs(one - count))))
        for count in _COUNTS
    }


_COUNTS = tuple(2**power for power in range(18))
"""Counts a user may have in mind; a trace's are rounded up to one of them."""


def _jobs(trace: Trace, market: Market, classes: Sequence[Class], seed: int) -> Jobs:
    generator = np.random.default_rng(seed)
    kind = generator.integers(0, len(classes), len(trace))
    counts = np.array(_COUNTS, dtype=np.int64)
    usual_count = counts[np.searchsorted(counts, trace.gpu_count)]
    unit_s = np.empty(len(trace))
    for place, count in np.unique(np.stack([kind, usual_count], axis=1), axis=0).tolist():
        rows = classes[place].usual[count]
        row = int(rows[market.cheapest(classes[place].menu.terms[rows].tolist())])
        unit_s[(kind == place) & (usual_count == count)] = classes[place].truth.run_s[row]
    return Jobs(
        ids=trace.ids, submit_s=trace.submit_s, deadline_s=np.full(len(trace), np.inf), kind=kind,
        work=trace.duration_s / unit_s, usual_count=usual_count, time_level=np.zeros((len(trace), 1)),
        need_level=np.zeros(len(trace)),
    )  # fmt: skip
