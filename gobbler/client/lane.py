"""A lane: one connection to the server after another, and the thread that keeps it up."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from gobbler.client.connection import SEND_BYTES, Connection
from gobbler.client.errors import ClientError, ConnectionLost
from gobbler.client.inbox import Inbox
from gobbler.client.opening import open_socket
from gobbler.client.publishing import Publisher
from gobbler.client.settings import Settings
from gobbler.client.traffic import Traffic
from gobbler.client.waiting import Backoff, Deadline, KeepAlive, Waker

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 0.1
"""How long a full inbox may hold up what else its connection carries."""

IDLE_SECONDS: Final = 10.0
"""How long a connection is kept that carries nothing, if it is not the first."""

_LONGEST_WAIT: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and how."""

    url: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None
    settings: Settings


class Owner(Protocol):
    """Who has lanes. Called by their threads."""

    def lane_connected(self, lane: Lane) -> None:
        """The server has greeted us."""

    def lane_lost(self, lane: Lane, error: ClientError, greeted: bool) -> None:
        """A connection is lost, or could not be opened, or the server has not `greeted` us."""

    def make_way(self, lane: Lane, full: set[Inbox]) -> set[Inbox]:
        """Move subscriptions with full inboxes to other lanes, if they hold up anything; return whose."""

    def retire(self, lane: Lane) -> bool:
        """Let a lane go that has been idle; say whether it is gone."""


class Lane:
    """Keeps a connection up. Routes and fetches are the owner's to change, under `lock`."""

    def __init__(
        self, target: Target, owner: Owner, lock: threading.Condition, publisher: Publisher | None = None
    ) -> None:
        """Start nothing.

        A lane with a `publisher` carries what that has to send, and stays; another may retire.
        """
        settings = target.settings
        delays = settings.first_delay, settings.longest_delay
        self.traffic = Traffic(lock, publisher, delays)
        self.reserved: Inbox | None = None
        """The only inbox whose subscriptions this lane is for, if there is one."""
        self.paused = False
        """Whether it reads nothing, because an inbox is full."""
        self.error: ClientError | None = None
        """Why there is no connection."""
        self.greeted = False
        """Whether there has ever been one."""
        self._target = target
        self._owner = owner
        self._lock = lock
        self._waker = Waker()
        self._backoff = Backoff(*delays)
        self._retry_at = float("inf")
        self._full: set[Inbox] = set()
        self._paused_at = 0.0
        self._idle_at: float | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gobbler-client", daemon=True)

    def __repr__(self) -> str:
        """Show where to, and how it is."""
        return f"<Lane {self._target.url} {'connected' if self.connected else 'not connected'}>"

    @property
    def connected(self) -> bool:
        """Whether the server has greeted us on this connection."""
        return bool(self.traffic.application_id)

    @property
    def idle(self) -> bool:
        """Whether it carries nothing."""
        return not len(self.traffic.routes) and not len(self.traffic.fetches)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Have the connection closed."""
        self._stopping.set()
        self._waker.set()

    def join(self, deadline: Deadline) -> None:
        """Wait until it is closed; called by a thread of its own, do not wait."""
        if self._thread is not threading.current_thread():
            self._thread.join(deadline.left)

    def wake(self) -> None:
        """There is something to send."""
        self._waker.set()

    def command(self, command: bytes | None) -> None:
        """Queue a command for this connection, if there is one; the caller holds the lock.

        What is to hold beyond the connection is with the routes and fetches.
        """
        if command is not None and self.connected:
            self.traffic.commands.append(command)
            self.wake()

    # The thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            error = self._connect_and_serve()
            if error is None:
                break
            self._lose(error)
            self._stopping.wait(self._backoff.wait())
        with self._lock:
            self.traffic.lost()
        self._waker.close()

    def _connect_and_serve(self) -> ClientError | None:
        """Keep one connection until it is lost; None where that was wanted."""
        try:
            self._serve(self._open())
        except ClientError as error:
            return error
        except Exception as error:  # the top of this thread: a new connection mends most things
            log.exception("the connection to %s failed", self._target.url)
            return ConnectionLost(f"the client failed: {error!r}")
        return None

    def _open(self) -> Connection:
        target = self._target
        sock, data = open_socket(target.url, target.headers, target.tls, target.settings.connect_timeout)
        return Connection(sock, data, self._waker)

    def _lose(self, error: ClientError) -> None:
        with self._lock:
            greeted = self.connected
            self.error = error
            self.paused = False  # so that the next greeting is read; full inboxes are as full as before
            self.traffic.lost()
        log.info("%s: %s", self._target.url, error)
        if self.traffic.publisher is not None:
            self.traffic.publisher.lost(error)
        self._owner.lane_lost(self, error, greeted)

    def _serve(self, connection: Connection) -> None:
        settings = self._target.settings
        alive = KeepAlive(settings.ping_interval, settings.ping_timeout, monotonic())
        try:
            while not self._stopping.is_set():
                self._send(connection)
                payloads = connection.poll(
                    self._patience(alive), reading=not self.paused, more=self._has_more()
                )
                if payloads:
                    self._take(payloads)
                self._look_after(connection, alive)
                if self._is_idle() and self._owner.retire(self):
                    break
        except BaseException:
            connection.drop()
            raise
        connection.close()

    def _send(self, connection: Connection) -> None:
        """Queue what waits to be sent, once the server has greeted us."""
        if not self.connected:
            return
        commands, self._retry_at = self.traffic.take_commands(monotonic())
        connection.send(commands)
        publisher = self.traffic.publisher
        if publisher is not None and connection.unsent < SEND_BYTES:
            connection.send(publisher.take(SEND_BYTES))

    def _take(self, payloads: list[bytes]) -> None:
        greeted = self.connected
        self._full |= self.traffic.take(payloads, self._waker)
        if greeted:
            self._backoff.reset()  # it is more than a server that greets and goes
        elif self.connected:
            self.error = None
            self.greeted = True
            self._owner.lane_connected(self)

    def _has_more(self) -> bool:
        publisher = self.traffic.publisher
        return publisher is not None and publisher.waiting and self.connected

    def _patience(self, alive: KeepAlive) -> float:
        """Return for how long there will be nothing to do, unless something comes."""
        now = monotonic()
        times = [alive.wait(now), self._retry_at - now, _LONGEST_WAIT]
        if self.paused:
            times.append(GRACE_SECONDS)
        if self._idle_at is not None:
            times.append(self._idle_at + IDLE_SECONDS - now)
        return max(0.0, min(times))

    def _look_after(self, connection: Connection, alive: KeepAlive) -> None:
        """Do what is due."""
        now = monotonic()
        alive.heard(connection.heard)
        if self.paused:
            alive.deaf(now)
        elif alive.lost(now):
            raise ConnectionLost("the server does not answer")
        if alive.ping_is_due(now):
            connection.ping()
        self._pause(now)

    def _pause(self, now: float) -> None:
        """Read only while no inbox is full; see that what is not full does not wait long for that."""
        if not self.connected:
            return
        self._full = {inbox for inbox in self._full if inbox.full}
        if not self._full:
            self.paused = False
        elif not self.paused:
            self.paused = True
            self._paused_at = now
        elif now - self._paused_at >= GRACE_SECONDS:
            self._full -= self._owner.make_way(self, self._full)

    def _is_idle(self) -> bool:
        """Say whether it has carried nothing for a while."""
        now = monotonic()
        if self.traffic.publisher is not None or not self.idle:
            self._idle_at = None
        elif self._idle_at is None:
            self._idle_at = now
        return self._idle_at is not None and now - self._idle_at >= IDLE_SECONDS
