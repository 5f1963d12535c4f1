"""What partitions there are."""

import time
from pathlib import Path

import pytest

from gobbler.errors import StoreUnavailable
from gobbler.rest.topics import MAX_LIMIT
from gobbler.store.base import Bounds
from gobbler.store.filelog.store import FileStore
from tests.rest.conftest import Json, Reader
from tests.store.filelog.test_store import one_each
from tests.websocket.rig import TIME, World, file_store, world


def names(page: Json) -> list[str]:
    return [item["topic"] for item in page["topics"]]


TIMES = {"firstTime": TIME, "lastTime": TIME}


def test_without_messages_there_are_none(reader: Reader) -> None:
    assert reader.json("/api/topics") == {"topics": [], "next": None}


def test_what_each_holds(reader: Reader, there: World) -> None:
    there.store_messages(b"/foo", b"1", b"2")
    there.store_messages(b"/foo/bar", b"3", filters=b'{"user_id":"m"}')
    there.store_messages(b"/gr\xc3\xbcn", b"x" * 1000)
    page = reader.json("/api/topics")
    sizes = [item.pop("bytes") for item in page["topics"]]
    assert page == {
        "topics": [
            {"topic": "/foo", "count": 3, "firstId": 1, "lastId": 3} | TIMES,
            {"topic": "/grün", "count": 1, "firstId": 1, "lastId": 1} | TIMES,
        ],
        "next": None,
    }
    assert sizes == [there.store.size("foo"), there.store.size("grün")]
    assert all(sizes)


def test_names_begin_with_the_prefix_and_come_in_pages(reader: Reader, there: World) -> None:
    for name in (b"b", b"a2", b"a1", b"c", b"a3"):
        there.store_messages(b"/" + name, b"x")
    assert names(reader.json("/api/topics")) == ["/a1", "/a2", "/a3", "/b", "/c"]
    for prefix in ("a", "/a"):
        assert names(reader.json(f"/api/topics?prefix={prefix}")) == ["/a1", "/a2", "/a3"]
    assert names(reader.json("/api/topics?prefix=x")) == []
    found, url = [], "/api/topics?limit=2"
    for _ in range(3):
        page = reader.json(url)
        found.append(names(page))
        url = f"/api/topics?limit=2&after={page['next']}"
    assert (found, page["next"]) == ([["/a1", "/a2"], ["/a3", "/b"], ["/c"]], None)
    assert reader.json("/api/topics?limit=3&prefix=a")["next"] is None
    assert names(reader.json("/api/topics?after=/a2x")) == ["/a3", "/b", "/c"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("limit=0", "limit must be at least 1"),
        (f"limit={MAX_LIMIT + 1}", f"limit must be at most {MAX_LIMIT}"),
        ("limit=x", "limit is not a whole number of at most 2^53-1"),
        ("prefix=%FF", "the query is not valid UTF-8"),
    ],
)
def test_a_bad_request_is_told_why(reader: Reader, query: str, text: str) -> None:
    assert reader.refusal(f"/api/topics?{query}") == (400, text)


def test_a_partition_without_messages_has_no_time(
    reader: Reader, there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.store_messages(b"/foo", b"x")
    monkeypatch.setattr(there.store, "bounds", lambda partition: Bounds(2, 1))
    (item,) = reader.json("/api/topics")["topics"]
    assert (item["count"], item["firstId"], item["lastId"]) == (0, 2, 1)
    assert (item["firstTime"], item["lastTime"]) == (None, None)
    monkeypatch.setattr(there.store, "bounds", lambda partition: Bounds(1, 2))
    (item,) = reader.json("/api/topics")["topics"]
    assert (item["count"], item["firstTime"]) == (2, TIME)
    assert item["lastTime"] is None, "the newest cannot be read any more"


def test_a_partition_that_cannot_be_read_does_not_hide_the_others(
    reader: Reader, there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (b"/bad", b"/good"):
        there.store_messages(path, b"x")
    bounds = there.store.bounds

    def one_fails(partition: str) -> Bounds:
        if partition == "bad":
            raise StoreUnavailable("/secret")
        return bounds(partition)

    monkeypatch.setattr(there.store, "bounds", one_fails)
    bad, good = reader.json("/api/topics")["topics"]
    assert (list(bad), bad["error"]) == (
        ["topic", "bytes", "error"],
        "the message store cannot be read now",
    )
    assert good["count"] == 1


def test_a_store_that_is_closed_is_503(reader: Reader, there: World) -> None:
    there.store.stop(1)
    assert reader.refusal("/api/topics") == (503, "the message store cannot be read now")
    there.store.start()


def check_many(folder: Path, partitions: int, seconds: float) -> None:
    store = file_store(folder)
    with world(store):
        one_each(store, partitions)
    store = FileStore(str(folder))
    with world(store) as there:
        reader = Reader(there)
        begun = time.monotonic()
        page = reader.json(f"/api/topics?after=/user-5&limit={MAX_LIMIT // 10}")
        assert time.monotonic() - begun < seconds
        assert len(page["topics"]) == MAX_LIMIT // 10
        assert all(
            item["count"] == 1 and item["firstTime"] == item["lastTime"] > 0 for item in page["topics"]
        )
        assert len(store.loaded()) == MAX_LIMIT // 10, "only what is shown is opened"


def test_many_partitions_are_not_opened_to_be_listed(tmp_path: Path) -> None:
    check_many(tmp_path / "log", 2000, 5)


@pytest.mark.long
def test_a_hundred_thousand_partitions(tmp_path: Path) -> None:
    check_many(tmp_path / "log", 100_000, 5)
