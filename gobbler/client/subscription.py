"""Subscriptions, as their readers see them, and the thread of those that are callbacks."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from gobbler.client.errors import ClientError, MessagesLost, Timeout
from gobbler.client.inbox import Chunk, Inbox, Item
from gobbler.client.message import Gap, Message
from gobbler.client.waiting import Deadline
from gobbler.errors import BadRequest

log = logging.getLogger(__name__)

OnMessage = Callable[[Message], object]
OnGap = Callable[[Gap], object]


class Subscription:
    """Messages of a topic and all below it, once and in the order of ids, until it is closed.

    Iterate over it, or `get` one by one; both may be done by several threads, which then share the
    messages. One with a callback is not iterated over.
    """

    def __init__(
        self,
        path: bytes,
        inbox: Inbox,
        callback: OnMessage | None,
        on_gap: OnGap | None,
        end: Callable[[Subscription], None],
    ) -> None:
        """`end` takes it out of its connection."""
        self.topic = path.decode()
        # What follows belongs to the connections, under their lock.
        self.path = path
        self.inbox = inbox
        self.next_id = 0
        """The first id that has not been received."""
        self.live = False
        """Whether it may begin later than at `next_id`, as nothing has been promised yet."""
        self.begun = False
        self.error: ClientError | None = None

        self._callback = callback
        self._on_gap = on_gap
        self._end = end
        self._items: deque[Item] = deque()
        self._refilling = threading.Lock()
        self._closed = False

    def __repr__(self) -> str:
        """Show the topic."""
        return f"<Subscription {self.topic}{' closed' if self._closed else ''}>"

    def __enter__(self) -> Self:
        """Return itself; leaving closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __iter__(self) -> Iterator[Message]:
        """Return itself: to iterate again goes on where the last iteration ended."""
        return self

    def __next__(self) -> Message:
        """Wait for the next message; the iteration ends when the subscription or the client is closed.

        Raises:
            MessagesLost: see `get`; the iteration can be continued.
        """
        message = self.get()
        if message is None:
            raise StopIteration
        return message

    def get(self, timeout: float | None = None) -> Message | None:
        """Return the next message; None when the subscription or the client has been closed.

        Raises:
            Timeout: none came within `timeout` seconds.
            BadRequest: the messages are for a callback.
            MessagesLost: some before the next one cannot be had any more, and there is no `on_gap`;
                call it again for the next one.
        """
        if self._callback is not None:
            # The inbox is that of all callbacks.
            raise BadRequest("the messages of this subscription are for its callback")
        while True:
            try:
                item = self._items.popleft()
            except IndexError:
                if not self._refill(Deadline(timeout)):
                    return None
                continue
            if isinstance(item, Message):
                return item
            self._tell(item)

    def close(self) -> None:
        """Cancel the subscription and drop what has not been read; again: do nothing."""
        if not self._closed:
            self._end(self)
            self.ended()

    def ended(self) -> None:
        """Nothing follows: whoever waits is told."""
        self._closed = True
        self._items.clear()
        if self._callback is None:
            self.inbox.close()

    def handle(self, items: Sequence[Item]) -> None:
        """Give items to the callback; for the callbacks' thread."""
        for item in items:
            if self._closed:
                return
            try:
                self._give(item)
            # The top of what the callbacks' thread calls; sys.exit() must not end all other callbacks.
            except (Exception, SystemExit):
                log.exception("the callback of %s failed", self.topic)

    def _give(self, item: Item) -> None:
        if isinstance(item, Message):
            if self._callback is not None:
                self._callback(item)
        elif self._on_gap is None:
            log.error("%s", MessagesLost(item.topic, item.first, item.last))
        else:
            self._on_gap(item)

    def _refill(self, deadline: Deadline) -> bool:
        """Wait for items; False when there will be none."""
        left = deadline.left
        if not self._refilling.acquire(timeout=-1 if left is None else left):
            raise Timeout("no message came in time")
        try:
            if self._items:  # another thread was here first
                return True
            chunk = self.inbox.take(deadline)
            if chunk is None or self._closed:
                return False
            self._items.extend(chunk.items)
            return True
        finally:
            self._refilling.release()

    def _tell(self, gap: Gap) -> None:
        if self._on_gap is None:
            raise MessagesLost(gap.topic, gap.first, gap.last)
        self._on_gap(gap)


class Callbacks:
    """One thread that makes all calls to functions of the client's user."""

    def __init__(self, limit: int) -> None:
        """Hold about `limit` bytes of messages. The thread is started by the first call that needs it."""
        self.inbox = Inbox(limit)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread; again: do nothing."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="gobbler-callbacks", daemon=True)
                self._thread.start()

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called."""
        self.start()
        self.inbox.put(Chunk(lambda items: function(), (), 0))

    def close(self, deadline: Deadline) -> None:
        """End the thread behind the call that it makes now; called by itself, do not wait for that."""
        self.inbox.close()
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(deadline.left)

    def _run(self) -> None:
        while (chunk := self.inbox.take(Deadline(None))) is not None:
            try:
                chunk.handle(chunk.items)
            except (Exception, SystemExit):  # the top of this thread
                log.exception("a callback failed")
