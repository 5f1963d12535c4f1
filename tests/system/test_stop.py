"""The graceful stop: SIGTERM under load, and the second signal."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.client import Client, Closed, sends
from tests.system.server import GOBBLER, GUNICORN, WORKER, ServerProcess
from tests.system.test_crash import stored

COMMANDS = {
    "own server": GOBBLER,
    "gunicorn": (*GUNICORN, *WORKER),
    "gunicorn with its file": (*GUNICORN, "-c", "conf/gunicorn.conf.py", "gobbler.wsgi:app"),
}


@contextmanager
def stuck(port: int) -> Iterator[None]:
    """Have a request under way whose body never comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(
            b"POST /api/message/rest HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(65536).startswith(b"HTTP/1.1 100 "), "the body is asked for: it is under way"
        client.sendall(b"he")
        yield


@pytest.fixture(params=list(COMMANDS))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> ServerProcess:
    return ServerProcess(tmp_path / "data", command=COMMANDS[request.param])


class Load(threading.Thread):
    """Publishes until the server says goodbye, which must be with 1001."""

    def __init__(self, port: int, name: bytes) -> None:
        super().__init__()
        self.acknowledged: dict[bytes, int] = {}
        self.code = 0
        self.under_way = threading.Event()
        self._client = Client(port)
        self._name = name

    def run(self) -> None:
        number = 0
        with self._client as client:
            try:
                while True:
                    names = [b"%b-%d" % (self._name, number + step) for step in range(100)]
                    number += len(names)
                    client.socket.sendall(sends(b"/load", names, names))
                    for _ in names:
                        self.acknowledged.update(client.answers(1))
                    self.under_way.set()
            except Closed as closed:
                self.code = closed.args[0]
            except OSError:  # it ended while we were sending: the close frame is behind the answers
                try:
                    while True:
                        self.acknowledged.update(client.answers(1))
                except Closed as closed:
                    self.code = closed.args[0]


def test_what_was_answered_is_stored_and_everyone_is_told(server: ServerProcess) -> None:
    with server:
        idle = Client(server.port)
        idle.subscribe(b"/other")
        kept_alive = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        kept_alive.sendall(b"HEAD /api/ HTTP/1.1\r\nHost: h\r\n\r\n")
        assert kept_alive.recv(65536).startswith(b"HTTP/1.1 200 ")
        # A request in flight: its head is read, its body is on the way.
        in_flight = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        in_flight.sendall(b"POST /api/message/rest HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe")
        loads = [Load(server.port, b"%d" % number) for number in range(3)]
        for load in loads:
            load.start()
            assert load.under_way.wait(20)
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        assert kept_alive.recv(1) == b"", "whoever waits between two requests does not delay the end"
        in_flight.sendall(b"llo")
        reply = in_flight.recv(65536)
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in reply
        with pytest.raises(Closed) as closed:
            idle.next()
        assert closed.value.args[0] == 1001
        for load in loads:
            load.join(20)
            assert load.code == 1001
        for each in (idle.socket, kept_alive, in_flight):
            each.close()
        assert server.wait() == 0
        assert time.monotonic() - begun < 5
        assert "Traceback" not in server.text
        assert "rror" not in server.text, server.text
    with server:
        messages = stored(server.port, b"/load")
        assert [message.id for message in messages] == list(range(1, len(messages) + 1))
        found = {message.message_id: message.id for message in messages}
        assert len(found) == len(messages)
        for load in loads:
            assert load.acknowledged
            assert load.acknowledged.items() <= found.items()
        assert [message.body for message in stored(server.port, b"/rest")] == [b"hello"]


@pytest.mark.parametrize(
    "server", ["own server", pytest.param("gunicorn with its file", marks=pytest.mark.long)], indirect=True
)
def test_a_client_that_reads_nothing_and_a_body_that_never_comes_delay_the_stop_only_for_a_while(
    server: ServerProcess,
) -> None:
    with server, Client(server.port, receive_bytes=4096) as deaf, Client(server.port) as listening:
        deaf.subscribe(b"/big")
        listening.subscribe(b"/other")
        with Client(server.port) as publisher:
            publisher.publish(b"/big", [b"x" * 100_000] * 100, window=10)
        with stuck(server.port):
            begun = time.monotonic()
            server.signal(signal.SIGTERM)
            with pytest.raises(Closed) as closed:
                listening.next()
            assert closed.value.args[0] == 1001
            listening.socket.close()
            assert server.wait() == 0
            assert time.monotonic() - begun < 10, "docker kills after 10 s"
    with server:
        assert len(stored(server.port, b"/big")) == 100


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "data") as server,
        stuck(server.port),  # keeps the first stop waiting
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as idle,
    ):
        idle.sendall(b"HEAD /api/ HTTP/1.1\r\nHost: h\r\n\r\n")
        idle.recv(65536)
        server.signal(signal.SIGTERM)
        assert idle.recv(1) == b""
        begun = time.monotonic()
        server.signal(signal.SIGINT)
        assert server.wait() == 128 + signal.SIGINT
        assert time.monotonic() - begun < 3, "the first stop would take longer"
