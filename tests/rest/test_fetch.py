"""A fetch over REST gives what a fetch over WebSocket gives."""

import json
import re
import socket
from collections.abc import Iterator

import pytest

from gobbler.errors import StoreUnavailable
from gobbler.protocol.selector import Selector
from gobbler.rest.fetch import DEFAULT_COUNT, LINES, MAX_COUNT, PAGE_BYTES
from gobbler.store.base import Bounds, Page
from tests.rest.conftest import Reader
from tests.system.client import Client, decode
from tests.system.server import ServerProcess, eventually
from tests.websocket.rig import TIME, World

FOR_MARVIN = b'{"user_id":"marvin"}'


def fill(there: World, count: int = 10) -> None:
    """Odd ids to /foo, even ones to /foo/even."""
    for number in range(1, count + 1):
        there.store_messages(b"/foo" if number % 2 else b"/foo/even", b"%d" % number)


@pytest.mark.parametrize(
    ("url", "ids"),
    [
        ("/foo?from=0&count=3", [1, 2, 3]),
        ("/foo?from=4&count=2", [4, 5]),
        ("/foo?from=9", [9, 10]),
        ("/foo?from=-3&count=3", [8, 9, 10]),
        ("/foo?from=-3&count=2", [8, 9]),
        ("/foo?from=-300", range(1, 11)),
        ("/foo?count=2", [9, 10]),
        ("/foo", range(1, 11)),
        ("/foo/", range(1, 11)),
        ("/foo/even?from=3&count=2", [4, 6]),
        ("/foo%2Feven?from=-2", [8, 10]),
        ("/foo/odd", []),
        ("/foo?from=11", []),
        ("/foo?from=9007199254740991", []),
        ("/fo", []),
        ("/none?from=0", []),
        ("/foo?from=2&from=5&count=1&count=7&other=x", [2]),
    ],
)
def test_what_is_asked_for(reader: Reader, there: World, url: str, ids: list[int]) -> None:
    fill(there)
    assert reader.ids(f"/api/message{url}") == list(ids)


def test_messages_as_an_array_and_as_lines(reader: Reader, there: World) -> None:
    there.store_messages(b"/foo", b"gr\xc3\xbcn", b"\xff")
    wanted = [
        {"id": 1, "path": "/foo", "userId": "rest", "applicationId": "api", "messageId": "", "time": TIME,
         "headers": {}, "body": "grün"},
        {"id": 2, "path": "/foo", "userId": "rest", "applicationId": "api", "messageId": "", "time": TIME,
         "headers": {}, "bodyBase64": "/w=="},
    ]  # fmt: skip
    array = reader.http.get("/api/message/foo")
    assert (array.mimetype, array.json) == ("application/json", wanted)
    assert array.text.count("\n") == 2
    lines = reader.http.get("/api/message/foo", headers={"Accept": f"text/html, {LINES};q=0.9"})
    assert (lines.mimetype, [json.loads(line) for line in lines.text.splitlines()]) == (LINES, wanted)
    for answer in (array, lines):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cache-Control"] == "no-store"
    assert reader.http.get("/api/message/none").text == "[]\n"
    assert reader.http.get("/api/message/none", headers={"Accept": LINES}).text == ""


def test_filters_hold_as_for_a_websocket_of_that_user(reader: Reader, there: World) -> None:
    there.store_messages(b"/foo", b"1", filters=FOR_MARVIN)
    there.store_messages(b"/foo", b"2")
    there.store_messages(b"/foo", b"3", filters=b'{"connector":"fcm","user_id":"marvin"}')
    assert reader.ids("/api/message/foo?userId=marvin") == [1, 2]
    assert reader.ids("/api/message/foo?userId=ford") == [2]
    assert reader.ids("/api/message/foo?userId=") == [2]
    assert reader.ids("/api/message/foo") == [2]
    assert reader.ids("/api/message/foo?userId=marvin&from=-1&count=1") == [2]
    assert reader.ids("/api/message/foo?userId=marvin&from=-2&count=2") == [1, 2]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("/", "topic has no segment"),
        ("//foo", "topic has an empty segment"),
        ("/foo%2Cbar", "topic holds a comma"),
        ("/foo?from=x", "from is not a whole number of at most 2^53-1"),
        ("/foo?from=", "from is not a whole number of at most 2^53-1"),
        ("/foo?count=0", "count must be at least 1"),
        ("/foo?count=-5", "count must be at least 1"),
        (f"/foo?count={MAX_COUNT + 1}", f"count must be at most {MAX_COUNT}"),
        ("/foo?userId=a%2Cb", "userId holds a comma"),
        ("/foo?userId=%FF", "the query is not valid UTF-8"),
    ],
)
def test_a_bad_request_is_told_why(reader: Reader, url: str, text: str) -> None:
    assert reader.refusal(f"/api/message{url}") == (400, text)


def test_the_default_is_the_newest_hundred(reader: Reader, there: World) -> None:
    there.store_messages(b"/foo", *[b"x"] * (DEFAULT_COUNT + 50))
    assert reader.ids("/api/message/foo") == list(range(51, DEFAULT_COUNT + 51))


def test_the_most_that_may_be_asked_for(reader: Reader, there: World) -> None:
    there.store_messages(b"/foo", *[b"x"] * (MAX_COUNT + 5))
    assert reader.ids(f"/api/message/foo?from=3&count={MAX_COUNT}") == list(range(3, MAX_COUNT + 3))


class Gappy:
    """What a store gives that has lost the ids 1 to 3 and finds 6 and 7 damaged."""

    def __init__(self, there: World) -> None:
        self._store = there.store

    def bounds(self, partition: str) -> Bounds:
        return Bounds(4, 9)

    def scan(
        self, partition: str, selector: Selector, first_id: int, last_id: int, page_bytes: int
    ) -> Iterator[Page]:
        if first_id < 4:
            yield Page(4, gap=(first_id, 3))
        yield from self._store.scan(partition, selector, 4, 5, page_bytes)
        yield Page(8, gap=(6, 7))
        yield from self._store.scan(partition, selector, 8, 9, page_bytes)


def test_gaps_are_told_in_their_place(reader: Reader, there: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(there)
    gappy = Gappy(there)
    monkeypatch.setattr(there.store, "bounds", gappy.bounds)
    pages = gappy.scan

    def scan(*asked: object) -> Iterator[Page]:
        monkeypatch.undo()  # the gappy one reads from it
        return pages(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(there.store, "scan", scan)
    told = [item.get("id") or item["gap"] for item in reader.json("/api/message/foo?from=2")]
    assert told == [{"first": 2, "last": 3}, 4, 5, {"first": 6, "last": 7}, 8, 9]


@pytest.mark.parametrize(
    ("asked", "told"),
    [("from=4&count=9", [4, 5]), ("from=4&count=2", [4, 5]), ("from=6", [(6, 12)]), ("from=9", [(9, 12)])],
)
def test_gaps_behind_the_last_message_are_for_who_goes_on(
    reader: Reader,
    there: World,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    told: list[int | tuple[int, int]],
) -> None:
    """They come once, for one who asks for page after page; a WebSocket is told the same."""
    fill(there, 5)
    monkeypatch.setattr(there.store, "bounds", lambda partition: Bounds(1, 12))
    items = reader.json(f"/api/message/foo?{asked}")
    assert [item.get("id") or tuple(item["gap"].values()) for item in items] == told


def test_forgotten_ids_are_a_gap(reader: Reader, there: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(there)
    bounds = there.store.bounds("foo")
    assert reader.json(f"/api/message/foo?from={bounds.last + 1}") == []
    monkeypatch.setattr(there.store, "bounds", lambda partition: Bounds(1, 12))
    assert reader.json("/api/message/foo?from=11") == [{"gap": {"first": 11, "last": 12}}]


def test_a_store_that_cannot_be_read_is_503(
    reader: Reader, there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(partition: str) -> Bounds:
        raise StoreUnavailable("/secret/folder is gone")

    monkeypatch.setattr(there.store, "bounds", fail)
    assert reader.refusal("/api/message/foo") == (503, "the message store cannot be read now")
    assert 'gobbler_errors_total{kind="store-unavailable"} 1.0' in there.metrics.render()[0].decode()


def test_fetches_are_counted(reader: Reader, there: World) -> None:
    fill(there)
    assert len(reader.ids("/api/message/foo?count=3")) == 3
    reader.http.head("/api/message/foo")
    assert (there.metric("fetches_started_total"), there.metric("fetched_messages_total")) == (1, 3)
    assert there.metric("fetches") == 0


# Over real HTTP


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    options = ("--ms", "memory", "--kvs", "memory", "--ms-memory-bytes", "256MiB")
    with ServerProcess(tmp_path_factory.mktemp("fetch") / "data", *options) as started:
        yield started


def test_it_is_what_the_websocket_gives(server: ServerProcess) -> None:
    with Client(server.port, "/stream/user/marvin") as client:
        ids = client.publish(b"/same/a", [b"x" * (number * 37 % 3000) for number in range(3000)])
        server.request("POST", "/api/message/same/b?filterUserID=marvin", b"for marvin")
        server.request("POST", "/api/message/same/b?filterUserID=ford", b"for ford")
        for start, count in ((0, 50_000), (17, 100), (-20, 20), (-20, 5), (2990, 90), (4000, 9)):
            answer = client.ask(b"+ /same %d %d" % (start, count))
            found = [decode(client.next()) for _ in range(int(answer.split()[-1]))]
            assert client.next() == b"#fetch-done /same"
            items = server.json(f"/api/message/same?userId=marvin&from={start}&count={count}")
            assert [(item["path"], item["id"], item["body"]) for item in items] == [
                (one.path.decode(), one.id, one.body.decode()) for one in found
            ]
    assert ids[-1] == 3000


def test_a_reader_that_stalls_costs_a_page(server: ServerProcess) -> None:
    size = 4000
    with Client(server.port) as client:
        client.publish(b"/stall", [b"x" * size] * 10_000)
    before = server.rss
    readers = [socket.socket() for _ in range(20)]
    for one in readers:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", server.port))
        one.sendall(b"GET /api/message/stall?from=0&count=10000 HTTP/1.0\r\n\r\n")
        assert one.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    # All of it would be 800 MB, what the kernel holds is not the server's.
    server.well()
    assert server.rss - before < 20 * 20 * PAGE_BYTES
    for one in readers:
        one.close()
    deadline = eventually()
    while not re.search(rb"^gobbler_fetches 0.0$", server.request("GET", "/admin/metrics")[1], re.MULTILINE):
        deadline.again()
    items = server.json("/api/message/stall?from=0&count=10000")
    assert [item["id"] for item in items] == list(range(1, 10_001))
