"""A gateway behind a real listener on loopback, in this process, and the handshakes of clients."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import gevent
from gevent.socket import create_connection

from gobbler.app import App
from gobbler.kinds import Address
from gobbler.listener import Listener
from gobbler.websocket.gateway import Gateway
from tests.websocket.rig import DEADLINE, Client, World, memory_store

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""Key and answer are the examples of RFC 6455, section 1.3."""

HEADERS = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def request(
    target: str = "/stream/",
    method: str = "GET",
    protocol: str = "HTTP/1.1",
    **headers: str | None,
) -> bytes:
    """Return a handshake; `Sec_WebSocket_Key="x"` changes a header, None leaves it out."""
    changed = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}\r\n" for name, value in changed.items() if value is not None]
    return f"{method} {target} {protocol}\r\n{''.join(lines)}\r\n".encode()


@dataclass
class Answer:
    """The answer to a handshake; `rest` is what has come behind its head."""

    status: int
    headers: dict[str, str]
    rest: bytes


class Served:
    """A world with a door."""

    def __init__(self, world: World, ws: bool, ping_interval: float) -> None:
        self.world = world
        self.gateway = Gateway(world.services, "/stream/", ping_interval)
        self.gateway.start()
        app = App([], world.metrics, self.gateway if ws else None, "/stream/")
        self.listener = Listener(app, Address("127.0.0.1", 0))
        self.listener.start()

    def dial(self) -> socket.socket:
        return create_connection(("127.0.0.1", self.listener.port), timeout=DEADLINE)

    def ask(self, data: bytes) -> tuple[Answer, socket.socket]:
        """Send a request, and return the answer, read up to the end of its body."""
        sock = self.dial()
        sock.sendall(data)
        received = b""
        while b"\r\n\r\n" not in received:
            received += (data := sock.recv(65536))
            assert data, received
        head, rest = received.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        while len(rest) < int(headers.get("Content-Length", 0)):
            rest += sock.recv(65536)
        return Answer(int(first.split()[1]), headers, rest), sock

    def connect(self, target: str = "/stream/", early: bytes = b"") -> Client:
        """Begin a WebSocket; `early` is sent together with the handshake."""
        answer, sock = self.ask(request(target) + early)
        assert answer.status == 101
        client = Client(sock)
        self.world.clients.append(client)
        client.take(answer.rest)
        return client


@contextmanager
def served(ws: bool = True, ping_interval: float = 30) -> Iterator[Served]:
    """Serve, and see at the end that nothing is left."""
    world = World(memory_store())
    made = Served(world, ws, ping_interval)
    try:
        yield made
    finally:
        with gevent.Timeout(DEADLINE):
            made.listener.stop(0)
            made.gateway.stop(0)
            world.stop()
