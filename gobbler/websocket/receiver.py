"""A receiver: what one client is given of one partition, stored and live.

All subscriptions of a client to paths of one partition share a receiver, and a
receiver has one position in the log. It is either *live*: the router hands it
every commit, in id order. Or it is *catching up*: it ignores the router and
reads the log from its position on, again in id order, until it stands at the
end; then, with nothing able to happen in between, it is live. So a message is
never missed, never given twice however many paths match it, and never given
out of order, whatever mix of replays, slow reading and new subscriptions there
is. A receiver catches up when a subscription starts with an id, and when its
client reads so slowly that too much is queued: the log is the queue.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

import gevent

from gobbler.protocol import notification
from gobbler.protocol.block import Chunk
from gobbler.protocol.message import MAX_ID
from gobbler.protocol.selector import Selector
from gobbler.protocol.topic import ancestors
from gobbler.router.routes import Route
from gobbler.store.base import Page
from gobbler.websocket.connection import QUEUE_LIMIT, State
from gobbler.websocket.fetch import PAGE_BYTES
from gobbler.websocket.peer import Peer

log = logging.getLogger(__name__)

_NEXT: Final = MAX_ID + 1
"""A start id that is not known yet: that of the next commit."""

_Request = tuple[bytes, int | None]
"""A path, and the start id of the receive command."""


class _Subscription:
    """A route, and the id from which on it counts while its receiver is catching up."""

    __slots__ = ("announced", "from_id", "path", "route", "told")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.path = route.path
        self.from_id = _NEXT
        self.announced = True  # whether the client has seen the `#fetch-start` that it asked for
        self.told = True  # whether it has seen `#subscribed-to`

    def begin(self, from_id: int) -> None:
        """Count from this id on, and have the client told of all that follows."""
        self.from_id = from_id
        self.announced = self.told = False


class Receiver:
    """The consumer of one client's routes in one partition."""

    __slots__ = (
        "_cancels",
        "_joining",
        "_live",
        "_newest",
        "_partition",
        "_position",
        "_requests",
        "_running",
        "_session",
        "_subscriptions",
    )

    def __init__(self, session: Peer, partition: str) -> None:
        """Begin live and without subscriptions."""
        self._session = session
        self._partition = partition
        self._subscriptions: dict[bytes, _Subscription] = {}
        self._requests: list[_Request] | None = None
        self._joining: list[_Subscription] | None = None
        self._live = True
        self._running = False
        self._position = 0  # the next id to read; only while not live
        self._newest = 0  # the last id that the router has handed over
        self._cancels = 0  # how many subscriptions have ended

    def __repr__(self) -> str:
        """Show the partition and whether it is live."""
        return f"<Receiver {self._partition} {'live' if self._live else self._position}>"

    @property
    def empty(self) -> bool:
        """Say that there is nothing to receive any more."""
        return not self._subscriptions and not self._requests

    @property
    def live(self) -> bool:
        """Say whether the router's commits are passed on, and not left in the log for later."""
        return self._live

    def __contains__(self, path: bytes) -> bool:
        """Say whether a path is subscribed."""
        return path in self._subscriptions

    def __iter__(self) -> Iterator[bytes]:
        """Yield the paths that are subscribed."""
        return iter(self._subscriptions)

    # What the router calls

    def deliver(self, chunk: Chunk) -> None:
        """Take live messages; where the client is too slow, leave them in the log."""
        self._newest = chunk.first_id + chunk.number - 1
        if not self._live:
            self._join(chunk.first_id)
            return
        connection = self._session.connection
        if connection.queued <= QUEUE_LIMIT:
            connection.push(chunk.frames)
            return
        self._session.services.metrics.slow_reader_turns_total.inc()
        self._fall_back(chunk.first_id)
        self._run()

    def _join(self, first_id: int) -> None:
        """Let subscriptions count that have begun since the last commit.

        Whatever of theirs was committed after they began is in this commit or in later ones.
        """
        if self._joining is not None:
            for subscription in self._joining:
                subscription.from_id = min(subscription.from_id, first_id)
            self._joining = None

    # What the session calls

    def subscribe(self, path: bytes, start: int | None) -> None:
        """Subscribe to a path: live from now on, or from a start id on (see the receive command)."""
        subscription = self._subscriptions.get(path)
        if start is not None or self._begins(path):
            self._request((path, start))
            return
        if subscription is None:
            subscription = self._add(path)
            if not self._live:
                self._joining = [*(self._joining or ()), subscription]
        self._session.tell(notification.subscribed_to(path))

    def _begins(self, path: bytes) -> bool:
        """Say whether a subscription to the path is about to begin, so that it is confirmed later."""
        subscription = self._subscriptions.get(path)
        waits = any(path == requested for requested, _ in self._requests or ())
        return waits or (subscription is not None and not subscription.told)

    def _request(self, request: _Request) -> None:
        if self._requests is None:
            self._requests = []
        self._requests.append(request)
        self._session.requests += 1
        self._run()

    def _drop_requests(self, path: bytes | None = None) -> bool:
        """Forget the requests of a path, or all of them; say whether there were any."""
        before = self._requests or []
        left = [request for request in before if path is not None and request[0] != path]
        self._requests = left or None
        self._session.requests -= len(before) - len(left)
        return len(left) < len(before)

    def unsubscribe(self, path: bytes) -> bool:
        """End the subscription to a path; say whether there was one."""
        waited = self._drop_requests(path)
        subscription = self._subscriptions.pop(path, None)
        if subscription is not None:
            self._remove(subscription)
        return waited or subscription is not None

    def end(self) -> None:
        """End all subscriptions."""
        for subscription in self._subscriptions.values():
            self._remove(subscription)
        self._subscriptions = {}
        self._drop_requests()

    def _add(self, path: bytes) -> _Subscription:
        """Return the subscription to a path; a new one counts from the next commit on."""
        subscription = self._subscriptions.get(path)
        if subscription is None:
            route = Route(path, self._session.params, self)
            subscription = self._subscriptions[path] = _Subscription(route)
            self._session.services.router.subscribe(route)
            self._session.services.metrics.subscriptions.inc()
            self._session.subscriptions += 1
        return subscription

    def _remove(self, subscription: _Subscription) -> None:
        self._session.services.router.unsubscribe(subscription.route)
        self._session.services.metrics.subscriptions.dec()
        self._session.subscriptions -= 1
        self._cancels += 1

    # Catching up

    def _fall_back(self, position: int) -> None:
        """Stop being live; everything before `position` has been given."""
        self._live = False
        self._position = position
        for subscription in self._subscriptions.values():
            subscription.from_id = position

    def _run(self) -> None:
        if not self._running:
            self._running = True
            gevent.spawn(self._catch_up)

    def _catch_up(self) -> None:
        metrics = self._session.services.metrics
        metrics.fetches.inc()
        metrics.fetches_started_total.inc()
        try:
            while self._session.connection.state is State.OPEN and not self.empty and self._round():
                pass
        except Exception as error:  # the top of this greenlet
            log.warning("catching up with %s failed: %s", self._partition, error, exc_info=True)
            self._fail(self._session.gone_wrong(error))
        finally:
            self._running = False
            metrics.fetches.dec()
        self._session.proceed()

    def _fail(self, text: str) -> None:
        """Tell that the subscriptions have ended: what they missed cannot be read."""
        paths = {*self._subscriptions, *(path for path, _ in self._requests or ())}
        self.end()
        self._live = True
        for path in sorted(paths):
            self._session.tell(notification.error_subscribed_to(path, text))

    def _round(self) -> bool:
        """Read what there is up to now; False when that was nothing and the receiver is live."""
        begun: set[bytes] = set()
        while self._requests and self._requests[0][0] not in begun:  # each gets a fetch of its own
            path, start = self._requests[0]
            self._admit(path, start)
            if start is not None:
                begun.add(path)
            self._session.proceed()
        if self._live:  # all requests were canceled
            return False
        last = self._last_id()
        announced = self._announce(last)
        if announced or self._position <= last:
            self._read(last, announced)
        elif not self._requests:
            self._go_live()
        return not self._live

    def _last_id(self) -> int:
        """Return the id of the newest message that is stored."""
        last = self._session.services.store.bounds(self._partition).last
        return max(last, self._newest)  # a store that has waited may answer with the past

    def _go_live(self) -> None:
        self._live = True
        self._joining = None
        for path, subscription in self._subscriptions.items():
            if not subscription.told:
                subscription.told = True
                self._session.tell(notification.subscribed_to(path))

    def _admit(self, path: bytes, start: int | None) -> None:
        """Turn a request into a subscription that counts from its first id on."""
        first = 0
        if start is not None:
            selector = Selector((path,), self._session.params)
            first, _ = self._session.services.store.resolve(self._partition, selector, start)
        end = self._last_id() + 1
        if not self._requests or self._requests[0] != (path, start):
            return  # canceled while the store was asked
        # Nothing can be committed from here to the end of this method.
        self._requests = self._requests[1:] or None
        self._session.requests -= 1
        if start is None:  # again, of a subscription that had not been confirmed
            self._session.tell(notification.subscribed_to(path))
            return
        if self._live:
            self._fall_back(end)
        for subscription in self._subscriptions.values():  # what they were given is not theirs again
            subscription.from_id = max(subscription.from_id, self._position)
        first = min(first, end)
        self._add(path).begin(first)
        self._position = min(self._position, first)

    def _announce(self, last_id: int) -> list[_Subscription]:
        """Tell what is going to be read up to `last_id`; return the subscriptions that were announced.

        A fetch that somebody asked for is announced even where there is
        nothing to read; what gathered meanwhile, only where there is something.
        """
        counts = [(known, self._count(known, last_id)) for known in list(self._subscriptions.values())]
        announced = []
        for subscription, count in counts:
            if (count or not subscription.announced) and self._is_current(subscription):
                subscription.announced = True
                subscription.told = False
                announced.append(subscription)
                self._session.tell(notification.fetch_start(subscription.path, count))
        return announced

    def _count(self, subscription: _Subscription, last_id: int) -> int:
        """Count what a subscription is going to be given; what several match counts for each of them."""
        first = max(self._position, subscription.from_id)
        if first > last_id:
            return 0
        services = self._session.services
        selector = Selector((subscription.path,), self._session.params)
        return services.store.count(self._partition, selector, first, last_id)

    def _is_current(self, subscription: _Subscription) -> bool:
        """Say that a subscription has not been canceled meanwhile."""
        return self._subscriptions.get(subscription.path) is subscription

    def _stretch(self, last_id: int) -> tuple[int, tuple[bytes, ...]]:
        """Return up to which id the same paths count as at the position, and those paths."""
        known = self._subscriptions.values()
        end = min([last_id, *(each.from_id - 1 for each in known if each.from_id > self._position)])
        return end, _topmost({each.path for each in known if each.from_id <= self._position})

    def _read(self, last_id: int, announced: list[_Subscription]) -> None:
        """Send what is stored from the position up to `last_id`, and move the position behind it."""
        store = self._session.services.store
        while self._position <= last_id and self._session.connection.state is State.OPEN:
            end, paths = self._stretch(last_id)
            if paths:
                selector = Selector(paths, self._session.params)
                self._send(store.scan(self._partition, selector, self._position, end, PAGE_BYTES), end)
            else:
                self._position = end + 1
            if self._position <= last_id:
                # Others have a turn; but not at the end, where whoever publishes meanwhile would
                # keep this receiver from ever going live.
                gevent.sleep(0)
        for subscription in announced:
            if self._is_current(subscription):
                self._session.tell(notification.fetch_done(subscription.path))

    def _send(self, pages: Iterator[Page], last_id: int) -> None:
        """Send pages as there is room; stop early where a path is canceled meanwhile."""
        session, cancels = self._session, self._cancels
        while self._position <= last_id and session.connection.wait_for_room():
            page = next(pages, None)
            if page is None or self._cancels != cancels:
                return
            if page.gap:
                self._tell_gap(*page.gap)
            elif page.number:
                session.connection.push(page.frames)
                session.services.metrics.fetched_messages_total.inc(page.number)
            self._position = page.next_id

    def _tell_gap(self, first: int, last: int) -> None:
        for path, subscription in self._subscriptions.items():
            if subscription.from_id <= first:
                self._session.tell(notification.error_gap(path, first, last))


def _topmost(paths: set[bytes]) -> tuple[bytes, ...]:
    """Leave out the paths that others in the set contain."""
    return tuple(sorted(path for path in paths if not paths.intersection(ancestors(path)[1:])))
