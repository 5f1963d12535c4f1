"""A server that does what a test says: for what a real one does seldom, or should never do."""

import base64
import contextlib
import hashlib
import queue
import socket
import ssl
import threading
from typing import Self

from gobbler.protocol import notification
from gobbler.websocket.frames import BINARY, CLOSE, PING, PONG, Parser, close_payload, encode, parse_close

SECONDS = 20.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Hung(Exception):
    """The client has closed the connection, or it broke."""


class Peer:
    """The server's side of one connection."""

    def __init__(self, sock: socket.socket, head: bytes = b"") -> None:
        self.socket = sock
        self.head = head
        """The request of the handshake."""
        self.pings = 0
        self.close_code: int | None = None
        self._parser = Parser(1 << 30)
        self._ready: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def say(self, *payloads: bytes) -> None:
        """Send messages, in one burst."""
        self.socket.sendall(b"".join(map(encode, payloads)))

    def greet(self) -> None:
        self.say(notification.connected(b"app", b"", 1))

    def close(self, code: int, reason: str = "") -> None:
        self.socket.sendall(encode(close_payload(code, reason), CLOSE))

    def next(self) -> bytes:
        """Return the next command. Raises: Hung."""
        while not self._ready:
            self._read()
        return self._ready.pop(0)

    def hear(self, expected: bytes) -> None:
        command = self.next()
        assert command == expected, f"expected {expected!r}, got {command!r}"

    def _read(self) -> None:
        try:
            data = self.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise Hung
        for opcode, payload in self._parser.feed(data):
            if opcode == PING:
                self.pings += 1
                self.socket.sendall(encode(payload, PONG))
            elif opcode == CLOSE:
                self.close_code = parse_close(payload)[0]
                with contextlib.suppress(OSError):
                    self.socket.sendall(encode(payload, CLOSE))
            elif opcode <= BINARY:
                self._ready.append(payload)
        assert self._parser.error is None, self._parser.error


class Scripted:
    """Listens on a port of its own; `accept` returns one connection after the other."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(SECONDS)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._context = context
        self._peers: list[Peer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()
        for peer in self._peers:
            peer.socket.close()

    def connection(self) -> socket.socket:
        """Return the next connection, and say nothing."""
        sock, _ = self._listener.accept()
        sock.settimeout(SECONDS)
        return self._context.wrap_socket(sock, server_side=True) if self._context else sock

    def accept(self, more: bytes = b"") -> Peer:
        """Answer the next handshake; `more` stands behind the answer."""
        sock = self.connection()
        head = b""
        while b"\r\n\r\n" not in head:
            data = sock.recv(4096)
            if not data:
                raise Hung
            head += data
        key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + more
        )
        peer = Peer(sock, head)
        self._peers.append(peer)
        return peer

    def greeted(self) -> Peer:
        """Answer the next handshake, and greet."""
        peer = self.accept()
        peer.greet()
        return peer


class Background(threading.Thread):
    """Runs a function beside the test; `result` returns what it returned, or raises what it raised."""

    def __init__(self, function: object, *args: object) -> None:
        super().__init__(daemon=True)
        self._call = function, args
        self._outcome: queue.SimpleQueue[tuple[object, BaseException | None]] = queue.SimpleQueue()
        self.start()

    def run(self) -> None:
        function, args = self._call
        try:
            self._outcome.put((function(*args), None))  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._outcome.put((None, error))

    def result(self) -> object:
        result, error = self._outcome.get(timeout=SECONDS)
        if error is not None:
            raise error
        return result
