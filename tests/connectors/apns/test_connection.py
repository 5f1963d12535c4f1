"""The greenlets of a connection: who is woken when, over a pair of sockets; TLS is in test_dial.py."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from unittest.mock import ANY

import gevent
import pytest
from gevent import socket
from gevent.event import Event
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, PingAckReceived, PingReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes, Settings

from gobbler.connectors.apns.answers import Answer
from gobbler.connectors.apns.connection import Connection, Timing
from gobbler.connectors.apns.streams import Result, Streams
from gobbler.connectors.outcome import Outage
from tests.connectors.apns.peer import HEADERS

SECONDS = 20.0
FAR = 1e9


Asked: TypeAlias = "gevent.Greenlet[..., Result]"


class Clock:
    """Stands still, and knows how often somebody has looked at it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._looks = 0
        self._looked = Event()

    def __call__(self) -> float:
        self._looks += 1
        self._looked.set()
        return self.now

    def wait_for_looks(self, number: int) -> None:
        wanted = self._looks + number
        with gevent.Timeout(SECONDS):
            while self._looks < wanted:
                self._looked.clear()
                self._looked.wait()


class Server:
    """The other end: reads all the time, and answers when the test says so."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.h2 = H2Connection(H2Configuration(client_side=False))
        self.seen: list[Any] = []
        self.reads = 0
        self._changed = Event()
        self._reader = gevent.spawn(self._read)

    def settle(self, max_streams: int = 1000) -> None:
        self.h2.local_settings = Settings(
            client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: max_streams}
        )
        self.h2.initiate_connection()
        self.flush()

    def round_trip(self) -> None:
        """Return when the client has read all that was sent to it."""
        number = len([event for event in self.seen if isinstance(event, PingAckReceived)])
        self.h2.ping(b"are you?")
        self.flush()
        self.wait_for(PingAckReceived, number + 1)

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def _read(self) -> None:
        while data := self.sock.recv(1 << 20):
            self.reads += 1
            self.seen += self.h2.receive_data(data)
            if self.h2._data_to_send:
                self.flush()
            self._changed.set()

    def wait_for(self, kind: type[Any], number: int = 1) -> list[Any]:
        """Wait until so many events of a kind were seen; return them."""
        with gevent.Timeout(SECONDS):
            while len(found := [event for event in self.seen if isinstance(event, kind)]) < number:
                self._changed.clear()
                self._changed.wait()
        return found

    def answer(self, stream_id: int, status: int = 200) -> None:
        self.h2.send_headers(stream_id, [(":status", str(status))], end_stream=True)
        self.flush()

    def close(self) -> None:
        self._reader.kill()
        self.sock.close()


Made = tuple[Connection, Server, Clock]


@pytest.fixture
def make() -> Iterator[Callable[..., Made]]:
    made: list[Made] = []

    def new(*, settled: bool = True, max_streams: int = 1000, tick: float = 0.01, sock: Any = None) -> Made:
        here, there = socket.socketpair()
        clock = Clock()
        timing = Timing(idle=15, pong=10, tick=tick)
        connection = Connection(sock(here) if sock else here, Streams(cautious=False), timing, clock)
        server = Server(there)
        made.append((connection, server, clock))
        connection.start()
        if settled:
            server.settle(max_streams)
            assert connection.wait_until_settled() is None
            server.round_trip()
        return made[-1]

    yield new
    for connection, server, _ in made:
        connection.end(Outage("stopped"))
        server.close()


def ask(connection: Connection, number: int = 1, payload: bytes = b"{}") -> "list[Asked]":
    """Have greenlets request something; return when all wait."""
    greenlets = [gevent.spawn(connection.request, HEADERS, payload, FAR) for _ in range(number)]
    gevent.sleep(0)
    return greenlets


def test_many_greenlets_share_it_and_are_sent_at_once(make: Callable[..., Made]) -> None:
    connection, server, _ = make()
    before = server.reads
    greenlets = ask(connection, 100)
    server.wait_for(StreamEnded, 100)
    assert server.reads - before <= 2
    for event in server.wait_for(StreamEnded, 100):
        server.h2.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
    server.flush()
    assert [greenlet.get(timeout=SECONDS) for greenlet in greenlets] == [Answer(200)] * 100


def test_what_waits_is_sent_as_soon_as_it_may_be(make: Callable[..., Made]) -> None:
    connection, server, _ = make(max_streams=1, tick=1000)
    first, second = ask(connection, 2)
    server.wait_for(StreamEnded)
    server.answer(1)
    server.wait_for(StreamEnded, 2)
    server.answer(3)
    assert [each.get(timeout=SECONDS) for each in (first, second)] == [Answer(200)] * 2


def test_it_is_not_settled_before_the_settings(make: Callable[..., Made]) -> None:
    connection, server, _ = make(settled=False)
    waiter = gevent.spawn(connection.wait_until_settled)
    server.wait_for(object)
    assert not waiter.ready()
    server.settle()
    assert waiter.get(timeout=SECONDS) is None


def test_a_peer_that_closes_leaves_everyone_with_an_outage(make: Callable[..., Made]) -> None:
    connection, server, _ = make()
    greenlets = ask(connection, 3)
    server.wait_for(StreamEnded, 3)
    server.close()
    lost = Outage("connection-lost", "APNs closed the connection")
    assert [greenlet.get(timeout=SECONDS) for greenlet in greenlets] == [lost] * 3
    assert connection.join(SECONDS)
    assert not connection.accepting
    assert connection.request(HEADERS, b"{}", FAR) is None
    assert connection.wait_until_settled() == lost
    assert repr(connection).startswith("<Connection ended <Streams ending open=0")


def test_what_was_never_written_is_handed_back(make: Callable[..., Made]) -> None:
    connection, server, _ = make(max_streams=1)
    first, second = ask(connection, 2)
    server.wait_for(StreamEnded)
    server.close()
    assert isinstance(first.get(timeout=SECONDS), Outage)
    assert second.get(timeout=SECONDS) is None


def test_bytes_that_are_no_http2_end_it(make: Callable[..., Made]) -> None:
    connection, server, _ = make()
    (greenlet,) = ask(connection)
    server.sock.sendall(b"\0\0\x05\x01\x04\0\0\0\x01HELLO")
    assert greenlet.get(timeout=SECONDS) == Outage("connection-lost", ANY)


def test_silence_is_met_with_a_ping(make: Callable[..., Made]) -> None:
    connection, server, clock = make()
    clock.now += 15.5
    server.wait_for(PingReceived)
    server.round_trip()  # its answer, and this, are signs of life
    clock.now += 14
    clock.wait_for_looks(5)
    server.round_trip()
    assert len(server.wait_for(PingReceived)) == 1
    clock.now += 15.5
    server.wait_for(PingReceived, 2)
    assert connection.accepting


def test_a_peer_that_does_not_answer_a_ping_is_dead(make: Callable[..., Made]) -> None:
    connection, server, clock = make()
    server._reader.kill()
    (greenlet,) = ask(connection)
    clock.now += 25.5
    assert greenlet.get(timeout=SECONDS) == Outage("connection-lost", "APNs did not answer a ping")
    assert connection.ended


def test_a_peer_that_does_not_read_is_dead_too(make: Callable[..., Made]) -> None:
    """The writer is stuck then."""
    connection, server, clock = make()
    server.h2.increment_flow_control_window(2**30)
    server.flush()
    server._reader.kill()
    greenlets = ask(connection, 100, bytes(60_000))
    clock.wait_for_looks(5)
    clock.now += 60
    for greenlet in greenlets:
        assert greenlet.get(timeout=SECONDS) == Outage("connection-lost", "APNs did not answer a ping")


def test_an_answer_that_does_not_come_is_not_awaited_for_ever(make: Callable[..., Made]) -> None:
    connection, server, clock = make()
    impatient = gevent.spawn(connection.request, HEADERS, b"{}", clock.now + 10)
    (patient,) = ask(connection)
    server.wait_for(StreamEnded, 2)
    clock.now += 10
    assert impatient.get(timeout=SECONDS) == Outage("timeout", "APNs did not answer in time")
    server.wait_for(StreamReset)
    server.answer(3)
    assert patient.get(timeout=SECONDS) == Answer(200)


def test_a_greenlet_that_is_ended_frees_its_stream(make: Callable[..., Made]) -> None:
    connection, server, _ = make()
    killed, other = ask(connection), ask(connection)
    server.wait_for(StreamEnded, 2)
    killed[0].kill()
    server.wait_for(StreamReset)
    server.answer(3)
    assert other[0].get(timeout=SECONDS) == Answer(200)


def test_finishing_awaits_the_answers_and_says_goodbye(make: Callable[..., Made]) -> None:
    connection, server, _ = make()
    (greenlet,) = ask(connection)
    server.wait_for(StreamEnded)
    connection.finish()
    assert not connection.accepting
    assert connection.request(HEADERS, b"{}", FAR) is None
    assert not connection.join(0.02)
    server.answer(1)
    assert greenlet.get(timeout=SECONDS) == Answer(200)
    assert connection.join(SECONDS)
    server.wait_for(ConnectionTerminated)


def test_after_a_goaway_it_ends_when_all_is_answered(make: Callable[..., Made]) -> None:
    connection, server, _ = make()
    first, second = ask(connection, 2)
    server.wait_for(StreamEnded, 2)
    server.h2.send_headers(1, [(":status", "200")])
    head = server.h2.data_to_send()
    server.h2.end_stream(1)
    end = server.h2.data_to_send()
    server.h2.close_connection(last_stream_id=1)
    server.sock.sendall(head + server.h2.data_to_send())
    assert second.get(timeout=SECONDS) is None
    assert not connection.join(0)
    server.sock.sendall(end)
    assert first.get(timeout=SECONDS) == Answer(200)
    assert connection.join(SECONDS)


class Breaking:
    """A socket whose reading ends with an error that nobody has thought of."""

    def __init__(self, sock: Any) -> None:
        self.sendall, self.close = sock.sendall, sock.close

    def recv(self, size: int) -> bytes:
        raise ZeroDivisionError


def test_an_error_of_ours_is_logged_and_answered(
    make: Callable[..., Made], caplog: pytest.LogCaptureFixture
) -> None:
    connection, _, _ = make(settled=False, sock=Breaking)
    told = connection.wait_until_settled()
    assert told == Outage("connection-lost", "an error of the server's own; see its log")
    assert "ZeroDivisionError" in caplog.text


class Closed:
    """A socket that complains when it is closed while somebody reads, as gevent's of TLS may."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.sendall, self.close = sock.sendall, sock.close

    def recv(self, size: int) -> bytes:
        try:
            data: bytes = self._sock.recv(size)
        except gevent.GreenletExit:
            raise ValueError("Read on closed or unwrapped SSL socket.") from None
        return data


def test_a_socket_that_is_closed_meanwhile_is_no_error(
    make: Callable[..., Made], caplog: pytest.LogCaptureFixture
) -> None:
    connection, _, _ = make(sock=Closed)
    connection.end(Outage("stopped"))
    gevent.joinall(connection._greenlets, timeout=SECONDS)
    assert all(greenlet.ready() for greenlet in connection._greenlets)
    assert caplog.text == ""
