"""An inbox: what a connection's thread has received and a reader has not taken yet.

It has a limit in bytes. A connection looks at it after each burst and reads nothing more while it is full,
so that it holds the limit and one burst at most: the rest stays in the server's log.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from gobbler.client.errors import Timeout
from gobbler.client.message import Gap, Message
from gobbler.client.waiting import Deadline, Waker

Item = Message | Gap

MESSAGE_BYTES: Final = 500
"""What a message takes in memory beside its bytes; roughly."""


class Chunk(NamedTuple):
    """Items of one burst for one reader, and their size in bytes."""

    handle: Callable[[Sequence[Item]], object]
    items: Sequence[Item]
    size: int


class Inbox:
    """Chunks in their order. For any thread."""

    def __init__(self, limit: int) -> None:
        """It is full with more than `limit` bytes, until half of that is left."""
        self._limit = limit
        self._lock = threading.Condition()
        self._chunks: deque[Chunk] = deque()
        self._held = 0
        self._taken = 0  # of it, what the reader has in its hands
        self._wakers: set[Waker] = set()
        self._closed = False
        self.full = False

    @property
    def held(self) -> int:
        """Bytes that have been put and not been used."""
        return self._held

    def put(self, chunk: Chunk, waker: Waker | None = None) -> bool:
        """Add a chunk; say whether the inbox is full: then `waker` will be set when there is room."""
        with self._lock:
            if self._closed:
                return False
            self._chunks.append(chunk)
            self._held += chunk.size
            self.full = self.full or self._held > self._limit
            if self.full and waker is not None:
                self._wakers.add(waker)
            self._lock.notify()
            return self.full

    def take(self, deadline: Deadline) -> Chunk | None:
        """Return the next chunk, or None when the inbox is closed; the chunk taken before counts as used.

        Raises:
            Timeout: none came in time.
        """
        with self._lock:
            self._use()
            while not self._chunks and not self._closed:
                if not self._lock.wait(deadline.left):
                    raise Timeout("no message came in time")
            if self._closed:
                return None
            chunk = self._chunks.popleft()
            self._taken = chunk.size
            return chunk

    def close(self) -> None:
        """Drop what is there, and have nobody wait any more."""
        with self._lock:
            self._closed = True
            self._taken = self._held
            self._chunks.clear()
            self._use()
            self._lock.notify_all()

    def _use(self) -> None:
        """Free what was taken, and wake the connections when there is room again."""
        self._held -= self._taken
        self._taken = 0
        if self.full and self._held <= self._limit // 2:
            self.full = False
            for waker in self._wakers:
                waker.set()
            self._wakers.clear()
