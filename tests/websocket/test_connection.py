"""A connection: bursts, backpressure, silence, and the closing handshake."""

import socket
from collections.abc import Callable, Iterator
from functools import partial

import gevent
import pytest
from gevent.event import Event as Flag

from gobbler.websocket import connection as module
from gobbler.websocket.connection import QUEUE_LIMIT, READ_BYTES, ROOM_BYTES, Connection, Flusher, State
from gobbler.websocket.frames import BINARY, CLOSE, PING, PONG, TEXT, Event, encode
from tests.websocket.rig import DEADLINE, Client, socket_pair, wait_until
from tests.websocket.wire import client as frame


class Handler:
    """Keeps what it is given; closes at once."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.bursts: list[list[Event]] = []
        self.codes: list[tuple[int, str]] = []
        self.gone = 0
        self.then: Callable[[], None] = lambda: None

    @property
    def messages(self) -> list[bytes]:
        return [payload for burst in self.bursts for _, payload in burst]

    def received(self, messages: list[Event]) -> None:
        self.bursts.append(messages)
        self.then()

    def finishing(self, code: int, reason: str = "") -> None:
        self.codes.append((code, reason))
        self.connection.close(code, reason)

    def lost(self) -> None:
        self.gone += 1


class Rig:
    """A connection, its handler, and the client at the other end."""

    def __init__(self, send_buffer: int = 0, max_size: int = 1 << 20, early: bytes = b"") -> None:
        ours, theirs = socket_pair(send_buffer)
        self.connection = Connection(ours, Flusher(gevent.get_hub().loop), max_size)
        self.handler = Handler(self.connection)
        self.client = Client(theirs)
        self.connection.start(self.handler, early)

    def queue(self, size: int) -> bytes:
        """Queue one frame; return its payload."""
        payload = bytes(size)
        self.connection.push(encode(payload))
        return payload

    def gone(self) -> bool:
        return self.connection.state is State.GONE

    def drain(self) -> tuple[int, list[Event]]:
        """Read until the server ends; return how many bytes the messages had, and all other frames."""
        size = 0
        others: list[Event] = []
        while True:
            try:
                opcode, payload = self.client.event()
            except (EOFError, ConnectionResetError):
                return size, others
            if opcode == BINARY:
                size += len(payload)
            else:
                others.append((opcode, payload))


@pytest.fixture
def make() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**options: int | bytes) -> Rig:
        rigs.append(Rig(**options))  # type: ignore[arg-type]
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.connection.drop()
        rig.client.sock.close()
        assert rig.handler.gone == 1


@pytest.fixture
def rig(make: Callable[..., Rig]) -> Rig:
    return make()


# Reading


def test_a_burst_is_handed_over_at_once_and_answered_with_one_send(rig: Rig) -> None:
    pushed = []

    def answer() -> None:
        for payload in rig.handler.messages:
            rig.connection.push(encode(payload.upper()))
            pushed.append(rig.connection.queued)

    rig.handler.then = answer
    rig.client.raw(frame(BINARY, b"a") + frame(TEXT, b"b") + frame(BINARY, b"c") + frame(BINARY, b"cut")[:-1])
    rig.client.expect(b"A", b"B", b"C")
    assert rig.handler.bursts == [[(BINARY, b"a"), (TEXT, b"b"), (BINARY, b"c")]]
    assert pushed == [3, 6, 9]  # nothing was sent before the turn ended
    rig.handler.then = lambda: None
    rig.client.raw(frame(BINARY, b"cut")[-1:])
    wait_until(lambda: len(rig.handler.bursts) == 2)
    assert rig.handler.messages[-1] == b"cut"


def test_what_came_with_the_handshake_comes_first(make: Callable[..., Rig]) -> None:
    early = frame(BINARY, b"early") + frame(BINARY, b"half")[:3]
    rig = make(early=early)
    rig.client.raw(frame(BINARY, b"half")[3:] + frame(BINARY, b"late"))
    wait_until(lambda: len(rig.handler.messages) == 3)
    assert rig.handler.messages == [b"early", b"half", b"late"]


def test_control_frames_are_answered_in_their_place(rig: Rig) -> None:
    rig.handler.then = lambda: rig.connection.push(encode(rig.handler.messages[-1]))
    rig.client.raw(frame(BINARY, b"a") + frame(PING, b"1") + frame(PING, b"2") + frame(PONG, b"x"))
    rig.client.raw(frame(BINARY, b"b"))
    assert [rig.client.event() for _ in range(4)] == [
        (BINARY, b"a"),
        (PONG, b"1"),
        (PONG, b"2"),
        (BINARY, b"b"),
    ]


def test_half_a_frame_and_then_the_end(rig: Rig) -> None:
    rig.client.raw(frame(BINARY, b"whole") + frame(BINARY, b"half")[:7])
    rig.client.sock.close()
    wait_until(rig.gone)
    assert rig.handler.messages == [b"whole"]
    assert rig.handler.codes == []


def test_who_is_busy_does_not_read(rig: Rig) -> None:
    rig.handler.then = lambda: rig.connection.busy(True)
    rig.client.send(b"1")
    wait_until(lambda: rig.handler.bursts)
    rig.client.send(b"2")
    rig.client.send(b"3")
    for _ in range(5):
        gevent.sleep(0)
    assert rig.handler.messages == [b"1"]
    rig.handler.then = lambda: None
    rig.connection.busy(False)
    wait_until(lambda: len(rig.handler.messages) == 3)


def test_a_flooding_client_gets_one_read_a_turn(make: Callable[..., Rig]) -> None:
    rig = make()
    turns = []
    rig.handler.then = lambda: turns.append(len(rig.handler.bursts[-1]))
    flood = frame(BINARY, bytes(1000)) * 2000
    writer = gevent.spawn(rig.client.raw, flood)
    wait_until(lambda: sum(turns) == 2000)
    writer.join()
    assert max(turns) * 1000 <= READ_BYTES


# Writing


def test_a_socket_that_takes_little_gets_the_rest_later(make: Callable[..., Rig]) -> None:
    rig = make(send_buffer=4096)
    payloads = [bytes([number % 256]) * (number * 7 % 3000) for number in range(500)]
    for payload in payloads:
        rig.connection.push(encode(payload))
    assert [rig.client.receive() for _ in payloads] == payloads
    wait_until(lambda: rig.connection.queued == 0)
    rig.connection.push(encode(b"and on"))
    rig.client.expect(b"and on")


def went_on(rig: Rig, before: int) -> bool:
    return rig.connection._stopped or len(rig.handler.messages) > before


def test_a_client_that_does_not_read_is_not_read_from(make: Callable[..., Rig]) -> None:
    """However much longer than its commands the answers are."""
    rig = make(send_buffer=4096)
    answer = encode(bytes(10_000))
    rig.handler.then = lambda: rig.connection.push(answer * len(rig.handler.bursts[-1]))
    most = 0
    before = 0
    while not rig.connection._stopped:
        rig.client.send(b"send me much")
        wait_until(partial(went_on, rig, before))
        most = max(most, rig.connection.queued)
        before = len(rig.handler.messages)
    assert QUEUE_LIMIT < most < QUEUE_LIMIT + 10 * len(answer)
    for _ in range(100):
        gevent.sleep(0)
    assert len(rig.handler.messages) == before  # the last one is still on its way
    reader = gevent.spawn(rig.drain)
    wait_until(lambda: len(rig.handler.messages) == before + 1)
    wait_until(lambda: rig.connection.queued == 0)
    rig.connection.drop()
    size, _ = reader.get(timeout=DEADLINE)
    assert size == 10_000 * (before + 1)


def test_pings_that_nobody_reads_the_answers_of_take_no_memory(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = QUEUE_LIMIT // 4
    monkeypatch.setattr(module, "QUEUE_LIMIT", limit)
    rig = make(send_buffer=4096)
    flood = frame(PING, b"") * 50_000
    writer = gevent.spawn(rig.client.raw, flood * 20)
    try:
        wait_until(lambda: rig.connection._stopped)
        assert rig.connection.queued <= limit + READ_BYTES
        assert len(rig.connection._out) < 1000  # a burst of pongs is one piece
    finally:
        writer.kill()


def test_waiting_for_room(make: Callable[..., Rig]) -> None:
    rig = make(send_buffer=4096)
    assert rig.connection.wait_for_room()
    rig.queue(2 * ROOM_BYTES)
    waiting = [gevent.spawn(rig.connection.wait_for_room) for _ in range(3)]
    for _ in range(10):
        gevent.sleep(0)
    assert not any(each.ready() for each in waiting)
    rig.client.receive()
    assert [each.get(timeout=DEADLINE) for each in waiting] == [True, True, True]


@pytest.mark.parametrize("end", ["close", "drop"])
def test_nobody_waits_for_room_on_a_connection_that_ends(make: Callable[..., Rig], end: str) -> None:
    rig = make(send_buffer=4096)
    rig.queue(2 * ROOM_BYTES)
    waiting = gevent.spawn(rig.connection.wait_for_room)
    gevent.sleep(0)
    rig.connection.close(1000) if end == "close" else rig.connection.drop()
    assert waiting.get(timeout=DEADLINE) is False


def test_a_peer_that_is_gone_while_much_is_queued(make: Callable[..., Rig]) -> None:
    rig = make(send_buffer=4096)
    rig.queue(QUEUE_LIMIT)
    gevent.sleep(0)
    rig.client.sock.close()
    wait_until(rig.gone)
    assert rig.connection.queued == 0
    rig.connection.push(b"nothing")
    rig.connection.flush()
    assert rig.connection.queued == 0


def test_one_that_cannot_be_flushed_keeps_nobody_from_theirs(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = make(), make()
    good.connection._flusher = bad.connection._flusher
    take = Connection._take

    def fail(connection: Connection) -> bytes | memoryview:
        if connection is bad.connection:
            raise RuntimeError("a bug")
        return take(connection)

    monkeypatch.setattr(Connection, "_take", fail)
    bad.connection.push(encode(b"lost"))
    good.connection.push(encode(b"sent"))
    good.client.expect(b"sent")
    assert bad.gone()
    assert "a bug" in caplog.text


# Closing

CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]


UNSENDABLE = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]


@pytest.mark.parametrize("code", CODES)
def test_the_peers_close_is_answered_with_its_code(rig: Rig, code: int) -> None:
    rig.client.close(code.to_bytes(2, "big") + "gründe".encode())
    rig.client.expect_close(code.to_bytes(2, "big"))
    rig.client.expect_end()
    assert rig.handler.codes == [(code, "")]
    assert rig.gone()


def test_a_close_without_a_code_is_answered_without_one(rig: Rig) -> None:
    rig.client.close(b"")
    rig.client.expect_close(b"")
    rig.client.expect_end()


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (b"\x03", (1002, "invalid close code")),
        *((code.to_bytes(2, "big"), (1002, "invalid close code")) for code in UNSENDABLE),
        (b"\x03\xe8\xff", (1007, "close reason is not UTF-8")),
    ],
)  # fmt: skip
def test_a_wrong_close_is_told(rig: Rig, payload: bytes, answer: tuple[int, str]) -> None:
    rig.client.close(payload)
    rig.client.expect_close(answer[0].to_bytes(2, "big") + answer[1].encode())
    rig.client.expect_end()


@pytest.mark.parametrize("code", CODES)
def test_our_close_waits_for_the_peers(rig: Rig, code: int) -> None:
    rig.queue(10)
    rig.connection.close(code, "why")
    rig.connection.close(1000, "only the first counts")
    rig.connection.push(encode(b"nothing follows a close frame"))
    rig.client.expect(bytes(10))
    rig.client.expect_close(code.to_bytes(2, "big") + b"why")
    rig.client.send(b"ignored")
    for _ in range(3):
        gevent.sleep(0)
    assert rig.connection.state is State.CLOSING
    rig.client.close(code.to_bytes(2, "big"))
    wait_until(rig.gone)
    assert rig.handler.bursts == []
    assert rig.handler.codes == []


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (b"\x82\x03abc", 1002, b""),
        (frame(3, b""), 1002, b""),
        (frame(TEXT, b"\xff"), 1007, b""),
        (frame(BINARY, bytes(2001)), 1009, b""),
    ],
)
def test_violations_are_told_behind_what_was_good(
    make: Callable[..., Rig], data: bytes, code: int, reason: bytes
) -> None:
    rig = make(max_size=2000)
    rig.client.raw(frame(BINARY, b"good") + data + frame(BINARY, b"ignored"))
    opcode, payload = rig.client.event()
    assert (opcode, payload[:2]) == (CLOSE, code.to_bytes(2, "big"))
    assert rig.handler.codes == [(code, payload[2:].decode())]
    assert rig.handler.messages == [b"good"]
    rig.client.expect_end()


def test_the_close_frame_arrives_although_the_peer_keeps_sending() -> None:
    """On TCP, closing over unread bytes resets the connection, and the peer may never see the close frame."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    connection = Connection(ours, Flusher(gevent.get_hub().loop), 2000)
    handler = Handler(connection)
    connection.start(handler)
    client = Client(theirs)
    flood = gevent.spawn(client.raw, frame(BINARY, bytes(2001)) * 2000)
    opcode, payload = client.event()
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xf1")
    flood.get(timeout=DEADLINE)
    client.expect_end()
    assert connection.state is State.CLOSING
    client.sock.close()
    wait_until(lambda: handler.gone)


def test_a_peer_that_never_answers_the_close_is_dropped(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.01)
    rig.connection.close(1000)
    rig.client.expect_close(b"\x03\xe8")
    wait_until(rig.gone)


def test_nothing_lingers_of_a_connection_that_was_closed_well(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.client.close()
    wait_until(rig.gone)
    assert rig.connection._linger is None
    assert rig.connection._reader is None


def test_a_close_behind_much_that_is_queued(make: Callable[..., Rig]) -> None:
    rig = make(send_buffer=4096)
    rig.queue(3 * QUEUE_LIMIT)
    gevent.sleep(0)
    rig.client.close()
    gevent.sleep(0)
    size, others = rig.drain()
    assert size == 3 * QUEUE_LIMIT
    assert others == [(CLOSE, b"\x03\xe8")]
    wait_until(rig.gone)


def test_an_error_in_the_handler_ends_the_connection_with_1011(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    rig.handler.then = fail
    rig.client.send(b"x")
    rig.client.expect_close(b"\x03\xf3internal error")
    rig.client.expect_end()
    assert "a bug" in caplog.text


def test_dropping_twice_is_passed_over(rig: Rig) -> None:
    rig.connection.drop()
    rig.connection.drop()
    rig.connection.close(1000)
    rig.client.expect_end()
    assert rig.handler.gone == 1
    assert repr(rig.connection) == "<Connection -1 GONE queued=0>"


# Silence


def less_queued(rig: Rig, before: int) -> bool:
    return rig.connection.queued < before


def ticks(rig: Rig, number: int) -> None:
    for _ in range(number):
        rig.connection.tick(4)
    gevent.sleep(0)


def test_a_silent_peer_is_pinged_and_dropped_when_it_does_not_answer(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    ticks(rig, 1)
    assert rig.connection.queued == 0
    ticks(rig, 1)
    assert rig.client.event() == (PING, b"")
    ticks(rig, 2)
    assert rig.connection.state is State.OPEN
    ticks(rig, 1)
    assert rig.gone()
    assert "does not answer" in caplog.text


@pytest.mark.parametrize("answer", [frame(PONG, b""), frame(BINARY, b"x"), frame(BINARY, b"half")[:2]])
def test_any_sign_of_life_counts(rig: Rig, answer: bytes) -> None:
    for _ in range(5):
        ticks(rig, 4)
        rig.client.raw(answer[:1])
        wait_until(lambda: rig.connection.silent == 0)
        answer = answer[1:] or frame(BINARY, b"more")
    assert rig.connection.state is State.OPEN


def test_who_reads_slowly_is_not_silent(make: Callable[..., Rig]) -> None:
    rig = make(send_buffer=4096)
    rig.queue(QUEUE_LIMIT)
    for _ in range(10):
        ticks(rig, 3)
        before = rig.connection.queued
        rig.client.sock.recv(100_000)
        wait_until(partial(less_queued, rig, before))
    assert rig.connection.state is State.OPEN
    ticks(rig, 5)
    assert rig.gone()


def test_who_waits_for_us_is_not_silent(rig: Rig) -> None:
    """While a commit takes its time, the client's pongs are not read."""
    rig.connection.busy(True)
    ticks(rig, 50)
    assert rig.connection.state is State.OPEN
    rig.connection.busy(False)
    ticks(rig, 5)
    assert rig.gone()


def test_many_wait_for_room_and_none_is_forgotten(make: Callable[..., Rig]) -> None:
    rig = make(send_buffer=4096)
    done = Flag()
    left = 20

    def fetch() -> None:
        nonlocal left
        for _ in range(5):
            assert rig.connection.wait_for_room()
            rig.queue(ROOM_BYTES // 2)
        left -= 1
        if not left:
            done.set()

    fetches = [gevent.spawn(fetch) for _ in range(20)]
    reader = gevent.spawn(rig.drain)
    assert done.wait(DEADLINE)
    gevent.joinall(fetches)
    wait_until(lambda: rig.connection.queued == 0)
    rig.connection.drop()
    assert reader.get(timeout=DEADLINE)[0] == 100 * (ROOM_BYTES // 2)
