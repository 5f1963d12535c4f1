"""A TCP proxy that cuts connections."""

import contextlib
import random
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

_CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class _Pair:
    """Two sockets that are to be one; `budget` is how many bytes it carries before it is cut."""

    def __init__(self, client: socket.socket, server: socket.socket, budget: float) -> None:
        self.sides = {client: server, server: client}
        self.budget = budget

    def cut(self, reset: bool) -> None:
        for side in self.sides:
            if reset:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            side.close()


class Proxy:
    """Listens on a port of its own; a context manager.

    `budget` is asked, for each connection, after how many bytes to cut it; `connect` may say no, then the
    client is hung up on.
    """

    def __init__(self, port: int, budget: Callable[[], float] = lambda: float("inf")) -> None:
        self.target = port
        self.cuts = 0
        self.connections = 0
        self.open = True
        """Whether it connects anybody."""
        self._budget = budget
        self._pairs: set[_Pair] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 5).close()
        self._thread.join(10)
        self.cut()
        self._selector.close()
        self._listener.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> int:
        """Cut all connections; return how many there were."""
        with self._lock:
            pairs = list(self._pairs)
            for pair in pairs:
                self._drop(pair)
        return len(pairs)

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select():
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.data in self._pairs:
                        self._forward(key.data, key.fileobj)  # type: ignore[arg-type]

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if not self.open or self._stopping:
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            client.close()
            return
        self.connections += 1
        pair = _Pair(client, server, self._budget())
        self._pairs.add(pair)
        for side in pair.sides:
            side.settimeout(20)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(side, selectors.EVENT_READ, pair)

    def _forward(self, pair: _Pair, source: socket.socket) -> None:
        try:
            data = source.recv(_CHUNK)
            part = data if len(data) <= pair.budget else data[: int(pair.budget)]
            pair.sides[source].sendall(part)
        except OSError:
            data = b""
        pair.budget -= len(data)
        if not data or pair.budget <= 0:
            if data:
                self.cuts += 1
            self._drop(pair, reset=bool(data) and random.random() < 0.5)

    def _drop(self, pair: _Pair, reset: bool = False) -> None:
        self._pairs.discard(pair)
        for side in pair.sides:
            self._selector.unregister(side)
        pair.cut(reset)
