"""A WebSocket client that is as strict as a test wants it, on a blocking socket."""

import base64
import os
import re
import socket
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from gobbler.websocket.frames import BINARY, CLOSE, PING, PONG, Parser, encode_masked, parse_close

SECONDS = 30.0


class Received(NamedTuple):
    """What tests look at in a message."""

    path: bytes
    id: int
    message_id: bytes
    body: bytes


def decode(payload: bytes) -> Received:
    """Decode a message without the help of the server's code."""
    head, _, body = payload.split(b"\n", 2)
    path, id, _, _, message_id, _ = head.split(b",")
    return Received(path, int(id), message_id, body)


def frame(payload: bytes, opcode: int = BINARY) -> bytes:
    """Return a client's frame."""
    return encode_masked(payload, os.urandom(4), opcode)


def sends(path: bytes, bodies: Iterable[bytes], names: Iterable[bytes] | None = None) -> bytes:
    """Return the frames of many sends."""
    if names is None:
        return b"".join(frame(b"> %b\n\n%b" % (path, body)) for body in bodies)
    pairs = zip(names, bodies, strict=True)
    return b"".join(frame(b"> %b %b\n\n%b" % (path, name, body)) for name, body in pairs)


class Closed(Exception):
    """The server closed: the code, and the reason."""


class Refused(Exception):
    """The server did not upgrade: the status, and the body."""


class Client:
    """One connection; a context manager."""

    def __init__(self, port: int, path: str = "/stream/", *, receive_bytes: int = 0) -> None:
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(("127.0.0.1", port))
        self._parser = Parser(1 << 30, masked=False)
        self._ready: list[tuple[int, bytes]] = []
        self._handshake(path)

    def _handshake(self, path: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.socket.recv(65536)
            assert data, head
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            length = re.search(rb"Content-Length: (\d+)", head)
            while len(rest) < int(length[1] if length else 0):
                rest += self.socket.recv(65536)
            self.socket.close()
            raise Refused(int(head.split()[1]), rest.decode())
        self._feed(rest)
        assert self.next().startswith(b"#connected You are connected to the server.\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    def send(self, *commands: bytes) -> None:
        """Send commands, each in a frame of its own."""
        self.socket.sendall(b"".join(map(frame, commands)))

    def next(self) -> bytes:
        """Return the next payload. Raises: Closed."""
        while not self._ready:
            data = self.socket.recv(1 << 18)
            if not data:
                raise Closed(1006, "")
            self._feed(data)
        opcode, payload = self._ready.pop(0)
        if opcode == CLOSE:
            raise Closed(*parse_close(payload))
        return payload

    def _feed(self, data: bytes) -> None:
        for opcode, payload in self._parser.feed(data):
            if opcode == PING:
                self.socket.sendall(frame(payload, PONG))
            elif opcode != PONG:
                self._ready.append((opcode, payload))
        assert self._parser.error is None, self._parser.error

    def ask(self, command: bytes) -> bytes:
        """Send a command and return what comes next."""
        self.send(command)
        return self.next()

    def subscribe(self, path: bytes) -> None:
        """Subscribe to what comes."""
        assert self.ask(b"+ " + path) == b"#subscribed-to " + path

    def messages(self) -> Iterator[Received]:
        """Yield messages; of notifications only those of fetches and subscriptions may stand between them."""
        while True:
            payload = self.next()
            if payload.startswith(b"/"):
                yield decode(payload)
            else:
                assert re.match(rb"#(fetch-start|fetch-done|subscribed-to) ", payload), payload

    def take(self, first: int, last: int) -> list[Received]:
        """Return the messages first..last, and fail unless each comes once and in order."""
        taken = []
        for expected, message in zip(range(first, last + 1), self.messages(), strict=False):
            assert message.id == expected
            taken.append(message)
        return taken

    def answers(self, count: int) -> list[tuple[bytes, int]]:
        """Return (publisher's id, id) of so many sends; fail where one was not stored."""
        found: list[tuple[bytes, int]] = []
        while len(found) < count:
            payload = self.next()
            answer = re.fullmatch(rb'#send (\S*)\n\{"sequenceId": "(\d+)", .*\}', payload)
            assert answer, payload
            found.append((answer[1], int(answer[2])))
        return found

    def publish(self, path: bytes, bodies: Iterable[bytes], window: int = 1000) -> list[int]:
        """Publish, at most `window` unanswered; return the ids."""
        bodies, ids = list(bodies), []
        for start in range(0, len(bodies), window):
            part = bodies[start : start + window]
            self.socket.sendall(sends(path, part))
            ids += [id for _, id in self.answers(len(part))]
        return ids
