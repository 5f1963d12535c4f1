"""The message browser."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.admin import browsing
from gobbler.admin.browsing import MAX_COUNT, PREVIEW_BYTES
from gobbler.errors import StoreCorrupt
from gobbler.protocol.run import Run
from gobbler.protocol.selector import Selector
from gobbler.store.base import Bounds, Group, MessageStore, Page
from tests.admin.asking import Asker, Json
from tests.websocket.rig import TIME, World, file_store, memory_store, world

FOR_MARVIN = b'{"user_id":"marvin"}'


@pytest.fixture(params=["memory", "file"])
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    store: MessageStore = memory_store() if request.param == "memory" else file_store(tmp_path / "log")
    with world(store) as made:
        yield made


@pytest.fixture
def asker(there: World) -> Asker:
    return Asker(browsing.blueprint(there.store, there.metrics), metrics=there.metrics)


def ids(page: Json) -> list[int]:
    return [one["id"] for one in page["messages"]]


def test_a_topic_without_messages(asker: Asker) -> None:
    wanted = {
        "topic": "/foo",
        "firstId": 1,
        "lastId": 0,
        "older": None,
        "newer": None,
        "messages": [],
        "gaps": [],
    }
    assert asker.get("/messages", topic="/foo") == wanted
    assert asker.get("/messages", topic="/foo", **{"from": 5}) == wanted
    assert asker.get("/messages", topic="/foo", before=5) == wanted


def test_what_is_told_of_a_message(asker: Asker, there: World) -> None:
    tail = '{"A":"ü"}\ngrün\n'.encode()
    run = Run(b"/foo/bar", b"ford", b"app", [tail], [b"id"], FOR_MARVIN)
    there.store.append([Group("foo", [run])])
    there.store_messages(b"/foo", b"\xff\x00")
    page = asker.get("/messages", topic="/foo")
    assert page == {
        "topic": "/foo",
        "firstId": 1,
        "lastId": 2,
        "older": None,
        "newer": None,
        "messages": [
            {
                "filters": {"user_id": "marvin"},
                "bodyBytes": 6,
                "id": 1,
                "path": "/foo/bar",
                "userId": "ford",
                "applicationId": "app",
                "messageId": "id",
                "time": TIME,
                "headers": {"A": "ü"},
                "body": "grün\n",
            },
            {
                "filters": {},
                "bodyBytes": 2,
                "id": 2,
                "path": "/foo",
                "userId": "rest",
                "applicationId": "api",
                "messageId": "",
                "time": TIME,
                "headers": {},
                "bodyBase64": "/wA=",
            },
        ],
        "gaps": [],
    }
    assert there.metric("fetched_messages_total") == 0, "looking is no fetch of a client"


def test_pages_backwards_and_forwards_have_every_message_once(asker: Asker, there: World) -> None:
    for number in range(1, 101):
        path = (b"/foo/a", b"/foo/b", b"/foo")[number % 3]
        there.store_messages(path, b"x" * 300, filters=FOR_MARVIN if number % 5 == 0 else b"")
    for topic, wanted in (
        ("/foo", list(range(1, 101))),
        ("/foo/a", [n for n in range(1, 101) if n % 3 == 0]),
        ("/foo/b", [n for n in range(1, 101) if n % 3 == 1]),
    ):
        page = asker.get("/messages", topic=topic, count=7)
        assert page["newer"] is None
        found = ids(page)
        while page["older"] is not None:
            page = asker.get("/messages", topic=topic, count=7, before=page["older"])
            assert page["newer"] is not None
            found = ids(page) + found
        assert found == wanted
        page = asker.get("/messages", topic=topic, count=7, **{"from": 0})
        assert page["older"] is None
        found = ids(page)
        while page["newer"] is not None:
            page = asker.get("/messages", topic=topic, count=7, **{"from": page["newer"]})
            assert page["older"] is not None
            found += ids(page)
        assert found == wanted


def test_a_page_from_an_id_on(asker: Asker, there: World) -> None:
    there.store_messages(b"/foo", *[b"x"] * 10)
    page = asker.get("/messages", topic="/foo", count=3, **{"from": 4})
    assert (ids(page), page["older"], page["newer"]) == ([4, 5, 6], 4, 7)
    page = asker.get("/messages", topic="/foo", count=3, before=4)
    assert (ids(page), page["older"], page["newer"]) == ([1, 2, 3], None, 4)
    page = asker.get("/messages", topic="/foo", count=3, **{"from": 9})
    assert (ids(page), page["older"], page["newer"]) == ([9, 10], 9, None)
    page = asker.get("/messages", topic="/foo", **{"from": 99})
    assert (ids(page), page["newer"]) == ([], None)
    page = asker.get("/messages", topic="/foo", before=1)
    assert (ids(page), page["older"]) == ([], None)


def test_only_the_beginning_of_a_body_is_in_a_page(asker: Asker, there: World) -> None:
    bodies = [
        b"x" * PREVIEW_BYTES,
        b"x" * (PREVIEW_BYTES + 1),
        "ü".encode() * PREVIEW_BYTES,
        b"x" + "ü".encode() * PREVIEW_BYTES,
        b"xx" + "🦃".encode() * PREVIEW_BYTES,
        b"\x80" * PREVIEW_BYTES * 2,
    ]
    there.store_messages(b"/foo", *bodies)
    page = asker.get("/messages", topic="/foo")
    assert [one["bodyBytes"] for one in page["messages"]] == list(map(len, bodies))
    texts = [one.get("body") for one in page["messages"]]
    assert texts == [
        "x" * PREVIEW_BYTES,
        "x" * PREVIEW_BYTES,
        "ü" * (PREVIEW_BYTES // 2),
        "x" + "ü" * (PREVIEW_BYTES // 2 - 1),
        "xx" + "🦃" * (PREVIEW_BYTES // 4 - 1),
        None,
    ]
    assert "bodyBase64" in page["messages"][-1]


def test_the_whole_body_is_a_download_and_nothing_else(asker: Asker, there: World) -> None:
    html = b"<script>alert(1)</script>" * 1000
    there.store_messages(b"/foo", b"first", filters=FOR_MARVIN)
    there.store_messages(b"/foo/bar", html)
    answer = asker.http.get("/admin/api/body?topic=/foo&id=2")
    assert (answer.status_code, answer.data) == (200, html)
    assert answer.mimetype == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="message-2.bin"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert asker.http.get("/admin/api/body?topic=/foo&id=1").data == b"first"
    missing = [("/foo", 3), ("/foo/bar", 1), ("/none", 1)]
    for topic, number in missing:
        assert asker.refusal("/body", topic=topic, id=number) == (404, "there is no such message")


class Gappy:
    """What a store gives that has lost the ids 1 to 3 and finds 6 and 7 damaged."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self.newest = store.newest

    def bounds(self, partition: str) -> Bounds:
        return Bounds(4, 9)

    def scan(
        self, partition: str, selector: Selector, first: int, last: int, page_bytes: int, *, keyed: bool
    ) -> Iterator[Page]:
        if first < 4:
            yield Page(4, gap=(first, 3))
        yield from self._store.scan(partition, selector, 4, 5, page_bytes, keyed=keyed)
        yield Page(8, gap=(6, 7))
        yield from self._store.scan(partition, selector, 8, 9, page_bytes, keyed=keyed)


def test_gaps_are_told(there: World) -> None:
    there.store_messages(b"/foo", *[b"x"] * 9)
    asker = Asker(browsing.blueprint(Gappy(there.store), there.metrics))  # type: ignore[arg-type]
    page = asker.get("/messages", topic="/foo", count=8)
    assert (page["gaps"], ids(page)) == ([{"first": 2, "last": 3}, {"first": 6, "last": 7}], [4, 5, 8, 9])
    page = asker.get("/messages", topic="/foo", **{"from": 0})
    assert (page["gaps"], ids(page)) == ([{"first": 6, "last": 7}], [4, 5, 8, 9])


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({}, "topic is missing"),
        ({"topic": "/a b"}, "topic holds white space"),
        ({"topic": "/foo", "count": 0}, "count must be at least 1"),
        ({"topic": "/foo", "count": MAX_COUNT + 1}, f"count must be at most {MAX_COUNT}"),
        ({"topic": "/foo", "from": -1}, "from must be at least 0"),
        ({"topic": "/foo", "before": 0}, "before must be at least 1"),
        ({"topic": "/foo", "before": "x"}, "before is not a whole number of at most 2^53-1"),
        ({"topic": "/foo", "from": 1, "before": 2}, "from and before exclude each other"),
    ],
)
def test_a_bad_request_is_told_why(asker: Asker, asked: dict[str, object], text: str) -> None:
    assert asker.refusal("/messages", **asked) == (400, text)


def test_a_store_that_cannot_be_read_says_nothing_of_its_files(
    asker: Asker, there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(partition: str) -> Bounds:
        raise StoreCorrupt("/secret/folder")

    monkeypatch.setattr(there.store, "bounds", fail)
    assert asker.refusal("/messages", topic="/foo") == (500, "the message store cannot be read")
    monkeypatch.undo()
    there.store.stop(1)
    assert asker.refusal("/messages", topic="/foo") == (503, "the message store cannot be read now")
    assert asker.refusal("/body", topic="/foo", id=1) == (503, "the message store cannot be read now")
    there.store.start()


def test_topics_that_a_path_of_a_url_could_not_have(asker: Asker, there: World) -> None:
    there.store_messages(b"/..", b"x")
    there.store_messages(b"/a?b#c/%2F", json.dumps({"a": 1}).encode())
    assert ids(asker.get("/messages", topic="/..")) == [1]
    assert asker.get("/messages", topic="/a?b#c/%2F")["messages"][0]["path"] == "/a?b#c/%2F"
