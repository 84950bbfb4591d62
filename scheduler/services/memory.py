"""What the decisions of one process share: the inventory as columns, and the forecasts of workloads seen lately.

Both are exact: the inventory is read again when its version has changed, and a forecast is used again only for the same
workload, the same groups of lots and the same version of the predictor. What is held of each offer is never remembered.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from predictor.hardware import GpuCatalogue
from predictor.layout import Layout
from predictor.workload import Workload
from scheduler.domain.candidates import Board, LayOut, lay_out
from scheduler.domain.foresight import Foresight
from scheduler.domain.offers import Offer
from scheduler.domain.stock import Group, Inventory, Stock, stock_of

MOST_QUESTIONS = 150_000
"""Questions whose boards and forecasts are kept, some 1.5 kB each; a plan asks about 500."""


@dataclass(slots=True)
class _Known:
    board: Board
    foresight: Foresight | None = None
    model_version: str = ""


class Memory:
    """Threads share it; a lock is held for look-ups alone, never while something is made."""

    def __init__(self, most_questions: int = MOST_QUESTIONS) -> None:
        self._most = most_questions
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()
        self._of_board: dict[int, Hashable] = {}
        self._questions = 0
        self._stock: tuple[Hashable, Stock, dict[UUID, int]] | None = None
        self._lock = threading.Lock()
        self.hits = 0
        """Decisions whose forecasts were known."""
        self.misses = 0

    def inventory(
        self, version: Hashable, held: Iterable[tuple[UUID, int]], read: Callable[[], Sequence[Offer]]
    ) -> Inventory:
        """The inventory of a version, read only if the last one was of another, with what is held of it now."""
        current = self._stock
        if current is None or current[0] != version:
            stock = stock_of(read())
            current = version, stock, {offer.id: place for place, offer in enumerate(stock.offers)}
            self._stock = current
        _, stock, place_of = current
        reserved = np.zeros(len(stock.offers), dtype=np.int64)
        for offer_id, gpus in held:
            if (place := place_of.get(offer_id)) is not None:
                reserved[place] = gpus
        return Inventory(stock=stock, reserved=reserved)

    def lay_out(self, workload_key: str) -> LayOut:
        """Lays out a workload's board, or finds it."""

        def known_or_made(
            workload: Workload, groups: Sequence[Group], gpus: GpuCatalogue, fixed: Layout | None
        ) -> Board:
            key = workload_key, fixed, tuple(groups)
            with self._lock:
                known = self._known.get(key)
                if known is not None:
                    self._known.move_to_end(key)
                    return known.board
            board = lay_out(workload, groups, gpus, fixed)
            with self._lock:
                self._keep(key, _Known(board))
            return board

        return known_or_made

    def foresight(self, board: Board, model_version: str) -> Foresight | None:
        """The forecasts of a board, if this version made them."""
        with self._lock:
            known = self._known.get(self._of_board.get(id(board)))
            if known is None or known.board is not board or known.model_version != model_version:
                self.misses += 1
                return None
            self.hits += 1
            return known.foresight

    def remember(self, board: Board, foresight: Foresight, model_version: str) -> None:
        """Keep a board's forecasts for as long as its board is kept."""
        with self._lock:
            known = self._known.get(self._of_board.get(id(board)))
            if known is not None and known.board is board:
                known.foresight, known.model_version = foresight, model_version

    def _keep(self, key: Hashable, known: _Known) -> None:
        if key in self._known:  # another thread was first
            self._forget(key)
        self._known[key] = known
        self._of_board[id(known.board)] = key
        self._questions += len(known.board.questions)
        while self._questions > self._most and len(self._known) > 1:
            self._forget(next(iter(self._known)))

    def _forget(self, key: Hashable) -> None:
        gone = self._known.pop(key)
        del self._of_board[id(gone.board)]
        self._questions -= len(gone.board.questions)
