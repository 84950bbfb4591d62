"""Everything a job could run on: each lot of the inventory with the layouts that make sense there.

Thousands of candidates share a few hundred questions: a forecast depends on the GPU type, the layout and, for
several machines, on the network between them, not on who sells it. Each is asked once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from predictor.forecast import Question
from predictor.hardware import GpuCatalogue, GpuType
from predictor.layout import Layout
from predictor.layouts import sensible_layouts
from predictor.workload import CustomWorkload, Workload
from scheduler.domain.arrays import Ints
from scheduler.domain.constraints import Filter
from scheduler.domain.offers import Offer
from scheduler.domain.spec import Constraints
from scheduler.domain.stock import Group, Inventory, Kind, inventory_of
from scheduler.domain.verdicts import FEASIBLE


@dataclass(frozen=True, slots=True)
class Cell:
    """A layout of one GPU type as offers name it; one question for each variant the name may mean."""

    layout: Layout
    questions: tuple[int, ...]
    """Places in `Board.questions`."""


@dataclass(frozen=True, slots=True, eq=False)
class Board:
    """What a workload can be asked on some groups of lots: each group's cells, each distinct question once."""

    workload: Workload
    groups: tuple[Group, ...]
    cells: tuple[tuple[Cell, ...], ...]
    """Of each group."""
    questions: tuple[Question, ...]


class Lot(NamedTuple):
    """Some GPUs of one offer; any of its group's cells may run there."""

    offer: Offer
    gpu_count: int
    group: int
    """Place in `Board.groups`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Proposals:
    """All candidates of a job before anything is forecast: each allowed lot with each cell of its group."""

    inventory: Inventory
    rules: Filter
    near: Ints
    """Of each offer: `FEASIBLE`, or the nearness of the constraint that rules it out."""
    places: Ints
    """Of the allowed lots, in the stock."""
    groups: Ints
    """Of each allowed lot, its group's place on the board."""
    board: Board

    def on(self, inventory: Inventory) -> Proposals:
        """The same candidates with what is held of the same stock at another time."""
        return replace(self, inventory=inventory)

    def lacking(self) -> bytes:
        """The lots that have too few GPUs free now, and how many each has. More than enough is as good as enough: what
        is free makes no other difference to a decision."""
        stock = self.inventory.stock
        free = self.inventory.free()[stock.lot_offer[self.places]]
        short = np.flatnonzero(stock.lot_count[self.places] > free)
        return np.concatenate([short, free[short]]).tobytes()

    @property
    def questions(self) -> tuple[Question, ...]:
        """What is to be forecast."""
        return self.board.questions

    @property
    def lots(self) -> list[Lot]:
        """The allowed lots as values."""
        stock = self.inventory.stock
        return [
            Lot(stock.offers[stock.lot_offer[place]], int(stock.lot_count[place]), group)
            for place, group in zip(self.places.tolist(), self.groups.tolist(), strict=True)
        ]


LayOut = Callable[[Workload, Sequence[Group], GpuCatalogue, Layout | None], Board]


def lay_out(workload: Workload, groups: Sequence[Group], gpus: GpuCatalogue, fixed: Layout | None) -> Board:
    """The board of a workload: the layout that its user fixed, or those that make sense on each group."""
    made = _Board(workload, gpus, fixed)
    cells = tuple(made.cells(group) for group in groups)
    return Board(workload, tuple(groups), cells, tuple(made.questions))


def enumerate_candidates(
    constraints: Constraints,
    workload: Workload,
    offers: Inventory | Iterable[Offer],
    gpus: GpuCatalogue,
    lay_out: LayOut = lay_out,
    kinds: Collection[Kind] | None = None,
) -> Proposals:
    """Propose every lot × layout that the constraints allow, of all kinds or of some.

    Callers that remember boards bring their own `lay_out`.
    """
    inventory = offers if isinstance(offers, Inventory) else inventory_of(offers)
    stock, rules = inventory.stock, Filter(constraints, workload, gpus)
    near = rules.nearness(stock)
    allowed = (near == FEASIBLE)[stock.lot_offer] & rules.allows(stock.lot_count, stock.lot_hazard > 0)
    if kinds is not None:
        allowed &= np.array([kind in kinds for kind in stock.kinds], dtype=np.bool_)[stock.lot_kind]
    places = np.flatnonzero(allowed)
    used = np.unique(stock.lot_group[places])
    groups = np.searchsorted(used, stock.lot_group[places])
    board = lay_out(workload, [stock.groups[group] for group in used.tolist()], gpus, rules.fixed_layout)
    return Proposals(inventory=inventory, rules=rules, near=near, places=places, groups=groups, board=board)


@dataclass(slots=True)
class _Board:
    """Hands out places for questions, each distinct one once."""

    workload: Workload
    gpus: GpuCatalogue
    fixed: Layout | None
    questions: list[Question] = field(default_factory=list)
    _question_at: dict[tuple[str, Layout, int, float | None], int] = field(default_factory=dict)
    _layouts_of: dict[tuple[int, int], Sequence[Layout]] = field(default_factory=dict)

    def cells(self, group: Group) -> tuple[Cell, ...]:
        variants = self.gpus.variants(group.gpu_type)
        return tuple(
            Cell(layout, tuple(self._question(gpu, layout, group) for gpu in variants))
            for layout in self._layouts(group.gpu_count, group.node_gpus)
        )

    def _layouts(self, count: int, node: int) -> Sequence[Layout]:
        if self.fixed is not None:
            return (self.fixed,)
        if (count, node) not in self._layouts_of:
            self._layouts_of[count, node] = (
                (Layout(gpu_count=count, data_parallel=count),)
                if isinstance(self.workload, CustomWorkload)
                else sensible_layouts(self.workload, count, node_gpus=node)
            )
        return self._layouts_of[count, node]

    def _question(self, gpu: GpuType, layout: Layout, group: Group) -> int:
        node, link = group.node_gpus, group.interconnect_gbps
        key = (gpu.name, layout, node, link)
        if key not in self._question_at:
            self._question_at[key] = len(self.questions)
            self.questions.append(
                Question(workload=self.workload, gpu=gpu, layout=layout, node_gpus=node, interconnect_gbps=link)
            )
        return self._question_at[key]
