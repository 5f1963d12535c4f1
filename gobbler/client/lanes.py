"""The lanes of one client: which connection carries what.

There is one connection for everything, the main lane, as long as that does. Others are opened

- for a fetch in a partition that has a subscription (see `fetches`), and for a second subscription to a
  path that begins further back than the first has come;
- for subscriptions whose reader is slow while the connection carries something else: a full inbox stops
  the reading, and nothing but that reader may have to wait for it. A reader that publishes in its loop
  would otherwise wait for an answer that stands behind its own messages.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gobbler.client.errors import ClientError, Closed, NotConnected, Timeout
from gobbler.client.fetches import Fetch
from gobbler.client.inbox import Inbox
from gobbler.client.lane import Lane, Target
from gobbler.client.publishing import Publisher
from gobbler.client.routes import Fit
from gobbler.client.subscription import Subscription
from gobbler.client.waiting import Deadline
from gobbler.protocol.topic import partition_of

OnConnection = Callable[[ClientError | None], object]


class Lanes:
    """Opens lanes as they are needed. For any thread."""

    def __init__(self, target: Target, publisher: Publisher, on_connection: OnConnection) -> None:
        """Open nothing; `on_connection` is told of the main lane: None, or why it has no connection."""
        self._target = target
        self._publisher = publisher
        self._on_connection = on_connection
        self._lock = threading.Condition()
        self._lanes: list[Lane] = []
        self._closed = False
        self._process = os.getpid()
        self._where = f"not connected to {target.url}"

    @property
    def connected(self) -> bool:
        """Whether the main lane is."""
        return any(lane.connected for lane in self._lanes[:1])

    @property
    def application_id(self) -> str:
        """That of the main lane; empty while it is not connected."""
        return "".join(lane.traffic.application_id for lane in self._lanes[:1])

    def open(self, deadline: Deadline, retry: bool) -> None:
        """Open the main lane, if it is not.

        Raises:
            ClientError: the first attempt has failed; with `retry`, none has succeeded in time.
        """
        with self._held():
            while True:
                self._check()
                main = self._lanes[0] if self._lanes else self._add(self._publisher)
                if self._wait_for(main, deadline, retry):
                    return
                if main in self._lanes or not retry or deadline.passed:
                    break
                # Else another thread, which did not want to wait, has given up on it.
            self._give_up(main)
        raise main.error or NotConnected(f"{self._where}: no answer in time")

    def _wait_for(self, main: Lane, deadline: Deadline, retry: bool) -> bool:
        self._lock.wait_for(
            lambda: (
                main.connected
                or self._closed
                or main not in self._lanes
                or (main.error is not None and not retry)
            ),
            deadline.left,
        )
        self._check()
        return main.connected

    def _give_up(self, main: Lane) -> None:
        """Have it as if a lane had not been opened, if that did not work and nobody else relies on it."""
        if main.greeted or main not in self._lanes or not main.idle or self._publisher.pending:
            return
        self._lanes.remove(main)
        main.stop()
        self._lock.notify_all()

    @property
    def opened(self) -> bool:
        """Whether there is a main lane, connected or not, in this process."""
        return bool(self._lanes) and not self.forked

    @property
    def forked(self) -> bool:
        """Whether this is another process than that which has the threads."""
        return os.getpid() != self._process

    def wake(self) -> None:
        """There is something to publish."""
        for main in self._lanes[:1]:
            main.wake()
            return
        with self._lock:  # another thread has given up on the lane since ours has seen it
            if not self._lanes and not self._closed:
                self._add(self._publisher)

    def subscribe(self, subscription: Subscription, deadline: Deadline) -> None:
        """Add a subscription, and wait until the server has confirmed it.

        Raises:
            ClientError: it did not come about in time, or at all.
        """
        with self._held():
            lane = self._choose(lambda lane: _fit(lane, subscription), deadline)
            lane.command(lane.traffic.routes.add(subscription))
            try:
                self._lock.wait_for(
                    lambda: subscription.begun or subscription.error is not None or self._closed,
                    deadline.left,
                )
            finally:  # Ctrl+C ends the waiting, too
                if not subscription.begun:
                    self._remove(subscription)
            self._check()
            if not subscription.begun:
                raise subscription.error or self._late(lane)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription, wherever it is."""
        with self._lock:
            self._remove(subscription)

    def fetch(self, fetch: Fetch, deadline: Deadline) -> None:
        """Run a fetch.

        Raises:
            ClientError: it failed, or was not done in time.
        """
        with self._held():
            lane = self._choose(lambda lane: _fit_for_fetch(lane, fetch.partition), deadline)
            lane.command(lane.traffic.fetches.add(fetch))
            try:
                self._lock.wait_for(lambda: fetch.done or self._closed, deadline.left)
            finally:
                if not fetch.done:
                    lane.command(lane.traffic.fetches.give_up(fetch, lane.connected))
            self._check()
            if not fetch.done:
                raise self._late(lane)
        if fetch.error is not None:
            raise fetch.error

    def late(self) -> ClientError:
        """Return the error for what the main lane has not done in time."""
        with self._lock:
            return self._late(self._lanes[0]) if self._lanes else NotConnected(self._where)

    def close(self) -> list[Subscription]:
        """Begin to end all lanes, and return the subscriptions that end with them; again: do nothing."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
            for lane in self._lanes:
                lane.stop()
            return [member for lane in self._lanes for member in lane.traffic.routes.members()]

    def join(self, deadline: Deadline) -> None:
        """Wait until the lanes have ended."""
        for lane in self._lanes:
            lane.join(deadline)

    # What the lanes call

    def lane_connected(self, lane: Lane) -> None:
        """Tell of the main lane."""
        if self._is_main(lane):
            self._on_connection(None)

    def lane_lost(self, lane: Lane, error: ClientError, greeted: bool) -> None:
        """Tell of the main lane; of attempts that fail, nothing is told."""
        if greeted and self._is_main(lane):
            self._on_connection(error)

    def make_way(self, lane: Lane, full: set[Inbox]) -> set[Inbox]:
        """Move subscriptions with full inboxes, if something else waits; return the inboxes that moved."""
        with self._lock:
            if self._closed or not self._holds_up(lane, full):
                return set()
            for inbox in full:
                self._move(lane, inbox)
            return set(full)

    def retire(self, lane: Lane) -> bool:
        """Let an idle lane go; say whether it is gone."""
        with self._lock:
            if self._is_main(lane) or not lane.idle:
                return False
            self._lanes.remove(lane)
            return True

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the lock; not in a fork, which another thread's lock may have been copied into."""
        self._check()
        with self._lock:
            yield

    # All of this is called under the lock.

    def _is_main(self, lane: Lane) -> bool:
        return bool(self._lanes) and self._lanes[0] is lane

    def _check(self) -> None:
        if self._closed:
            raise Closed("the client is closed")
        if self.forked:
            raise Closed("a fork does not take a client along: make one in the process that uses it")

    def _add(self, publisher: Publisher | None = None) -> Lane:
        lane = Lane(self._target, self, self._lock, publisher)
        self._lanes.append(lane)
        lane.start()
        return lane

    def _choose(self, fit: Callable[[Lane], Fit], deadline: Deadline) -> Lane:
        """Return the first lane that can take something, once there is one; a new one if none ever will."""
        while True:
            self._check()
            fits = [fit(lane) for lane in self._lanes]
            if Fit.FREE in fits:
                return self._lanes[fits.index(Fit.FREE)]
            if Fit.BUSY not in fits:
                return self._add(None if self._lanes else self._publisher)
            if not self._lock.wait(deadline.left):
                raise self._late(self._lanes[fits.index(Fit.BUSY)])

    def _late(self, lane: Lane) -> ClientError:
        if lane.connected:
            return Timeout("the server has not answered in time")
        return NotConnected(f"{self._where}: {lane.error or 'no answer yet'}")

    def _remove(self, subscription: Subscription) -> None:
        for lane in self._lanes:
            lane.command(lane.traffic.routes.remove(subscription, lane.connected))

    def _holds_up(self, lane: Lane, full: set[Inbox]) -> bool:
        """Say whether somebody waits for what stands behind the messages of a full inbox."""
        if self._is_main(lane) and self._publisher.pending:
            return True
        inboxes = (member.inbox for member in lane.traffic.routes.members())
        return len(lane.traffic.fetches) > 0 or any(inbox not in full for inbox in inboxes)

    def _move(self, lane: Lane, inbox: Inbox) -> None:
        """Have a lane of its own carry the subscriptions of an inbox, each from where it is."""
        other = self._add()
        other.reserved = inbox
        # Those that share a path share a wire, which begins with the first of them.
        for subscription in sorted(lane.traffic.routes.members(inbox), key=lambda each: each.next_id):
            lane.command(lane.traffic.routes.remove(subscription, lane.connected))
            other.traffic.routes.add(subscription)


def _fit(lane: Lane, subscription: Subscription) -> Fit:
    if lane.paused or lane.reserved not in (None, subscription.inbox):
        return Fit.NO
    if lane.traffic.fetches.uses(partition_of(subscription.path)):
        return Fit.BUSY
    return lane.traffic.routes.fit(subscription)


def _fit_for_fetch(lane: Lane, partition: str) -> Fit:
    if lane.paused or lane.reserved is not None or lane.traffic.routes.uses(partition):
        return Fit.NO
    return Fit.BUSY if lane.traffic.fetches.uses(partition) else Fit.FREE
