"""A TCP proxy that cuts its connections, in the middle of whatever they carry."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Self

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class Proxy:
    """Connects whoever connects to `port` with the port `target`; a context manager.

    `budget` is asked for each connection how many bytes from the server it carries before it is cut:
    half of the time politely, else with a reset.
    """

    def __init__(self, target: int, budget: Callable[[], float] = lambda: float("inf")) -> None:
        self.target = target
        self.cuts = 0
        self.sent = 0
        """How many bytes of clients have been handed to the server."""
        self._budget = budget
        self._random = Random(target)
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for _ in range(2):  # the second time, nobody accepts any more
            self.cut()
            for thread in list(self._threads):
                thread.join(10)

    def cut(self) -> None:
        """End all connections."""
        for side in list(self._open):
            _shut(side)

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 10)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open |= {client, server}
        self._start(self._carry, client, server, self._upward)
        self._start(self._carry, server, client, self._downward, self._budget())

    def _carry(
        self, source: socket.socket, target: socket.socket, carry: Callable[..., None], *how: float
    ) -> None:
        with suppress(OSError):
            carry(source, target, *how)
        for side in (source, target):
            _shut(side)
        # Each is closed by the thread that reads from it.
        self._open.discard(source)
        source.close()

    def _upward(self, client: socket.socket, server: socket.socket) -> None:
        while data := client.recv(65536):
            server.sendall(data)
            self.sent += len(data)

    def _downward(self, server: socket.socket, client: socket.socket, budget: float) -> None:
        while data := server.recv(65536):
            client.sendall(data if len(data) <= budget else data[: int(budget)])
            budget -= len(data)
            if budget < 0:
                self.cuts += 1
                if self._random.random() < 0.5:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                return


def _shut(side: socket.socket) -> None:
    """End a connection, and wake whoever reads from it."""
    with suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)
