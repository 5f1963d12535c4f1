"""A TCP proxy that cuts connections."""

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

_CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class _Pair:
    """Two sockets that are to be one, with a thread for each direction."""

    def __init__(self, proxy: "Proxy", client: socket.socket, server: socket.socket, budget: float) -> None:
        self._proxy = proxy
        self._sides = (client, server)
        self._budget = budget
        self._lock = threading.Lock()
        self._running = 2
        for side in self._sides:
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def cut(self) -> None:
        """End both directions, wherever they are."""
        with self._lock:
            for side in self._sides:
                if self._running:
                    with contextlib.suppress(OSError):
                        side.shutdown(socket.SHUT_RDWR)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(_CHUNK)) and self._send(data, target):
                pass
        self.cut()
        with self._lock:
            self._running -= 1
            if not self._running:
                self._close()

    def _send(self, data: bytes, target: socket.socket) -> bool:
        """Pass on what the budget allows; say whether there may be more."""
        with self._lock:
            part = data if len(data) <= self._budget else data[: int(self._budget)]
            spent = self._budget > 0 >= self._budget - len(data)
            self._budget -= len(data)
        target.sendall(part)
        if spent:
            self._proxy.count_cut()
        return self._budget > 0

    def _close(self) -> None:
        reset = random.random() < 0.5
        for side in self._sides:
            if reset:
                with contextlib.suppress(OSError):
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            side.close()
        self._proxy.forget(self)


class Proxy:
    """Listens on a port of its own; a context manager.

    `budget` is asked, for each connection, after how many bytes to cut it. While it is not `open`, whoever
    connects is hung up on.
    """

    def __init__(self, port: int, budget: Callable[[], float] = lambda: float("inf")) -> None:
        self.cuts = 0
        """How many connections have been cut because of their budget."""
        self.accepted = 0
        self.open = True
        self._target = port
        self._budget = budget
        self._pairs: set[_Pair] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 5).close()
        self._thread.join(10)
        self._listener.close()
        self.cut()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> int:
        """Cut all connections; return how many there were."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.cut()
        return len(pairs)

    def count_cut(self) -> None:
        with self._lock:
            self.cuts += 1

    def forget(self, pair: _Pair) -> None:
        with self._lock:
            self._pairs.discard(pair)

    def _run(self) -> None:
        while not self._stopping:
            client, _ = self._listener.accept()
            try:
                if not self.open or self._stopping:
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self._target), 5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            with self._lock:
                self.accepted += 1
                self._pairs.add(_Pair(self, client, server, self._budget()))
