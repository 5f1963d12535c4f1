"""The gateway: all WebSocket sessions of the server."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Set
from typing import Any, Final

import gevent
from gevent.event import Event

from gobbler.websocket.connection import Connection, Flusher
from gobbler.websocket.frames import CloseCode
from gobbler.websocket.peer import Services
from gobbler.websocket.session import Session
from gobbler.websocket.upgrade import take_over, user_of

log = logging.getLogger(__name__)

HEAD_BYTES: Final = 32 * 1024
"""What a command may have beside the headers and the body of its message."""

_TICKS: Final = 2  # a ping interval
_PATIENCE: Final = 2 * _TICKS


class Gateway:
    """Begins sessions, pings the silent ones, and ends them all when the server stops."""

    def __init__(self, services: Services, prefix: str, ping_interval: float) -> None:
        """Serve paths below `prefix`; ping after at most `ping_interval` seconds of silence."""
        self._services = services
        self._prefix = prefix
        self._ping_interval = ping_interval
        self._sessions: set[Session] = set()
        self._empty = Event()
        self._ticker: gevent.Greenlet[[], None] | None = None
        self._flusher = Flusher(gevent.get_hub().loop)
        self.stopping = False

    def __repr__(self) -> str:
        """Show how many sessions there are."""
        return f"<Gateway {self._prefix}, {len(self._sessions)} sessions>"

    @property
    def sessions(self) -> Set[Session]:
        """Return the sessions; it changes while they come and go, so copy it before you wait."""
        return self._sessions

    def start(self) -> None:
        """Begin to ping."""
        self._flusher = Flusher(gevent.get_hub().loop)
        self.stopping = False
        self._ticker = gevent.spawn(self._tick)

    def stop(self, timeout: float) -> None:
        """Close every session with 1001 when what it sent is answered; drop who does not go in time."""
        if self._ticker is None:
            return
        self.stopping = True
        self._ticker.kill()
        self._ticker = None
        for session in list(self._sessions):
            session.finishing(CloseCode.GOING_AWAY)
        if self._sessions:
            self._empty.clear()
            self._empty.wait(timeout)
        for session in list(self._sessions):
            session.connection.drop()

    def accept(self, websocket: Any, path: str) -> None:
        """Begin a session on a WebSocket that gevent-websocket has upgraded; returns at once."""
        user = user_of(path, self._prefix) or ""
        sock, already_read = take_over(websocket)
        connection = Connection(sock, self._flusher, self._services.max_message_size + HEAD_BYTES)
        session = GatewaySession(connection, self._services, user, secrets.token_hex(8))
        session.gateway = self
        self._sessions.add(session)
        connection.start(session, already_read)
        session.greet()
        if self.stopping:
            session.finishing(CloseCode.GOING_AWAY)
        log.debug("%s begins", session)

    def ended(self, session: Session) -> None:
        """Forget a session that is gone."""
        log.debug("%s ends", session)
        self._sessions.discard(session)
        if not self._sessions:
            self._empty.set()

    def _tick(self) -> None:
        while True:
            gevent.sleep(self._ping_interval / _TICKS)
            self._tick_all()

    def _tick_all(self) -> None:
        """A function of its own, so that no session is held through the next wait."""
        for session in list(self._sessions):
            session.connection.tick(_PATIENCE)


class GatewaySession(Session):
    """A session that tells its gateway when it ends."""

    __slots__ = ("gateway",)

    gateway: Gateway

    def lost(self) -> None:
        """End, and be forgotten."""
        super().lost()
        self.gateway.ended(self)
