"""Everything a job could run on: each offer with each GPU count it sells, and the layouts that make sense there.

Thousands of candidates share a few hundred questions: a forecast depends on the GPU type, the layout and, for
several machines, on the network between them, not on who sells it. Each is asked once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from predictor.forecast import Question
from predictor.hardware import GpuCatalogue, GpuType
from predictor.layout import Layout
from predictor.layouts import sensible_layouts
from predictor.workload import CustomWorkload, Workload
from scheduler.domain.constraints import Filter, Price
from scheduler.domain.offers import Offer
from scheduler.domain.spec import Constraints
from scheduler.domain.verdicts import Verdict

_USUAL_NODE = 8


@dataclass(frozen=True, slots=True)
class Cell:
    """A layout of one GPU type as offers name it; one question for each variant the name may mean."""

    layout: Layout
    questions: tuple[int, ...]
    """Places in `Proposals.questions`."""


class Lot(NamedTuple):
    """Some GPUs of one offer at one price; any of its cells may run there. A tuple, since a plan makes thousands."""

    offer: Offer
    gpu_count: int
    price: Price
    place: int
    """Of the offer, in `Proposals.offers`."""
    group: int
    """Place in `Proposals.groups`."""


class RuledOut(NamedTuple):
    """An offer that the constraints forbid, whatever the forecast."""

    offer: Offer
    gpu_counts: tuple[int, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Proposals:
    """All candidates of a job before anything is forecast: each lot with each cell of its group."""

    questions: tuple[Question, ...]
    groups: tuple[tuple[Cell, ...], ...]
    offers: tuple[Offer, ...]
    """Those that are not ruled out."""
    lots: tuple[Lot, ...]
    ruled_out: tuple[RuledOut, ...]


def enumerate_candidates(
    constraints: Constraints, workload: Workload, offers: Iterable[Offer], gpus: GpuCatalogue
) -> Proposals:
    """Propose every offer × GPU count × layout that the constraints allow, and say why the other offers are out."""
    rules = Filter(constraints, workload, gpus)
    board = _Board(workload=workload, fixed_layout=rules.fixed_layout)
    allowed: list[Offer] = []
    lots: list[Lot] = []
    ruled_out: list[RuledOut] = []
    for offer in offers:
        verdict = rules.verdict(offer)
        if verdict is not None:
            ruled_out.append(RuledOut(offer, offer.counts(), verdict))
            continue
        price = rules.price(offer)
        assert isinstance(price, Price)  # noqa: S101 - the verdict above would have said that there is none
        groups = board.groups_of(offer, rules.counts(offer), rules.variants(offer.gpu_type))
        lots.extend(Lot(offer, count, price, len(allowed), group) for count, group in groups)
        allowed.append(offer)
    return Proposals(tuple(board.questions), tuple(board.groups), tuple(allowed), tuple(lots), tuple(ruled_out))


@dataclass(slots=True)
class _Board:
    """Hands out places for groups and questions, each distinct one once."""

    workload: Workload
    fixed_layout: Layout | None
    questions: list[Question] = field(default_factory=list)
    groups: list[tuple[Cell, ...]] = field(default_factory=list)
    _groups_at: dict[tuple[str, tuple[int, ...], int, float | None], tuple[tuple[int, int], ...]] = field(
        default_factory=dict
    )
    _group_at: dict[tuple[str, int, int, float | None], int] = field(default_factory=dict)
    _question_at: dict[tuple[str, Layout, int, float | None], int] = field(default_factory=dict)
    _layouts_of: dict[tuple[int, int], Sequence[Layout]] = field(default_factory=dict)

    def groups_of(
        self, offer: Offer, counts: tuple[int, ...], variants: tuple[GpuType, ...]
    ) -> tuple[tuple[int, int], ...]:
        """For each GPU count the place of its group; offers of the same machine share them."""
        machine = (offer.gpu_type, counts, offer.node_gpus, offer.interconnect_gbps)
        if machine not in self._groups_at:
            self._groups_at[machine] = tuple((count, self._group(offer, count, variants)) for count in counts)
        return self._groups_at[machine]

    def _group(self, offer: Offer, count: int, variants: tuple[GpuType, ...]) -> int:
        if count > offer.node_gpus:
            node, link = offer.node_gpus, offer.interconnect_gbps
        else:  # one machine: its size and its network make no difference
            node, link = max(_USUAL_NODE, count), None
        key = (offer.gpu_type, count, node, link)
        if key not in self._group_at:
            self._group_at[key] = len(self.groups)
            self.groups.append(tuple(self._cell(layout, variants, node, link) for layout in self._layouts(count, node)))
        return self._group_at[key]

    def _layouts(self, count: int, node: int) -> Sequence[Layout]:
        if self.fixed_layout is not None:
            return (self.fixed_layout,)
        if (count, node) not in self._layouts_of:
            self._layouts_of[count, node] = (
                (Layout(gpu_count=count, data_parallel=count),)
                if isinstance(self.workload, CustomWorkload)
                else sensible_layouts(self.workload, count, node_gpus=node)
            )
        return self._layouts_of[count, node]

    def _cell(self, layout: Layout, variants: tuple[GpuType, ...], node: int, link: float | None) -> Cell:
        return Cell(layout, tuple(self._question(gpu, layout, node, link) for gpu in variants))

    def _question(self, gpu: GpuType, layout: Layout, node: int, link: float | None) -> int:
        key = (gpu.name, layout, node, link)
        if key not in self._question_at:
            self._question_at[key] = len(self.questions)
            self.questions.append(
                Question(workload=self.workload, gpu=gpu, layout=layout, node_gpus=node, interconnect_gbps=link)
            )
        return self._question_at[key]
