"""The line to APNs: one connection at a time, made when it is needed, another when it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, cast

import gevent
from gevent.event import AsyncResult

from gobbler.connectors.apns.connection import Connection
from gobbler.connectors.outcome import Outage, Pause

log = logging.getLogger(__name__)

Dialled = Connection | Outage | Pause

STOPPED: Final = Outage("stopped", "the connector is stopping")


class Line:
    """Makes one attempt to connect at a time: whoever comes meanwhile is told what came of it."""

    def __init__(self, dial: Callable[[], Dialled]) -> None:
        """Take what makes a connection; it is not called yet."""
        self._dial = dial
        self._current: Connection | None = None
        self._all: list[Connection] = []
        self._attempt: AsyncResult[Dialled] | None = None
        self._dialler: gevent.Greenlet[..., None] | None = None
        self._stopped = False

    def __repr__(self) -> str:
        """Show the connection."""
        return f"<Line {self._current}>"

    def connection(self) -> Dialled:
        """Return a connection that takes requests, or why there is none."""
        current = self._current
        if current is not None and current.accepting:
            return current
        if self._stopped:
            return STOPPED
        attempt = self._attempt
        if attempt is None:
            attempt = self._attempt = AsyncResult()
            # In a greenlet of its own: whoever ends the one that came first does not end it for all.
            self._dialler = gevent.spawn(self._connect, attempt)
        return cast(Dialled, attempt.get())

    def stop(self, timeout: float) -> None:
        """Await the answers to what is under way for `timeout` seconds, then end every connection."""
        self._stopped = True
        if self._attempt is not None and self._dialler is not None:
            self._dialler.kill(block=False)
            self._attempt.set(STOPPED)
        deadline = time.monotonic() + timeout
        for connection in self._all:
            connection.finish()
        for connection in self._all:
            connection.join(max(0.0, deadline - time.monotonic()))
            connection.end(STOPPED)

    def _connect(self, attempt: AsyncResult[Dialled]) -> None:
        try:
            made = self._dial()
        except Exception:  # the top of this greenlet: whoever waits must be told
            log.exception("connecting to APNs failed")
            made = Outage("unreachable", "an error of the server's own; see its log")
        if isinstance(made, Connection):
            made = self._use(made)
        else:
            log.info("cannot connect to APNs: %s (%s)", made.text, made.reason)
        self._attempt = None
        attempt.set(made)

    def _use(self, connection: Connection) -> Dialled:
        if self._stopped:
            connection.end(STOPPED)
            return STOPPED
        log.info("connected to APNs")
        self._all = [each for each in self._all if not each.ended] + [connection]
        self._current = connection
        return connection
