"""What the decisions of one process share: the inventory as columns, boards, forecasts, and decisions made lately.

All of it is exact. The inventory is read again when its version has changed. A forecast is used again only for the same
workload, the same groups of lots and the same version of the predictor; a decision only if nothing that it depends on
is different: see `deciding`. What is held of each offer is never remembered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from predictor.hardware import GpuCatalogue
from predictor.layout import Layout
from predictor.workload import Workload
from scheduler.domain.candidates import Board, LayOut, Proposals, lay_out
from scheduler.domain.decision import Decision
from scheduler.domain.foresight import Foresight
from scheduler.domain.offers import Offer
from scheduler.domain.stock import Group, Inventory, Stock, inventory_of
from scheduler.services.kept import Kept
from scheduler.storage.views import DecisionView, Listed

MOST_QUESTIONS = 150_000
"""Questions whose boards and forecasts are kept, some 1.5 kB each; a plan asks about 500."""

MOST_DECISIONS = 300
"""Decisions that are kept with their candidates and the answer that shows them, some 500 kB each."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision on a job that nothing was tried for yet, and its view, which names no job."""

    decision: Decision
    view: DecisionView
    remembered: bool = False
    """Whether an equal one will be answered with this."""


class Memory:
    """Threads share it."""

    def __init__(self, most_questions: int = MOST_QUESTIONS, most_decisions: int = MOST_DECISIONS) -> None:
        self._boards: Kept[Board] = Kept(most_questions)
        self._foresights: Kept[tuple[Board, Foresight, str]] = Kept(most_questions)
        self._proposals: Kept[Proposals] = Kept(most_questions)
        self.decided: Kept[Decided] = Kept(most_decisions)
        """By everything that a decision depends on."""
        self.stored: Kept[tuple[Listed, UUID]] = Kept(most_decisions)
        """The decision of a tenant's whose candidates these are in the database."""
        self._stock: tuple[Hashable, Stock, dict[str, int]] | None = None
        self._counting = threading.Lock()
        self.hits = 0
        """Decisions whose forecasts were known."""
        self.misses = 0

    def inventory(self, version: Hashable, held: Mapping[str, int]) -> Inventory | None:
        """The inventory of a version with what is held of it now, by the ids of offers; None if it is to be read."""
        current = self._stock
        if current is None or current[0] != version:
            return None
        _, stock, place_of = current
        reserved = np.zeros(len(stock.offers), dtype=np.int64)
        for offer_id, gpus in held.items():
            if (place := place_of.get(offer_id)) is not None:
                reserved[place] = gpus
        return Inventory(stock=stock, reserved=reserved)

    def take_stock(self, version: Hashable, offers: Iterable[Offer]) -> Inventory:
        """Keep the offers of a version in the place of those of another."""
        inventory = inventory_of(offers)
        stock = inventory.stock
        self._stock = version, stock, {str(offer.id): place for place, offer in enumerate(stock.offers)}
        self._proposals.clear()
        self.decided.clear()
        return inventory

    def proposals(self, key: Hashable, inventory: Inventory, propose: Callable[[], Proposals]) -> Proposals:
        """What was proposed for the same key and stock, with what is held now."""
        found = self._proposals.get(key)
        if found is None or found.inventory.stock is not inventory.stock:
            found = propose()
            self._proposals.put(key, found, len(found.questions))
        return found.on(inventory)

    def lay_out(self, workload_key: str) -> LayOut:
        """Lays out a workload's board, or finds it."""

        def known_or_made(
            workload: Workload, groups: Sequence[Group], gpus: GpuCatalogue, fixed: Layout | None
        ) -> Board:
            key = workload_key, fixed, tuple(groups)
            board = self._boards.get(key)
            if board is None:
                board = lay_out(workload, groups, gpus, fixed)
                self._boards.put(key, board, len(board.questions))
            return board

        return known_or_made

    def foresight(self, board: Board, model_version: str) -> Foresight | None:
        """The forecasts of a board, if this version made them."""
        found = self._foresights.get(id(board))
        known = found is not None and found[0] is board and found[2] == model_version
        self.count(known)
        return found[1] if known and found is not None else None

    def remember(self, board: Board, foresight: Foresight, model_version: str) -> None:
        """Keep a board's forecasts."""
        # the board is kept with them: its id is nobody else's as long as it is
        self._foresights.put(id(board), (board, foresight, model_version), len(board.questions))

    def count(self, known: bool) -> None:
        """Count a decision by whether its forecasts were known."""
        with self._counting:
            self.hits += known
            self.misses += not known
