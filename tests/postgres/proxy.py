"""A connection between a client and a server that can be cut, or held, at a chosen moment."""

from contextlib import suppress
from typing import Self

import gevent
from gevent import socket
from gevent.event import Event
from gevent.server import StreamServer


class Proxy:
    """Hands on what it is sent to a port of 127.0.0.1 and what comes back; a context manager."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._sockets: list[socket.socket] = []
        self._passable = Event()
        self._passable.set()
        self._losses = 0

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.cut()
        self._passable.set()
        self._server.stop()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port = self._server.server_port
        assert port is not None
        return port

    def cut(self) -> None:
        """Close all connections."""
        for end in self._sockets:
            _hang_up(end)

    def lose_answers(self, count: int) -> None:
        """Let the next `count` answers go astray, each with its connection, after the server has sent it."""
        self._losses = count

    def hold(self) -> None:
        """Hand nothing on any more; keep all connections."""
        self._passable.clear()

    def _serve(self, client: socket.socket, peer: object) -> None:
        server = socket.create_connection(("127.0.0.1", self._target))
        self._sockets += [client, server]
        answers = gevent.spawn(self._hand_on, server, client, True)
        self._hand_on(client, server, False)
        answers.join()
        server.close()

    def _hand_on(self, source: socket.socket, target: socket.socket, are_answers: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                self._passable.wait()
                if are_answers and self._losses:
                    self._losses -= 1
                    break
                target.sendall(data)
        except OSError:
            pass  # The other end is gone, or this one was cut.
        finally:
            _hang_up(source)
            _hang_up(target)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        end.shutdown(socket.SHUT_RDWR)
