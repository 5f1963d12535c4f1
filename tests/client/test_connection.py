"""One connection, over a pair of sockets: frames both ways, pings, ends."""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.client import ConnectionLost
from gobbler.client.connection import Connection
from gobbler.client.waiting import Waker
from gobbler.websocket.frames import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Event,
    Parser,
    close_payload,
    encode,
    header,
)
from tests.client.scripted import Background
from tests.providers.certificates import Authority

SECONDS = 20.0


class End:
    """The server's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.socket.settimeout(SECONDS)
        self._parser = Parser(1 << 30)

    def say(self, payload: bytes, opcode: int = BINARY) -> None:
        self.socket.sendall(encode(payload, opcode))

    def hear(self, count: int = 1) -> list[Event]:
        """Return the next frames."""
        events: list[Event] = []
        while len(events) < count:
            data = self.socket.recv(1 << 20)
            assert data, "the client has gone"
            events += self._parser.feed(data)
            assert self._parser.error is None
        return events


@pytest.fixture
def waker() -> Iterator[Waker]:
    made = Waker()
    yield made
    made.close()


@pytest.fixture
def pair(waker: Waker) -> Iterator[tuple[Connection, End]]:
    ours, theirs = socket.socketpair()
    connection = Connection(ours, b"", waker)
    yield connection, End(theirs)
    connection.drop()
    theirs.close()


def receive(connection: Connection, count: int) -> list[bytes]:
    """Poll until so many messages have come."""
    found: list[bytes] = []
    while len(found) < count:
        new = connection.poll(SECONDS)
        assert new, "nothing came"
        found += new
    return found


def test_a_burst_is_read_at_once(pair: tuple[Connection, End]) -> None:
    connection, end = pair
    end.socket.sendall(b"".join(encode(b"%d" % number) for number in range(1000)) + encode(b"text", TEXT))
    assert receive(connection, 1001) == [*(b"%d" % number for number in range(1000)), b"text"]


def test_what_came_with_the_handshake_is_not_lost(waker: Waker) -> None:
    ours, theirs = socket.socketpair()
    connection = Connection(ours, encode(b"one") + encode(b"two")[:2], waker)
    assert connection.poll(0) == [b"one"]
    theirs.sendall(encode(b"two")[2:])
    assert connection.poll(SECONDS) == [b"two"]
    connection.drop()
    theirs.close()


def test_fragments_are_put_together(pair: tuple[Connection, End]) -> None:
    connection, end = pair
    end.socket.sendall(b"\x02\x01a" + encode(b"", PING) + b"\x00\x01b" + b"\x80\x01c")
    assert receive(connection, 1) == [b"abc"]


def test_messages_are_sent_masked_and_in_order(pair: tuple[Connection, End]) -> None:
    connection, end = pair
    payloads = [b"x" * size for size in (0, 1, 125, 126, 65_535, 65_536, 1_000_000)]
    connection.send(payloads)
    heard = Background(end.hear, len(payloads))
    while connection.unsent:
        connection.poll(SECONDS, more=True)
    assert heard.result() == [(BINARY, payload) for payload in payloads]
    connection.send([])
    assert connection.unsent == 0


def test_each_frame_has_a_mask_of_its_own(pair: tuple[Connection, End]) -> None:
    connection, end = pair
    connection.send([b""] * 100)
    connection.poll(0)
    raw = end.socket.recv(600)
    masks = {raw[start + 2 : start + 6] for start in range(0, 600, 6)}
    assert len(raw) == 600
    assert len(masks) > 90


def test_whoever_does_not_read_is_waited_for(pair: tuple[Connection, End]) -> None:
    connection, end = pair
    connection.send([b"x" * 10_000_000])
    connection.poll(0)
    before = connection.unsent
    assert 0 < before < 10_000_010
    reading = Background(end.hear)
    while connection.unsent:
        connection.poll(SECONDS, more=True)
    assert reading.result() == [(BINARY, b"x" * 10_000_000)]


def test_while_it_does_not_read_messages_stay_where_they_are(pair: tuple[Connection, End]) -> None:
    connection, end = pair
    end.say(b"one")
    assert connection.poll(0.05, reading=False) == []
    connection.send([b"out"])
    assert connection.poll(0, reading=False) == []
    assert end.hear() == [(BINARY, b"out")]
    assert connection.poll(SECONDS) == [b"one"]


def test_it_can_be_woken(pair: tuple[Connection, End], waker: Waker) -> None:
    connection, _ = pair
    waiting = Background(connection.poll, SECONDS)
    waker.set()
    assert waiting.result() == []
    assert connection.poll(0) == []


class TestControl:
    def test_pings_are_answered(self, pair: tuple[Connection, End]) -> None:
        connection, end = pair
        end.socket.sendall(encode(b"1", PING) + encode(b"message") + encode(b"2", PING))
        assert receive(connection, 1) == [b"message"]
        connection.poll(0)
        assert end.hear(2) == [(PONG, b"1"), (PONG, b"2")]

    def test_it_pings_and_hears(self, pair: tuple[Connection, End]) -> None:
        connection, end = pair
        before = connection.heard
        connection.ping()
        connection.poll(0)
        assert end.hear() == [(PING, b"")]
        end.say(b"", PONG)
        assert connection.poll(SECONDS) == []
        assert connection.heard > before


class TestEnd:
    def test_what_came_before_a_close_frame_is_returned_and_the_frame_is_answered(
        self, pair: tuple[Connection, End]
    ) -> None:
        connection, end = pair
        end.socket.sendall(encode(b"last") + encode(close_payload(1001, "stopping"), CLOSE))
        assert connection.poll(SECONDS) == [b"last"]
        with pytest.raises(ConnectionLost, match="1001 stopping") as lost:
            connection.poll(SECONDS)
        assert lost.value.close_code == 1001
        assert end.hear() == [(CLOSE, close_payload(1001))]
        with pytest.raises(ConnectionLost):
            connection.send([b"x"])

    def test_a_close_frame_without_a_code(self, pair: tuple[Connection, End]) -> None:
        connection, end = pair
        end.say(b"", CLOSE)
        assert connection.poll(SECONDS) == []
        with pytest.raises(ConnectionLost):
            connection.poll(0)
        assert end.hear() == [(CLOSE, b"")]

    def test_a_peer_that_goes_without_a_word(self, pair: tuple[Connection, End]) -> None:
        connection, end = pair
        end.say(b"last")
        end.socket.close()
        assert connection.poll(SECONDS) == [b"last"]
        with pytest.raises(ConnectionLost) as lost:
            connection.poll(SECONDS)
        assert lost.value.close_code == 1006

    def test_a_peer_that_has_gone_while_it_is_sent_to(self, pair: tuple[Connection, End]) -> None:
        connection, end = pair
        end.socket.close()
        connection.send([b"x"])
        with pytest.raises(ConnectionLost):
            receive(connection, 1)

    @pytest.mark.parametrize(
        ("wrong", "code"),
        [
            (b"\x82\x80\0\0\0\0", 1002),
            (b"\x80\x00", 1002),
            (b"\x81\x01\xff", 1007),
            (b"\x88\x02\x03\xec", 1002),
        ],
        ids=["masked", "continuation of nothing", "no text", "close code that may not be sent"],
    )
    def test_a_peer_that_breaks_the_protocol(
        self, pair: tuple[Connection, End], wrong: bytes, code: int
    ) -> None:
        connection, end = pair
        end.socket.sendall(encode(b"before") + wrong)
        assert connection.poll(SECONDS) == [b"before"]
        with pytest.raises(ConnectionLost, match="breaks the WebSocket protocol"):
            connection.poll(SECONDS)
        ((opcode, payload),) = end.hear()
        assert (opcode, payload[:2]) == (CLOSE, code.to_bytes(2, "big"))

    def test_closing_waits_for_the_answer(
        self, pair: tuple[Connection, End], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gobbler.client.connection.CLOSE_SECONDS", 20)
        connection, end = pair
        connection.send([b"last"])

        def serve() -> list[Event]:
            events = end.hear(2)
            end.socket.sendall(encode(b"unread") + encode(close_payload(1000), CLOSE))
            end.socket.close()
            return events

        serving = Background(serve)
        connection.close()
        assert serving.result() == [(BINARY, b"last"), (CLOSE, close_payload(1000))]

    def test_closing_does_not_wait_for_long(
        self, pair: tuple[Connection, End], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gobbler.client.connection.CLOSE_SECONDS", 0.05)
        connection, end = pair
        connection.close()
        assert end.hear() == [(CLOSE, close_payload(1000))]
        assert end.socket.recv(1) == b""

    def test_a_huge_frame_takes_memory_only_as_it_comes(self, pair: tuple[Connection, End]) -> None:
        connection, end = pair
        end.socket.sendall(header(1 << 35) + b"begin")
        assert connection.poll(SECONDS) == []
        assert connection._parser.pending < 100


def test_over_tls_nothing_stays_behind_in_its_buffers(tmp_path: Path, waker: Waker) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.pair())
    ours, theirs = socket.socketpair()
    served: list[ssl.SSLSocket] = []
    handshake = threading.Thread(target=lambda: served.append(context.wrap_socket(theirs, server_side=True)))
    handshake.start()
    trusting = ssl.create_default_context(cafile=str(authority.file))
    connection = Connection(trusting.wrap_socket(ours, server_hostname="localhost"), b"", waker)
    handshake.join()
    end = End(served[0])
    payloads = [b"x" * 5000] * 200
    echoed = Background(end.hear, len(payloads))
    connection.send(payloads)
    while connection.unsent:
        assert connection.poll(SECONDS, more=True) == []
    assert echoed.result() == [(BINARY, payload) for payload in payloads]
    sending = Background(end.socket.sendall, b"".join(map(encode, payloads)))
    assert receive(connection, len(payloads)) == payloads
    sending.result()
    connection.drop()
    end.socket.close()


def test_a_continuation_is_not_a_message(pair: tuple[Connection, End]) -> None:
    connection, end = pair
    end.socket.sendall(b"\x02\x01a")
    assert connection.poll(SECONDS) == []
    end.socket.sendall(header(1, CONT) + b"b")
    assert receive(connection, 1) == [b"ab"]
