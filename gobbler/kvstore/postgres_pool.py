"""A pool of connections to PostgreSQL, shared by all greenlets of the process."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from gevent.event import Event

from gobbler.errors import KVError
from gobbler.kvstore.postgres_connection import Connection, ConnectionLost, Unanswered

log = logging.getLogger(__name__)

T = TypeVar("T")


class Pool:
    """Runs operations on at most `size` connections, which it opens when they are needed.

    A connection goes back only after an operation that came to its end. Whatever else
    happened (an error, a killed greenlet), it may be in the middle of a statement or a
    transaction, or lead to a server that has become a replica: it is closed.
    """

    def __init__(self, connect: Callable[[], Connection], size: int, wait_seconds: float) -> None:
        """Take how to connect, and how long an operation may wait for a connection; opens none."""
        self._connect = connect
        self._size = size
        self._wait_seconds = wait_seconds
        self._turns = _Turns(size)
        self._idle: list[Connection] = []
        self._operations = 0
        self._closing = False
        self._empty = Event()

    def __repr__(self) -> str:
        """Say how many operations there are, and how many may run at the same time."""
        return f"Pool({self._operations} operations, at most {self._size} at a time)"

    def run(self, operation: Callable[[Connection], T], *, repeat: bool) -> T:
        """Run an operation on a connection when it is its turn; return what it returns.

        With `repeat` it runs again on a new connection when the first one breaks: for what
        can be done twice. Raises: KVError; Unanswered when it may have been done or not.
        """
        if self._closing:
            raise KVError("the key-value store is not running")
        self._operations += 1
        try:
            return self._run_in_turn(operation, repeat)
        finally:
            self._operations -= 1
            self._finish()

    def close(self, timeout: float) -> bool:
        """Begin nothing more, finish what was begun and close the connections.

        Returns whether that is done within `timeout` seconds; the rest ends in the background.
        """
        self._closing = True
        self._finish()
        return bool(self._empty.wait(timeout))

    def _run_in_turn(self, operation: Callable[[Connection], T], repeat: bool) -> T:
        if not self._turns.take(self._wait_seconds):
            raise KVError(
                f"no connection to PostgreSQL was free within {self._wait_seconds:g} s "
                f"({self._size} are in use)"
            )
        try:
            return self._run_twice(operation) if repeat else self._use(self._take(), operation)
        finally:
            self._turns.give()

    def _run_twice(self, operation: Callable[[Connection], T]) -> T:
        try:
            return self._use(self._take(), operation)
        except ConnectionLost as error:
            lost = error
        log.warning("%s; trying again on a new one", lost)
        try:
            return self._use(self._connect(), operation)
        except KVError as error:
            # The first attempt may have been done, whatever became of the second.
            raise Unanswered(f"{lost}; again: {error}") from error

    def _take(self) -> Connection:
        while self._idle:
            # The newest: those that are not needed for long may be dropped by what is in between.
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return self._connect()

    def _use(self, connection: Connection, operation: Callable[[Connection], T]) -> T:
        try:
            result = operation(connection)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return result

    def _finish(self) -> None:
        """Close everything when closing and nothing runs any more."""
        if self._closing and not self._operations:
            while self._idle:
                self._idle.pop().close()
            self._empty.set()


class _Turns:
    """A semaphore that is fair: who comes first is served first.

    gevent's wakes who waits only in the next turn of the event loop; a greenlet that releases
    it and acquires it again is faster, and keeps the others waiting as long as it likes.
    """

    def __init__(self, count: int) -> None:
        self._free = count  # none while somebody waits
        self._waiting: deque[Event] = deque()

    def take(self, timeout: float) -> bool:
        """Wait for a turn, at most `timeout` seconds; return whether it came."""
        if self._free:
            self._free -= 1
            return True
        turn, taken = Event(), False
        self._waiting.append(turn)
        try:
            taken = bool(turn.wait(timeout))
        finally:
            if not taken:
                self._leave(turn)
        return taken

    def give(self) -> None:
        """Hand a turn to who has waited longest."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._free += 1

    def _leave(self, turn: Event) -> None:
        if turn.is_set():  # it came just before its greenlet was killed
            self.give()
        else:
            self._waiting.remove(turn)
