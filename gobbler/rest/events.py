"""REST: messages as Server-Sent Events (WHATWG's HTML standard, section 9.2), stored and live.

A stream has a position in the log and reads from there; the router only wakes
it. So nothing is queued for it, however slowly it is read, and it cannot miss,
repeat or reorder anything. Every event has the id from which `Last-Event-ID`
goes on; what keeps the connection alive has it, too, so that even a client
that has seen nothing yet loses nothing.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping
from typing import Final

import gevent
from flask import Blueprint, Response, request
from gevent.event import Event

from gobbler.errors import StoreError
from gobbler.metrics import Metrics
from gobbler.protocol.block import Chunk
from gobbler.protocol.message import MAX_ID
from gobbler.protocol.selector import Selector
from gobbler.protocol.topic import partition_of
from gobbler.rest.reading import (
    ANY_ORIGIN,
    PREFIX,
    encode,
    encode_gap,
    messages,
    pieces,
    query,
    text_of,
    topic,
    user,
    whole,
)
from gobbler.router.routes import Route, Router
from gobbler.store.base import MessageStore, Page

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS: Final = 15.0
"""How long a stream is silent; proxies end connections that are silent for longer."""

RETRY_MILLISECONDS: Final = 1000
"""A client that lost its connection comes back after this, or up to twice this: not all at once."""

PAGE_BYTES: Final = 64 * 1024
_HEADERS: Final = ANY_ORIGIN | {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}


class Streams:
    """All streams of the server; a service that ends them, so that stopping need not wait for them."""

    def __init__(self, store: MessageStore, router: Router, metrics: Metrics) -> None:
        """Begin without any."""
        self.store = store
        self.router = router
        self.metrics = metrics
        self.stopping = False
        self._running: set[Stream] = set()

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<Streams {len(self._running)}>"

    def start(self) -> None:
        """Let streams go on until `stop`."""
        self.stopping = False

    def stop(self, timeout: float) -> None:
        """Have every stream end behind what it is sending; waits for none."""
        self.stopping = True
        for stream in self._running:
            stream.wake()

    def enter(self, stream: Stream) -> None:
        """Know a stream that has begun."""
        self._running.add(stream)

    def leave(self, stream: Stream) -> None:
        """Forget a stream that has ended."""
        self._running.discard(stream)


class Stream:
    """What one client is given of a path. `start` is as in the receive command; None: from now on."""

    def __init__(self, streams: Streams, path: bytes, params: Mapping[str, str], start: int | None) -> None:
        """Nothing is subscribed before the first event is asked for."""
        self._streams = streams
        self._route = Route(path, params, self)
        self._partition = partition_of(path)
        self._selector = Selector((path,), params)
        self._start = start
        self._position = 0
        self._newest = 0  # the last id that the router has told of
        self._wake = Event()

    def __repr__(self) -> str:
        """Show the route and the position."""
        return f"<Stream {self._route} {self._position}>"

    def deliver(self, chunk: Chunk) -> None:
        """Learn from the router that there is more to read."""
        self._newest = chunk.first_id + chunk.number - 1
        self._wake.set()

    def wake(self) -> None:
        """Look again whether there is something to do, or to end."""
        self._wake.set()

    def events(self) -> Iterator[bytes]:
        """Yield events until the server stops, the store fails or the client goes.

        A store that fails ends the stream like everything else: the client comes back, and
        goes on where it was. Only an answer other than 200 would keep it from that.
        """
        self._streams.enter(self)
        self._streams.router.subscribe(self._route)
        try:
            yield b"retry: %d\n\n" % (RETRY_MILLISECONDS + secrets.randbelow(RETRY_MILLISECONDS))
            yield from self._read()
        except StoreError as error:
            log.warning("%r ends: %s", self, error)
            self._streams.metrics.count_error(error.code)
            yield b": %b\n\n" % text_of(error).encode()
        finally:
            self._streams.router.unsubscribe(self._route)
            self._streams.leave(self)

    def _read(self) -> Iterator[bytes]:
        last = self._begin()
        while not self._streams.stopping:
            silent = True
            for events in self._stored(last):
                silent = False
                yield events
            if silent:
                yield self._alive()
            self._wake.wait(KEEP_ALIVE_SECONDS)
            self._wake.clear()  # before looking: what is committed from here on wakes again
            last = self._last_id()

    def _begin(self) -> int:
        """Find the position; return the id of the newest message."""
        store, partition = self._streams.store, self._partition
        if self._start is None:
            last = self._last_id()
            self._position = last + 1
            return last
        first, last = store.resolve(partition, self._selector, self._start)
        self._position = min(first, last + 1)  # a start id in the future is "from now on"
        return last

    def _last_id(self) -> int:
        last = self._streams.store.bounds(self._partition).last
        return max(last, self._newest)  # a store that has waited may answer with the past

    def _stored(self, last: int) -> Iterator[bytes]:
        """Yield what is stored up to an id."""
        for page in self._streams.store.scan(
            self._partition, self._selector, self._position, last, PAGE_BYTES
        ):
            self._position = page.next_id
            for events in pieces(_encode(page), PAGE_BYTES):
                yield b"".join(events)
                if self._streams.stopping:
                    return
            gevent.sleep(0)

    def _alive(self) -> bytes:
        """Return a comment, and an id without data: no event, but `Last-Event-ID` goes on from there."""
        return b":\nid: %d\n\n" % (self._position - 1)


def _encode(page: Page) -> Iterator[bytes]:
    # The id comes last: who takes it at once, as no client should, has nearly all of the event by then.
    if page.gap:
        yield b"event: gap\ndata: %b\nid: %d\n\n" % (encode_gap(*page.gap), page.gap[1])
    for one in messages(page):
        yield b"data: %b\nid: %d\n\n" % (encode(one), one.id)


def blueprint(streams: Streams) -> Blueprint:
    """Return `GET /api/stream/<topic>`."""
    pages = Blueprint("events", __name__, url_prefix=PREFIX)

    @pages.get("/stream/<topic:_rest>")
    def stream(_rest: str) -> Response:
        path, asked = topic("/stream"), query()
        params = {"user_id": user(asked), "application_id": secrets.token_hex(8)}
        events = Stream(streams, path, params, _start(asked)).events()
        return Response(events, mimetype="text/event-stream", headers=_HEADERS)

    return pages


def _start(asked: Mapping[str, str]) -> int | None:
    """Return the start id: behind the last event that the client has seen, else what the URL asks for.

    Raises:
        BadRequest: it is not a number.
    """
    seen = request.headers.get("Last-Event-ID")
    if seen:
        return whole("Last-Event-ID", seen, 0, MAX_ID - 1) + 1
    return whole("from", asked["from"]) if "from" in asked else None
