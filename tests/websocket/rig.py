"""Clients on real socket pairs, and the parts of a server behind them, all in this process."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
from gevent.socket import socket as GeventSocket

from gobbler.kvstore.memory import MemoryKVStore
from gobbler.metrics import Metrics
from gobbler.protocol.run import Run
from gobbler.router.intake import Intake
from gobbler.router.routes import Router
from gobbler.store.base import Group, MessageStore
from gobbler.store.filelog.store import FileStore
from gobbler.store.memory import MemoryStore
from gobbler.websocket.connection import Connection, Flusher
from gobbler.websocket.frames import BINARY, CLOSE, PING, PONG, Event, Parser
from gobbler.websocket.peer import Services
from gobbler.websocket.session import Session
from tests.websocket import wire

TIME = 1_400_000_000
DEADLINE = 10.0
APP = "app"


class Client:
    """The other end of a connection. Waits at most `DEADLINE` seconds for anything."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = GeventSocket(fileno=sock.detach())
        self._parser = Parser(1 << 30, masked=False)
        self._events: list[Event] = []
        self.ended = False

    def raw(self, data: bytes) -> None:
        with gevent.Timeout(DEADLINE):
            self.sock.sendall(data)

    def send(self, *payloads: bytes, opcode: int = BINARY) -> None:
        """Send commands in one burst."""
        self.raw(b"".join(wire.client(opcode, payload) for payload in payloads))

    def close(self, payload: bytes = b"\x03\xe8") -> None:
        self.send(payload, opcode=CLOSE)

    def take(self, data: bytes) -> None:
        """Take what has been read already."""
        self._events += self._parser.feed(data)

    def event(self) -> Event:
        """Return the next frame, a ping and a pong too.

        Raises:
            EOFError: the server has ended the connection.
        """
        while not self._events:
            with gevent.Timeout(DEADLINE):
                data = self.sock.recv(1 << 20)
            if not data:
                self.ended = True
                raise EOFError
            self._events = self._parser.feed(data)
            assert self._parser.error is None
        return self._events.pop(0)

    def receive(self) -> bytes:
        opcode, payload = self.event()
        assert opcode == BINARY, (opcode, payload)
        return payload

    def expect(self, *payloads: bytes) -> None:
        """Take as many payloads from the server, and compare them."""
        got = [self.receive() for _ in payloads]
        for place, (one, wanted) in enumerate(zip(got, payloads, strict=True)):
            assert one == wanted, f"{one[:200]!r} in place {place} instead of {wanted[:200]!r}"

    def expect_nothing(self) -> None:
        """Have the server answer a ping, and see that nothing comes before."""
        got = self.until_pong()
        assert got == [], got

    def until(self, payload: bytes) -> list[bytes]:
        """Return the payloads that come up to this one, which is the last of them."""
        got = [self.receive()]
        while got[-1] != payload:
            got.append(self.receive())
        return got

    def until_pong(self) -> list[bytes]:
        """Return what the server sends before it has answered a ping."""
        self.send(b"mark", opcode=PING)
        found = []
        while (event := self.event()) != (PONG, b"mark"):
            found.append(event[1])
        return found

    def expect_close(self, payload: bytes) -> None:
        assert self.event() == (CLOSE, payload)

    def expect_end(self) -> None:
        try:
            event = self.event()
        except (EOFError, ConnectionResetError):
            return
        raise AssertionError(event)


def socket_pair(send_buffer: int = 0) -> tuple[socket.socket, socket.socket]:
    """Return our end, with a send buffer of about so many bytes, and the client's."""
    ours, theirs = socket.socketpair()
    if send_buffer:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    ours.setblocking(False)
    return ours, theirs


class World:
    """A store with all that is between it and the clients."""

    def __init__(self, store: MessageStore, max_message_size: int = 1 << 20) -> None:
        self.store = store
        self.metrics = Metrics("test")
        self.router = Router(self.metrics)
        store.listen(self.router.deliver)
        store.start()
        self.intake = Intake(store, self.metrics)
        self.intake.start()
        self.services = Services(
            self.intake, self.router, store, self.metrics, max_message_size, lambda: TIME
        )
        self.flusher = Flusher(gevent.get_hub().loop)
        self.clients: list[Client] = []

    def connect(self, user: str = "", send_buffer: int = 0, app: str = APP) -> tuple[Client, Session]:
        """Begin a session; its greeting has not been sent."""
        ours, theirs = socket_pair(send_buffer)
        connection = Connection(ours, self.flusher, self.services.max_message_size + 32 * 1024)
        session = Session(connection, self.services, user, app)
        connection.start(session)
        self.services.metrics.sessions.inc()
        client = Client(theirs)
        self.clients.append(client)
        return client, session

    def store_messages(self, path: bytes, *bodies: bytes, filters: bytes = b"") -> None:
        """Store messages as from a REST client."""
        run = Run(path, b"rest", b"api", [b"\n" + body for body in bodies], None, filters)
        (result,) = self.store.append([Group(path.split(b"/")[1].decode(), [run])])
        assert not isinstance(result, Exception), result

    def metric(self, name: str) -> float:
        page = self.metrics.render()[0].decode()
        (line,) = [line for line in page.splitlines() if line.startswith(f"gobbler_{name} ")]
        return float(line.split()[1])

    def stop(self) -> None:
        for client in self.clients:
            client.sock.close()
        wait_until(lambda: self.metric("sessions") == 0)
        self.intake.stop(DEADLINE)
        self.store.stop(DEADLINE)


def wait_until(true: Callable[[], object]) -> None:
    """Give the others turns of the event loop until something is true."""
    with gevent.Timeout(DEADLINE):
        while not true():
            gevent.sleep(0)


def memory_store(limit: int = 1 << 30) -> MemoryStore:
    kvstore = MemoryKVStore()
    kvstore.start()
    return MemoryStore(limit, kvstore, lambda: TIME)


def file_store(folder: Path) -> FileStore:
    return FileStore(str(folder), sync_seconds=None, segment_bytes=20_000, clock=lambda: TIME)


@contextmanager
def world(store: MessageStore, max_message_size: int = 1 << 20) -> Iterator[World]:
    """Run a world, and see at its end that nothing of it is left."""
    made = World(store, max_message_size)
    try:
        yield made
    finally:
        made.stop()
    assert made.router.describe() == {}
    assert (made.metric("subscriptions"), made.metric("fetches")) == (0, 0)


def message(path: bytes, id: int, body: bytes, user: bytes = b"rest", app: bytes = b"api") -> bytes:
    """Return a message as a client gets it."""
    return b"%b,%d,%b,%b,,%d\n\n%b" % (path, id, user, app, TIME, body)
