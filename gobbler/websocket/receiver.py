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
from collections import Counter
from collections.abc import Iterator

import gevent

from gobbler.protocol import notification
from gobbler.protocol.block import Chunk
from gobbler.protocol.selector import Selector
from gobbler.protocol.topic import ancestors
from gobbler.router.routes import Route
from gobbler.store.base import Page
from gobbler.websocket.connection import QUEUE_LIMIT, State
from gobbler.websocket.fetch import PAGE_BYTES, first_wanted
from gobbler.websocket.peer import Peer

log = logging.getLogger(__name__)


class _Subscription:
    """A route, and the id from which on it counts."""

    __slots__ = ("announced", "from_id", "route", "told")

    def __init__(self, route: Route, from_id: int) -> None:
        self.route = route
        self.begin(from_id)

    def begin(self, from_id: int) -> None:
        """Count from this id on, and have the client told of all that follows."""
        self.from_id = from_id
        self.announced = False  # whether the client has seen `#fetch-start`
        self.told = False  # whether it has seen `#subscribed-to`

    def confirmed(self) -> None:
        """Note that the client knows, without a fetch."""
        self.announced = self.told = True


class Receiver:
    """The consumer of one client's routes in one partition."""

    __slots__ = ("_live", "_partition", "_position", "_requests", "_running", "_session", "_subscriptions")

    def __init__(self, session: Peer, partition: str) -> None:
        """Begin live and without subscriptions."""
        self._session = session
        self._partition = partition
        self._subscriptions: dict[bytes, _Subscription] = {}
        self._requests: list[tuple[bytes, int | None]] | None = None
        self._live = True
        self._running = False
        self._position = 0  # the next id to read; only while not live

    def __repr__(self) -> str:
        """Show the partition and whether it is live."""
        return f"<Receiver {self._partition} {'live' if self._live else self._position}>"

    @property
    def empty(self) -> bool:
        """Say that there is nothing to receive any more."""
        return not self._subscriptions and not self._requests

    # What the router calls

    def deliver(self, chunk: Chunk) -> None:
        """Take live messages; where the client is too slow, leave them in the log."""
        if not self._live:
            return
        connection = self._session.connection
        if connection.queued <= QUEUE_LIMIT:
            connection.push(chunk.frames)
            return
        self._session.services.metrics.slow_reader_turns_total.inc()
        self._fall_back(chunk.first_id)
        for subscription in self._subscriptions.values():
            subscription.begin(chunk.first_id)
        self._run()

    # What the session calls

    def subscribe(self, path: bytes, start: int | None) -> None:
        """Subscribe to a path: live from now on, or from a start id on (see the receive command)."""
        if start is None and path in self._subscriptions and self._subscriptions[path].told:
            self._session.tell(notification.subscribed_to(path))
        elif start is None and self._live and not self._requests:
            self._add(path, 0)
            self._confirm()
        else:
            self._requests = [*(self._requests or ()), (path, start)]
            self._run()

    def unsubscribe(self, path: bytes) -> bool:
        """End the subscription to a path; say whether there was one."""
        requests = [request for request in self._requests or () if request[0] != path]
        wanted = len(requests) < len(self._requests or ())
        self._requests = requests or None
        subscription = self._subscriptions.pop(path, None)
        if subscription is not None:
            self._remove(subscription)
        return wanted or subscription is not None

    def end(self) -> None:
        """End all subscriptions."""
        for subscription in self._subscriptions.values():
            self._remove(subscription)
        self._subscriptions = {}
        self._requests = None

    def _add(self, path: bytes, from_id: int) -> None:
        subscription = self._subscriptions.get(path)
        if subscription is not None:
            subscription.begin(from_id)
            return
        route = Route(path, self._session.params, self)
        self._subscriptions[path] = _Subscription(route, from_id)
        self._session.services.router.subscribe(route)
        self._session.services.metrics.subscriptions.inc()
        self._session.subscriptions += 1

    def _remove(self, subscription: _Subscription) -> None:
        self._session.services.router.unsubscribe(subscription.route)
        self._session.services.metrics.subscriptions.dec()
        self._session.subscriptions -= 1

    def _confirm(self) -> None:
        for path, subscription in self._subscriptions.items():
            if not subscription.told:
                subscription.confirmed()
                self._session.tell(notification.subscribed_to(path))

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

    def _fail(self, text: str) -> None:
        """Tell that the subscriptions have ended: what they missed cannot be read."""
        paths = {*self._subscriptions, *(path for path, _ in self._requests or ())}
        self.end()
        self._live = True
        for path in sorted(paths):
            self._session.tell(notification.error_subscribed_to(path, text))

    def _round(self) -> bool:
        """Read what there is up to now; False when that was nothing and the receiver is live."""
        store = self._session.services.store
        while self._requests:
            self._admit(*self._requests[0])
        last = store.bounds(self._partition).last
        if self._requests:
            return True
        announced = self._announce(last)
        if not announced and self._position > last:
            self._live = True
            self._confirm()
            return False
        self._read(last, announced)
        return True

    def _admit(self, path: bytes, start: int | None) -> None:
        """Turn a request into a subscription that counts from its first id on."""
        store = self._session.services.store
        selector = Selector((path,), self._session.params)
        first, _ = first_wanted(store, self._partition, selector, start or 0)
        if not self._requests or self._requests[0] != (path, start):
            return  # canceled while the store was asked
        self._requests = self._requests[1:] or None
        # Nothing can be committed between asking the store again and the end of this method.
        now = store.bounds(self._partition).last + 1
        if self._live:
            self._fall_back(now)
        if start is None:
            self._add(path, now)
            self._subscriptions[path].confirmed()
            self._session.tell(notification.subscribed_to(path))
            return
        first = min(first, now)
        self._add(path, first)
        self._position = min(self._position, first)

    def _announce(self, last_id: int) -> list[bytes]:
        """Tell what is going to be read up to `last_id`; return the paths that were told.

        A fetch that somebody asked for is announced even where there is
        nothing to read; what gathered meanwhile, only where there is something.
        """
        counts = self._counts(last_id)
        announced = []
        for path, subscription in self._subscriptions.items():
            if counts[path] or not subscription.announced:
                subscription.announced = True
                announced.append(path)
                self._session.tell(notification.fetch_start(path, counts[path]))
        return announced

    def _counts(self, last_id: int) -> Counter[bytes]:
        """Count what is going to be read; a message that several paths match counts for the topmost."""
        services, params = self._session.services, self._session.params
        counts: Counter[bytes] = Counter()
        for first, last, paths in self._stretches(last_id):
            for path in paths:
                counts[path] += services.store.count(self._partition, Selector((path,), params), first, last)
        return counts

    def _stretches(self, last_id: int) -> Iterator[tuple[int, int, tuple[bytes, ...]]]:
        """Yield ranges of ids (first, last) from the position on, each with the paths that count in it."""
        position = self._position
        while position <= last_id:
            subscriptions = list(self._subscriptions.items())
            begins = [known.from_id for _, known in subscriptions if known.from_id > position]
            end = min([last_id + 1, *begins])
            yield (
                position,
                end - 1,
                _topmost({path for path, known in subscriptions if known.from_id <= position}),
            )
            position = end

    def _read(self, last_id: int, announced: list[bytes]) -> None:
        """Send what is stored from the position up to `last_id`, and move the position behind it."""
        services, connection = self._session.services, self._session.connection
        while self._position <= last_id and connection.state is State.OPEN:
            first, last, paths = next(self._stretches(last_id))
            if not paths:
                self._position = last + 1
                continue
            selector = Selector(paths, self._session.params)
            self._send(services.store.scan(self._partition, selector, first, last, PAGE_BYTES), paths)
        for path in announced:
            if path in self._subscriptions:
                self._session.tell(notification.fetch_done(path))

    def _send(self, pages: Iterator[Page], paths: tuple[bytes, ...]) -> None:
        """Send pages as there is room; stop early where one of the paths is canceled meanwhile."""
        session = self._session
        while session.connection.wait_for_room():
            page = next(pages, None)
            if page is None or not self._subscriptions.keys() >= set(paths):
                return
            if page.gap:
                for path in paths:
                    session.tell(notification.error_gap(path, *page.gap))
            elif page.number:
                session.connection.push(page.frames)
                session.services.metrics.fetched_messages_total.inc(page.number)
            self._position = page.next_id


def _topmost(paths: set[bytes]) -> tuple[bytes, ...]:
    """Leave out the paths that others in the set contain."""
    return tuple(sorted(path for path in paths if not paths.intersection(ancestors(path)[1:])))
