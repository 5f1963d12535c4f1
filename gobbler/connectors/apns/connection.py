"""One connection to APNs: a greenlet that reads, one that writes, one that watches the clock."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import gevent
from gevent.event import AsyncResult, Event
from h2.exceptions import H2Error

from gobbler.connectors.apns.failure import failure_of
from gobbler.connectors.apns.streams import Exchange, Fields, Result, Streams
from gobbler.connectors.outcome import Outage, Pause

log = logging.getLogger(__name__)

READ_BYTES: Final = 64 * 1024
LOST: Final = "connection-lost"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait for what, in seconds."""

    connect: float = 10.0
    """For a connection: name, TCP, TLS and the peer's first SETTINGS, all together."""
    answer: float = 30.0
    """For an answer, from when the request is handed over."""
    idle: float = 15.0
    """For the peer to say something, before it is pinged."""
    pong: float = 10.0
    """For it to say something then, before the connection is taken for dead."""
    tick: float = 1.0
    """Between looks at the clock: the last three may take so much longer."""


class Connection:
    """Carries the requests of many greenlets: what gathers in a turn of the event loop is sent at once."""

    def __init__(self, sock: Any, streams: Streams, timing: Timing, clock: Callable[[], float]) -> None:
        """Own a connected TLS socket of gevent's."""
        self._sock = sock
        self._streams = streams
        self._timing = timing
        self._clock = clock
        self._heard = clock()
        self._pinged = False
        self._work = Event()
        self._settled = Event()
        self._ended = Event()
        self._failure: Outage | Pause | None = None
        self._greenlets: list[gevent.Greenlet[..., None]] = []

    def __repr__(self) -> str:
        """Show what is under way."""
        return f"<Connection {'ended' if self.ended else 'open'} {self._streams}>"

    @property
    def accepting(self) -> bool:
        """Whether it takes new requests."""
        return self._streams.accepting

    @property
    def ended(self) -> bool:
        """Whether nothing is left of it."""
        return self._ended.is_set()

    def start(self) -> None:
        """Begin to read and write."""
        self._greenlets = [gevent.spawn(self._run, loop) for loop in (self._read, self._write, self._watch)]

    def wait_until_settled(self) -> Outage | Pause | None:
        """Wait for the peer's SETTINGS; return what came in place of them."""
        self._settled.wait()
        return self._failure

    def request(self, headers: Fields, payload: bytes, deadline: float) -> Result:
        """Send a request and wait for what becomes of it."""
        if not self.accepting:
            return None
        result: AsyncResult[Result] = AsyncResult()
        exchange = Exchange(headers, payload, deadline, result.set)
        self._streams.submit(exchange)
        self._work.set()
        try:
            return result.get()
        except BaseException:  # somebody ends the greenlet that waits: the stream is free for others
            self._streams.cancel(exchange)
            self._work.set()
            raise

    def finish(self) -> None:
        """Take no new requests, and end when those under way are answered."""
        self._streams.finish()
        self._work.set()

    def join(self, timeout: float) -> bool:
        """Wait until it has ended, for `timeout` seconds; say whether it has."""
        return self._ended.wait(timeout)

    def end(self, why: Outage | Pause) -> None:
        """End at once; `why` is what becomes of the requests under way. Again: do nothing."""
        if self.ended:
            return
        self._failure = why
        self._ended.set()
        self._settled.set()
        self._streams.end(why)
        for greenlet in self._greenlets:
            if greenlet is not gevent.getcurrent():
                greenlet.kill(block=False)
        self._sock.close()

    # The greenlets

    def _run(self, loop: Callable[[], Outage | Pause]) -> None:
        try:
            why = loop()
        except (OSError, H2Error) as error:
            why = failure_of(error, LOST)
        except Exception:  # the top of this greenlet: whoever waits for an answer must not wait for ever
            if not self.ended:  # else the socket was closed while this was about to use it
                log.exception("%r failed", self)
            why = Outage(LOST, "an error of the server's own; see its log")
        self.end(why)

    def _read(self) -> Outage | Pause:
        while data := self._sock.recv(READ_BYTES):
            self._heard = self._clock()
            self._pinged = False
            self._streams.receive(data)
            if self._streams.ready:
                self._settled.set()
            self._work.set()
        return Outage(LOST, "APNs closed the connection")

    def _write(self) -> Outage | Pause:
        while not self._streams.finished:
            if data := self._streams.outgoing():
                self._sock.sendall(data)
            else:
                self._work.clear()
                self._work.wait()
        self._sock.sendall(self._streams.goodbye())
        return Outage(LOST, "the connection was given up")

    def _watch(self) -> Outage | Pause:
        timing = self._timing
        while True:
            gevent.sleep(timing.tick)
            now = self._clock()
            self._streams.expire(now)
            silence = now - self._heard
            if silence > timing.idle + timing.pong:
                return Outage(LOST, "APNs did not answer a ping")
            if silence > timing.idle and not self._pinged:
                self._pinged = True
                self._streams.ping()
            self._work.set()
