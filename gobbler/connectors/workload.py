"""Lanes that wait: for a worker, or for the time of their next attempt; and how much they may hold."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Final

import gevent
from gevent.event import Event
from gevent.queue import SimpleQueue

from gobbler.connectors.lane import Lane

MEMORY_BYTES: Final = 16 * 1024 * 1024
"""How much queued messages may take in a connector, about; what comes then is left in the log."""

MAX_LANES: Final = 200_000
"""How many devices may have something unfinished at a time."""


class Workload:
    """The lanes of a connector that runs. `clock` gives unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with none."""
        self._clock = clock
        self._ready: SimpleQueue[Lane] = SimpleQueue()
        self._delayed: list[tuple[float, int, Lane]] = []
        self._numbers = count()
        self._sooner = Event()
        self._room = Event()
        self._room.set()
        self._bytes = 0
        self.lanes = 0
        self._timer: gevent.Greenlet[[], None] | None = None

    def __repr__(self) -> str:
        """Show how many lanes there are and what they hold."""
        return f"<Workload of {self.lanes} lanes, {self._bytes} bytes>"

    def start(self) -> None:
        """Begin to look at the time."""
        self._timer = gevent.spawn(self._tell_time)

    def stop(self) -> None:
        """Hand out nothing more."""
        if self._timer is not None:
            self._timer.kill()
            self._timer = None

    @property
    def delayed(self) -> int:
        """Return how many lanes wait for their next attempt."""
        return len(self._delayed)

    def ready(self, lane: Lane) -> None:
        """Have a lane served when it is its turn."""
        self._ready.put(lane)

    def delay(self, lane: Lane) -> None:
        """Have a lane served when it is due."""
        if not self._delayed or lane.due < self._delayed[0][0]:
            self._sooner.set()
        heapq.heappush(self._delayed, (lane.due, next(self._numbers), lane))

    def next(self) -> Lane:
        """Wait for the next lane to serve."""
        while True:
            lane = self._ready.get()
            if not lane.dropped:
                return lane

    # How much there is

    def begun(self) -> None:
        """Count a lane that has something unfinished now."""
        self.lanes += 1
        self._settle()

    def ended(self) -> None:
        """Count a lane that has nothing unfinished any more."""
        self.lanes -= 1
        self._settle()

    def hold(self, size: int) -> None:
        """Count bytes that a lane holds; negative: that it holds no more."""
        self._bytes += size
        self._settle()

    def _settle(self) -> None:
        if self._bytes >= MEMORY_BYTES or self.lanes >= MAX_LANES:
            self._room.clear()
        else:
            self._room.set()

    def wait_for_room(self) -> None:
        """Return once there is room for more."""
        while not self._room.wait(timeout=3600):
            pass

    @property
    def has_room(self) -> bool:
        """Say whether there is room for more."""
        return self._room.is_set()

    def _tell_time(self) -> None:
        while True:
            wait = self._delayed[0][0] - self._clock() if self._delayed else 3600.0
            if wait > 0:
                self._sooner.wait(timeout=min(wait, 3600.0))
                self._sooner.clear()
                continue
            _, _, lane = heapq.heappop(self._delayed)
            self._ready.put(lane)
