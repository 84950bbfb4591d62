"""Everything a job could run on: each lot of the inventory with the layouts that make sense there.

Thousands of candidates share a few hundred questions: a forecast depends on the GPU type, the layout and, for
several machines, on the network between them, not on who sells it. Each is asked once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from predictor.forecast import Question
from predictor.hardware import GpuCatalogue, GpuType
from predictor.layout import Layout
from predictor.layouts import sensible_layouts
from predictor.workload import CustomWorkload, Workload
from scheduler.domain.arrays import Ints
from scheduler.domain.constraints import Filter
from scheduler.domain.offers import BESIDE, Offer
from scheduler.domain.spec import NO_DEMANDS, Constraints, Demands
from scheduler.domain.stock import Group, Inventory, Kind, inventory_of
from scheduler.domain.verdicts import FEASIBLE


@dataclass(frozen=True, slots=True)
class Cell:
    """A layout of one GPU type as offers name it; one question for each variant the name may mean."""

    layout: Layout
    questions: tuple[int, ...]
    """Places in `Board.questions`."""


class Seat(NamedTuple):
    """Where a workload can be asked for: what a question says beside it."""

    gpu: GpuType
    layout: Layout
    node_gpus: int
    interconnect_gbps: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A board without its workload; many workloads share one."""

    cells: tuple[tuple[Cell, ...], ...]
    """Of each group."""
    seats: tuple[Seat, ...]
    """Each distinct one once."""
    question: Ints
    """The seat of each option: a cell taken for one of the variants that its GPU type may mean."""
    cell: Ints
    """The cell of each option, counted through all groups."""
    first: Ints
    """Where each group's cells begin, and at the end the number of cells."""


@dataclass(frozen=True, slots=True, eq=False)
class Board:
    """What a workload can be asked on some groups of lots: each group's cells, each distinct question once."""

    workload: Workload
    groups: tuple[Group, ...]
    shape: Shape
    questions: tuple[Question, ...]

    @property
    def cells(self) -> tuple[tuple[Cell, ...], ...]:
        """Of each group."""
        return self.shape.cells


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
    sizes = dict.fromkeys((group.gpu_count, group.node_gpus) for group in groups)
    layouts = tuple((size, _layouts(workload, *size) if fixed is None else (fixed,)) for size in sizes)
    shape = _shape(tuple(groups), layouts, gpus)
    questions = tuple(
        Question(workload=workload, gpu=gpu, layout=layout, node_gpus=node, interconnect_gbps=link)
        for gpu, layout, node, link in shape.seats
    )
    return Board(workload, tuple(groups), shape, questions)


def _layouts(workload: Workload, count: int, node: int) -> tuple[Layout, ...]:
    if isinstance(workload, CustomWorkload):
        return (Layout(gpu_count=count, data_parallel=count),)
    return sensible_layouts(workload, count, node_gpus=node)


@lru_cache(maxsize=256)
def _shape(
    groups: tuple[Group, ...], layouts: tuple[tuple[tuple[int, int], tuple[Layout, ...]], ...], gpus: GpuCatalogue
) -> Shape:
    # workloads differ in more ways than the layouts that make sense for them
    layouts_of = dict(layouts)
    seats: dict[Seat, int] = {}
    cells: list[tuple[Cell, ...]] = []
    for group in groups:
        variants, node, link = gpus.variants(group.gpu_type), group.node_gpus, group.interconnect_gbps
        cells.append(tuple(
            Cell(layout, tuple(seats.setdefault(Seat(gpu, layout, node, link), len(seats)) for gpu in variants))
            for layout in layouts_of[group.gpu_count, node]
        ))  # fmt: skip
    flat = [cell for of_group in cells for cell in of_group]
    return Shape(
        cells=tuple(cells),
        seats=tuple(seats),
        question=np.array([place for cell in flat for place in cell.questions], dtype=np.int64),
        cell=np.repeat(np.arange(len(flat)), [len(cell.questions) for cell in flat]),
        first=np.cumsum([0, *map(len, cells)], dtype=np.int64),
    )


def enumerate_candidates(
    constraints: Constraints,
    workload: Workload,
    offers: Inventory | Iterable[Offer],
    gpus: GpuCatalogue,
    lay_out: LayOut = lay_out,
    kinds: Collection[Kind] | None = None,
    *,
    demands: Demands = NO_DEMANDS,
    beside: Mapping[str, frozenset[str]] = BESIDE,
) -> Proposals:
    """Propose every lot × layout that the constraints allow, of all kinds or of some.

    Callers that remember boards bring their own `lay_out`.
    """
    inventory = offers if isinstance(offers, Inventory) else inventory_of(offers)
    stock, rules = inventory.stock, Filter(constraints, workload, gpus, demands=demands, beside=beside)
    near = rules.nearness(stock)
    allowed = (near == FEASIBLE)[stock.lot_offer] & rules.allows(stock.lot_count, stock.lot_hazard > 0)
    if kinds is not None:
        allowed &= np.array([kind in kinds for kind in stock.kinds], dtype=np.bool_)[stock.lot_kind]
    places = np.flatnonzero(allowed)
    used = np.unique(stock.lot_group[places])
    groups = np.searchsorted(used, stock.lot_group[places])
    board = lay_out(workload, [stock.groups[group] for group in used.tolist()], gpus, rules.fixed_layout)
    return Proposals(inventory=inventory, rules=rules, near=near, places=places, groups=groups, board=board)
