"""Server-Sent Events: stored, then live, each once and in order, and on from where a client was."""

import json
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

import gevent
import pytest

from gobbler.errors import StoreUnavailable
from gobbler.rest import events
from gobbler.rest.events import RETRY_MILLISECONDS, Stream
from gobbler.rest.reading import query
from gobbler.store.base import Bounds, Page
from tests.rest.conftest import Reader
from tests.system.client import Client
from tests.system.server import ServerProcess, eventually
from tests.web.proxy import Proxy
from tests.websocket.rig import DEADLINE, World, memory_store, world

NOBODY = {"user_id": "", "application_id": "a"}


class Event(NamedTuple):
    """An event as a client dispatches it; `data` is None where it is dispatched to nobody."""

    id: int
    data: Any = None
    type: str = "message"


class Parser:
    """Reads a stream as the standard says (WHATWG's HTML, section 9.2.6)."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry = 0
        self._rest = b""
        self._data: list[str] = []
        self._id = self._type = ""

    def feed(self, data: bytes) -> Iterator[Event]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in map(bytes.decode, lines):
            assert "\r" not in line
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                self._id = value
            elif name == "retry":
                self.retry = int(value)
            elif name == "event":
                self._type = value
            elif name == "data":
                self._data.append(value)
            elif not line and (event := self._dispatch()):
                yield event

    def _dispatch(self) -> Event | None:
        data, kind = "\n".join(self._data), self._type
        self._data, self._type = [], ""
        self.last_id = self._id or self.last_id  # only now: half of an event is none
        if not self.last_id:
            return None
        return Event(int(self.last_id), json.loads(data) if data else None, kind or "message")


class Reading:
    """A stream that is read in this process."""

    def __init__(
        self, streams: events.Streams, path: bytes, start: int | None, params: dict[str, str] = NOBODY
    ) -> None:
        self.stream = Stream(streams, path, params, start)
        self.pieces = self.stream.events()
        self.parser = Parser()
        self._ready: list[Event] = []

    def next(self) -> Event:
        """Return the next event, and fail where it does not come."""
        while not self._ready:
            with gevent.Timeout(DEADLINE):
                self._ready = list(self.parser.feed(next(self.pieces)))
        return self._ready.pop(0)

    def ids(self, count: int) -> list[int]:
        return [self.next().data["id"] for _ in range(count)]


@pytest.fixture
def streams(there: World) -> events.Streams:
    return events.Streams(there.store, there.router, there.metrics)


def bodies(count: int, first: int = 1) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


@pytest.mark.parametrize(
    ("start", "ids", "position"),
    [
        (0, [1, 2, 3, 4, 5], 0),
        (1, [1, 2, 3, 4, 5], 0),
        (4, [4, 5], 3),
        (-2, [4, 5], 3),
        (-9, [1, 2, 3, 4, 5], 0),
        (6, [], 5),
        (600, [], 5),
        (None, [], 5),
    ],
)
def test_stored_then_live(
    streams: events.Streams, there: World, start: int | None, ids: list[int], position: int
) -> None:
    there.store_messages(b"/foo", *bodies(5))
    reading = Reading(streams, b"/foo", start)
    if not ids:
        assert reading.next() == Event(position), "who has seen nothing knows where to go on"
    assert reading.ids(len(ids)) == ids
    there.store_messages(b"/foo/bar", b"live")
    there.store_messages(b"/foobar", b"another")
    event = reading.next()
    assert (event.id, event.type) == (6, "message")
    assert (event.data["path"], event.data["body"]) == ("/foo/bar", "live")
    reading.pieces.close()  # type: ignore[attr-defined]


def test_a_client_is_told_when_to_come_back_but_not_all_at_the_same_time(streams: events.Streams) -> None:
    times = set()
    for _ in range(20):
        reading = Reading(streams, b"/foo", None)
        reading.next()
        times.add(reading.parser.retry)
        reading.pieces.close()  # type: ignore[attr-defined]
    assert len(times) > 5
    assert min(times) >= RETRY_MILLISECONDS
    assert max(times) < 2 * RETRY_MILLISECONDS


def test_an_empty_partition_begins_with_its_first_message(streams: events.Streams, there: World) -> None:
    reading = Reading(streams, b"/foo", None)
    assert reading.next() == Event(0)
    there.store_messages(b"/foo", b"x")
    assert reading.ids(1) == [1]
    reading.pieces.close()  # type: ignore[attr-defined]


def test_filters_hold_for_stored_and_live(streams: events.Streams, there: World) -> None:
    def publish(first: int) -> None:
        there.store_messages(b"/foo", b"%d" % first, filters=b'{"user_id":"marvin"}')
        there.store_messages(b"/foo", b"%d" % (first + 1))

    publish(1)
    marvin = Reading(streams, b"/foo", 0, {"user_id": "marvin", "application_id": "a"})
    ford = Reading(streams, b"/foo", 0, {"user_id": "ford", "application_id": "b"})
    assert (marvin.ids(2), ford.ids(1)) == ([1, 2], [2])
    publish(3)
    assert (marvin.ids(2), ford.ids(1)) == ([3, 4], [4])
    for one in (marvin, ford):
        one.pieces.close()  # type: ignore[attr-defined]


def test_silence_is_broken_and_the_position_goes_on(
    streams: events.Streams, there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.01)
    reading = Reading(streams, b"/foo/quiet", None)
    assert reading.next() == Event(0)
    assert reading.next() == Event(0)
    there.store_messages(b"/foo/busy", *bodies(3))
    while (event := reading.next()) == Event(0):
        pass
    assert event == Event(3), "what was never for it need not be looked through again"
    reading.pieces.close()  # type: ignore[attr-defined]


def test_gaps_are_told_as_events(
    streams: events.Streams, there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.store_messages(b"/foo", *bodies(5))
    scan = there.store.scan

    def damaged(partition: str, selector: Any, first: int, last: int, size: int) -> Iterator[Page]:
        yield from scan(partition, selector, first, 2, size)
        yield Page(5, gap=(3, 4))
        yield from scan(partition, selector, 5, last, size)

    monkeypatch.setattr(there.store, "scan", damaged)
    reading = Reading(streams, b"/foo", 1)
    assert reading.ids(2) == [1, 2]
    assert reading.next() == Event(4, {"first": 3, "last": 4}, "gap")
    assert reading.ids(1) == [5]
    reading.pieces.close()  # type: ignore[attr-defined]


def test_what_comes_while_it_is_written_to_comes_next(streams: events.Streams, there: World) -> None:
    there.store_messages(b"/foo", *[b"x" * 1000] * 500)
    reading = Reading(streams, b"/foo", 0)
    seen = []
    for number in range(1, 801):
        if number <= 300:
            there.store_messages(b"/foo", b"live")
        seen += reading.ids(1)
    assert seen == list(range(1, 801))
    reading.pieces.close()  # type: ignore[attr-defined]


def test_a_store_that_fails_ends_the_stream_and_says_no_more_than_that(
    streams: events.Streams, there: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(partition: str) -> Bounds:
        raise StoreUnavailable("/secret is gone")

    monkeypatch.setattr(there.store, "bounds", fail)
    text = b"".join(Stream(streams, b"/foo", NOBODY, 0).events())
    assert text.endswith(b"\n\n: the message store cannot be read now\n\n")
    assert "/secret is gone" in caplog.text
    assert 'gobbler_errors_total{kind="store-unavailable"} 1.0' in there.metrics.render()[0].decode()
    assert there.router.describe() == {}


def test_who_has_gone_is_forgotten(streams: events.Streams, there: World) -> None:
    reading = Reading(streams, b"/foo", None)
    reading.next()
    assert there.router.describe() == {"/foo": [NOBODY]}
    assert "1" in repr(streams)
    reading.pieces.close()  # type: ignore[attr-defined]
    assert there.router.describe() == {}
    assert "0" in repr(streams)


def test_a_stop_ends_streams_that_wait_and_streams_that_read(streams: events.Streams, there: World) -> None:
    there.store_messages(b"/foo", *[b"x" * 10_000] * 100)
    busy, idle = Reading(streams, b"/foo", 0), Reading(streams, b"/foo", None)
    busy.next()
    idle.next()
    waiting = gevent.spawn(lambda: list(idle.pieces))
    gevent.idle()  # until it waits
    streams.stop(1)
    assert waiting.get(timeout=DEADLINE) == []
    assert len(list(busy.pieces)) <= 1
    late = Stream(streams, b"/foo", NOBODY, 0).events()
    assert [piece[:6] for piece in late] == [b"retry:"], "a client that comes now comes back later"
    streams.start()
    assert Reading(streams, b"/foo", -1).ids(1) == [100]


# What a request asks for


@pytest.mark.parametrize(
    ("url", "headers", "text"),
    [
        ("/", {}, "topic has no segment"),
        ("/a,b", {}, "topic holds a comma"),
        ("/a?from=x", {}, "from is not a whole number of at most 2^53-1"),
        ("/a?userId=a%2Cb", {}, "userId holds a comma"),
        ("/a", {"Last-Event-ID": "x"}, "Last-Event-ID is not a whole number of at most 2^53-1"),
        ("/a", {"Last-Event-ID": "-1"}, "Last-Event-ID must be at least 0"),
    ],
)
def test_a_bad_request_is_told_why(reader: Reader, url: str, headers: dict[str, str], text: str) -> None:
    assert reader.refusal(f"/api/stream{url}", **headers) == (400, text)


def test_the_head_of_a_stream_waits_for_nothing(reader: Reader) -> None:
    answer = reader.http.head("/api/stream/foo")
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    told = {name: answer.headers[name] for name in ("Access-Control-Allow-Origin", "Cache-Control")}
    assert told == {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}


@pytest.mark.parametrize(
    ("asked", "seen", "start"),
    [
        ("", None, None),
        ("", "", None),
        ("?from=7", None, 7),
        ("?from=-7", "", -7),
        ("?from=-7", "41", 42),
        ("", "0", 1),
    ],
)
def test_where_a_stream_starts(reader: Reader, asked: str, seen: str | None, start: int | None) -> None:
    headers = {} if seen is None else {"Last-Event-ID": seen}
    with reader.http.application.test_request_context(f"/api/stream/a{asked}", headers=headers):
        assert events._start(query()) == start


# Over real HTTP


class Source:
    """A client like a browser's EventSource, but one that comes back at once."""

    def __init__(self, port: int, url: str) -> None:
        self._port = port
        self._url = url
        self._parser = Parser()
        self.connections = 0

    def events(self) -> Iterator[Event]:
        """Yield events for ever; whatever ends a connection, the next one goes on."""
        while True:
            connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                yield from self._events(self._begin(connection))
            except (OSError, HTTPException):
                time.sleep(0.002)  # as a browser does, if shorter: the proxy may not accept just now
            finally:
                connection.close()

    def _begin(self, connection: HTTPConnection) -> HTTPResponse:
        seen = {"Last-Event-ID": self._parser.last_id} if self._parser.last_id else {}
        connection.request("GET", self._url, headers=seen)
        answer = connection.getresponse()
        assert answer.status == 200
        self.connections += 1
        fresh = Parser()
        fresh.last_id = self._parser.last_id
        self._parser = fresh
        return answer

    def _events(self, answer: HTTPResponse) -> Iterator[Event]:
        while data := answer.read1(65536):
            for event in self._parser.feed(data):
                if event.data is not None:
                    yield event


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data") as started:
        yield started


class Publisher(threading.Thread):
    """Publishes numbered messages, straight to the server."""

    def __init__(self, port: int, count: int, rate: float) -> None:
        super().__init__()
        self._client = Client(port)
        self._count = count
        self._pause = 100 / rate
        self._moment = threading.Event()

    def run(self) -> None:
        with self._client as client:
            for first in range(1, self._count + 1, 100):
                client.publish(b"/cut/live", bodies(min(100, self._count - first + 1), first))
                self._moment.wait(self._pause)


def test_two_hundred_cuts_during_fifty_thousand_messages(server: ServerProcess) -> None:
    """Each message comes once and in order."""
    messages, cuts = 50_000, 200
    chosen = random.Random(1)
    size = 190 * messages  # about what all events have together
    with Proxy(server.port, lambda: chosen.uniform(0.2, 1.3) * size / cuts) as proxy:
        source = Source(proxy.port, "/api/stream/cut")
        received = source.events()
        publisher = Publisher(server.port, messages, messages / 4)
        found: list[Event] = []

        def read() -> None:
            for _, event in zip(range(messages), received, strict=False):
                found.append(event)

        reader = threading.Thread(target=read)
        reader.start()
        deadline = eventually()
        while not server.json("/api/subscribers/cut"):
            deadline.again()
        publisher.start()
        publisher.join(60)
        reader.join(60)
        assert not reader.is_alive(), f"{len(found)} of {messages} came"
        assert [event.id for event in found] == list(range(1, messages + 1))
        assert [event.data["body"] for event in found] == [str(number) for number in range(1, messages + 1)]
        assert proxy.cuts >= cuts, proxy.cuts
        received.close()  # type: ignore[attr-defined]


def test_a_stream_goes_on_behind_a_restart(server: ServerProcess) -> None:
    with Proxy(server.port) as proxy:
        received = Source(proxy.port, "/api/stream/again?from=0").events()
        found = []
        for number in range(1, 4):
            server.request("POST", "/api/message/again", b"before")
            found.append(next(received))
            assert server.stop() == 0
            stopped = re.search(r"HTTP listener stopped in ([\d.]+) ms", server.text)
            assert stopped, server.text
            assert float(stopped[1]) < 3000, "a stream must not hold the stop back"
            server.start()
            server.request("POST", "/api/message/again", b"meanwhile")
            proxy.target = server.port
            found.append(next(received))
            assert [event.id for event in found] == list(range(1, 2 * number + 1))
        received.close()  # type: ignore[attr-defined]


def test_a_stop_ends_a_stream_as_http_wants_it(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"GET /api/stream/foo HTTP/1.1\r\nHost: h\r\n\r\n")
        received = connection.recv(65536)
        while b"id: 0\n\n\r\n" not in received:
            received += connection.recv(65536)
        assert server.stop() == 0
        rest = b"".join(iter(lambda: connection.recv(65536), b""))
    assert rest == b"0\r\n\r\n", "the last chunk"
    assert not [line for line in server.lines if "WARN" in line or "ERROR" in line]


def test_a_slow_reader_costs_a_page_and_loses_nothing(server: ServerProcess) -> None:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(b"GET /api/stream/slow HTTP/1.0\r\n\r\n")
    received = connection.recv(4096)
    while b"id: 0\n\n" not in received:
        received += connection.recv(4096)
    with Client(server.port) as client:
        before = server.rss
        client.publish(b"/slow", [b"x" * 10_000] * 8000)  # 80 MB
    assert server.rss - before < 30_000_000
    ids = b""
    while b"id: 8000\n" not in ids:
        received += connection.recv(1 << 20)
        *lines, received = received.split(b"\n")
        ids += b"".join(line + b"\n" for line in lines if line.startswith(b"id:"))
    assert [int(id) for id in re.findall(rb"id: (\d+)", ids)][-8000:] == list(range(1, 8001))
    connection.close()


def test_a_stream_is_a_subscriber(server: ServerProcess) -> None:
    source = Source(server.port, "/api/stream/foo/bar?userId=marvin&from=0").events()
    server.request("POST", "/api/message/foo/bar", b"x")
    next(source)
    (params,) = server.json("/api/subscribers/foo/bar/baz")
    assert params["user_id"] == "marvin"
    assert re.fullmatch("[0-9a-f]{16}", params["application_id"])
    source.close()  # type: ignore[attr-defined]
    deadline = eventually()
    while server.json("/api/subscribers/foo/bar/baz"):  # it is noticed when something is sent
        server.request("POST", "/api/message/foo/bar", b"x")
        deadline.again()


def test_many_streams_of_one_partition() -> None:
    with world(memory_store()) as there:
        streams = events.Streams(there.store, there.router, there.metrics)
        readings = [Reading(streams, b"/foo", None) for _ in range(50)]
        for reading in readings:
            reading.next()
        there.store_messages(b"/foo", *bodies(20))
        assert all(reading.ids(20) == list(range(1, 21)) for reading in readings)
        for reading in readings:
            reading.pieces.close()  # type: ignore[attr-defined]
