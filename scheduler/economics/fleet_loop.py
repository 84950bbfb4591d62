"""The loop of the fleet's simulation, compiled; imported by those who simulate and no one else.

A request is two events, and a day may have ten million: some twenty million events, each of a few hundred
comparisons and sums on its replica's state. Events depend on each other, so they cannot be laid out as array
operations, and a loop of plain Python takes minutes where the question is asked a dozen times. Numba compiles this
one at the price of a dependency; the package itself needs seconds to import, hence never at the top of another
module. With NUMBA_DISABLE_JIT=1 the same lines run as plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

F = TypeVar("F", bound=Callable[..., Any])

NEVER = np.inf
GONE, STARTING, READY = 0, 1, 2


def compiled(function: F) -> F:
    """Compile, and keep the machine code for the next process where some folder can be written to.

    Numba looks for one beside the file and then in the user's cache, and refuses where there is none, as in a
    container whose file system is read-only: the code is then compiled once for each process.
    """
    try:
        return cast(F, njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast(F, njit(nogil=True)(function))


@compiled
def set_leaf(tree: Floats, leaves: int, place: int, value: float) -> None:
    """Set one leaf of a tree of minima, root at 1, leaves from `leaves` on."""
    node = leaves + place
    tree[node] = value
    node >>= 1
    while node >= 1:
        left, right = tree[2 * node], tree[2 * node + 1]
        least = min(left, right)
        if tree[node] == least:
            return
        tree[node] = least
        node >>= 1


@compiled
def least_leaf(tree: Floats, leaves: int) -> int:
    """The first of the leaves that hold the minimum."""
    node = 1
    while node < leaves:
        node = 2 * node if tree[2 * node] <= tree[2 * node + 1] else 2 * node + 1
    return node - leaves


@compiled
def push(heap: Floats, size: int, value: float) -> None:
    """Add to a binary heap of `size` values."""
    child = size
    while child > 0:
        parent = (child - 1) >> 1
        if heap[parent] <= value:
            break
        heap[child] = heap[parent]
        child = parent
    heap[child] = value


@compiled
def pop(heap: Floats, size: int) -> None:
    """Take the least from a binary heap of `size` values; the rest are the first `size - 1`."""
    last = heap[size - 1]
    parent, size = 0, size - 1
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= last:
            break
        heap[parent] = heap[child]
        parent = child
    heap[parent] = last


@compiled
def grown(rows: Floats) -> Floats:
    """The same rows, with room for as many more."""
    wider = np.empty((2 * rows.shape[0], rows.shape[1]))
    wider[: rows.shape[0]] = rows
    return wider


@compiled
def run(  # noqa: C901, PLR0912, PLR0915 - one loop over local state; split, each event would carry all of it
    arrival_s: Floats,
    work: Floats,
    speed: Floats,
    dedicated: int,
    slots: int,
    cold_s: float,
    idle_s: float,
    wait_s: Floats,
    in_flight: Ints,
) -> tuple[int, float, float, Floats]:
    """Serve every request in the order of its arrival; `fleet_simulation.simulate` says what the arguments mean.

    `speed[n]` is what each of n sequences gets done in a second, in mean requests. Writes each request's wait and the
    sequences in flight on its replica once it is there. Returns the requests served, the time of the last answer, the
    replica-seconds with work in flight, and the lives of replicas beyond the dedicated: slot, request, end.
    """
    most = speed.shape[0] - 1
    requests = arrival_s.shape[0]
    leaves = 1
    while leaves < slots:
        leaves *= 2
    # of each replica: its next answer if it is busy, the end of its start, or of its patience
    next_event = np.full(2 * leaves, NEVER)
    # of each with a free place: the smaller, the sooner it is given a request. Dedicated replicas are paid anyway and
    # share the load evenly; the others fill up one after the other, so that the last may drain
    choice = np.full(2 * leaves, NEVER)
    state = np.zeros(slots, np.int64)
    flying = np.zeros(slots, np.int64)
    # virtual time: what a sequence that has been there since the replica was last empty has got done
    done = np.zeros(slots)
    since = np.zeros(slots)
    born = np.zeros(slots)
    # of each: the virtual times at which its sequences end
    heaps = np.empty((slots, most))
    lives = np.empty((64, 3))
    lived, starting, served, alive = 0, 0, 0, dedicated
    last, busy = 0.0, 0.0
    for slot in range(dedicated):
        state[slot] = READY
        set_leaf(choice, leaves, slot, 0.0)
    head, tail = 0, 0  # the queue holds the requests from head to tail
    while True:
        event = next_event[1]
        arrives = arrival_s[tail] if tail < requests else NEVER
        if arrives == NEVER and event == NEVER:
            break
        ready = -1
        if arrives < event:
            now = arrives
            tail += 1
        else:
            now = event
            slot = least_leaf(next_event, leaves)
            if state[slot] == STARTING:
                state[slot] = READY
                starting -= 1
                ready = slot
            elif flying[slot] == 0:  # its patience is over
                state[slot] = GONE
                alive -= 1
                set_leaf(next_event, leaves, slot, NEVER)
                set_leaf(choice, leaves, slot, NEVER)
                if lived == lives.shape[0]:
                    lives = grown(lives)
                lives[lived, 0], lives[lived, 1], lives[lived, 2] = slot, born[slot], now
                lived += 1
                continue
            else:
                n = flying[slot]
                busy += now - since[slot]
                done[slot] = heaps[slot, 0]
                since[slot] = now
                pop(heaps[slot], n)
                flying[slot] = n - 1
                served += 1
                last = now
                ready = slot
        # give places to those who wait, in the order of arrival
        while head < tail:
            target = ready if ready >= 0 and flying[ready] < most else -1
            if target < 0:
                if choice[1] == NEVER:
                    break
                target = least_leaf(choice, leaves)
            n = flying[target]
            if n == 0:
                done[target] = 0.0
            else:
                done[target] += (now - since[target]) * speed[n]
                busy += now - since[target]
            since[target] = now
            push(heaps[target], n, done[target] + work[head])
            flying[target] = n + 1
            wait_s[head] = now - arrival_s[head]
            in_flight[head] = n + 1
            head += 1
            if target != ready:
                n = flying[target]
                set_leaf(next_event, leaves, target, now + max(0.0, heaps[target, 0] - done[target]) / speed[n])
                if n >= most:
                    set_leaf(choice, leaves, target, NEVER)
                else:
                    set_leaf(choice, leaves, target, float(n) if target < dedicated else float(most + target))
        if ready >= 0:
            n = flying[ready]
            if n > 0:
                set_leaf(next_event, leaves, ready, now + max(0.0, heaps[ready, 0] - done[ready]) / speed[n])
            else:
                set_leaf(next_event, leaves, ready, NEVER if ready < dedicated else now + idle_s)
            if n >= most:
                set_leaf(choice, leaves, ready, NEVER)
            else:
                set_leaf(choice, leaves, ready, float(n) if ready < dedicated else float(most + ready))
        # whoever waits without a place that is on its way has one started
        if alive < slots and tail - head > starting * most:
            for slot in range(dedicated, slots):
                if state[slot] == GONE:
                    state[slot] = STARTING
                    born[slot] = now
                    starting += 1
                    alive += 1
                    set_leaf(next_event, leaves, slot, now + cold_s)
                    if tail - head <= starting * most:
                        break
    return served, last, busy, lives[:lived]
