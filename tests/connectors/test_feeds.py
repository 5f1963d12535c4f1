"""What is kept of feeds: watermarks, and what devices have done ahead of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.connectors.feeds import Feeds
from gobbler.connectors.position import Position
from gobbler.connectors.subscription import Device
from gobbler.errors import KVError
from gobbler.kvstore.sqlite import SQLiteKVStore

A, B = Device("a", "u"), Device("b", "u")


@pytest.fixture
def kvstore(tmp_path: Path) -> Iterator[SQLiteKVStore]:
    made = SQLiteKVStore(tmp_path / "kv.sqlite")
    made.start()
    yield made
    made.stop(5)


@pytest.fixture
def feeds(kvstore: SQLiteKVStore) -> Iterator[Feeds]:
    made = Feeds("fcm", kvstore)
    made.positions.start()
    yield made
    made.positions.stop(5)


def again(kvstore: SQLiteKVStore, **starts: int | None) -> Feeds:
    made = Feeds("fcm", kvstore)
    made.load(starts, newest=lambda partition: 99)
    return made


def watermarks(feeds: Feeds) -> dict[str, int]:
    return {feed.partition: feed.watermark for feed in feeds}


def kept(kvstore: SQLiteKVStore) -> set[str]:
    return {Position.decode(value).device.token for _, value in kvstore.items("fcm.positions")}


def test_a_partition_begins_where_it_is_told_or_where_it_was(kvstore: SQLiteKVStore, feeds: Feeds) -> None:
    assert feeds.load({"foo": 3, "bar": None}, newest=lambda partition: 42) == []
    assert watermarks(feeds) == {"foo": 3, "bar": 42}
    foo = feeds.get("foo")
    assert foo is not None
    feeds.read(foo, 11)
    feeds.save()
    assert watermarks(again(kvstore, foo=3, bar=None, new=None)) == {"foo": 10, "bar": 42, "new": 99}


def test_what_is_wanted_no_more_is_forgotten(kvstore: SQLiteKVStore, feeds: Feeds) -> None:
    feeds.begin("foo", 5)
    feeds.record(Position("foo", A, 7))
    feeds.save()
    assert kept(kvstore) == {"a"}
    other = again(kvstore, bar=0)
    other.positions.start()
    other.positions.stop(5)
    assert kept(kvstore) == set()
    assert watermarks(again(kvstore, foo=1)) == {"foo": 1}


def test_a_position_is_kept_until_the_watermark_has_passed_it(kvstore: SQLiteKVStore, feeds: Feeds) -> None:
    foo = feeds.begin("foo", 0)
    foo.lane(A, 1)
    foo.lane(B, 1)
    feeds.record(Position("foo", A, 5))
    feeds.end(foo.lanes[A])
    feeds.read(foo, 6)
    feeds.save()
    assert (foo.watermark, foo.done, kept(kvstore)) == (0, {A: 5}, {"a"})
    assert again(kvstore, foo=0).get("foo").done == {A: 5}  # type: ignore[union-attr]
    feeds.end(foo.lanes[B])
    feeds.save()
    feeds.positions.write("other", Position("foo", B, 9).encode())  # with the delete, or after it
    assert (foo.watermark, foo.done, kept(kvstore)) == (5, {}, {"b"})


def test_what_was_tried_comes_back_as_a_lane(kvstore: SQLiteKVStore, feeds: Feeds) -> None:
    foo = feeds.begin("foo", 4)
    foo.lane(A, 7)
    foo.lane(B, 8)
    feeds.record(Position("foo", A, 4, 7, 3, 10.0, 20.0))
    feeds.record(Position("foo", B, 4, 8, sending=True))
    feeds.save()
    found = Feeds("fcm", kvstore).load({"foo": 0}, newest=lambda partition: 0)
    lanes = {lane.device: lane for lane in found}
    one, other = lanes[A], lanes[B]
    assert (one.after, one.first, one.attempts, one.since, one.due, one.sending) == (
        4,
        7,
        3,
        10.0,
        20.0,
        False,
    )
    assert (other.first, other.attempts, other.sending) == (8, 0, True)


def test_a_renamed_devices_position_is_written(kvstore: SQLiteKVStore, feeds: Feeds) -> None:
    foo = feeds.begin("foo", 0)
    feeds.record(Position("foo", A, 5))
    assert list(feeds.rename(A, B, {"foo": False, "unknown": False})) == [(0, 0, None)]
    feeds.positions.write("barrier", Position("foo", Device("c", "u"), 1).encode())
    assert kept(kvstore) == {"a", "b", "c"}
    foo.lane(B, 6)
    assert list(feeds.rename(B, A, {"foo": False})) == [(0, 0, None)]
    assert A in foo.lanes


@pytest.mark.parametrize("running", [True, False], ids=["on", "off"])
def test_a_new_device_is_handed_the_position_of_the_old_one(
    kvstore: SQLiteKVStore, feeds: Feeds, running: bool
) -> None:
    feeds.begin("foo", 0)
    feeds.record(Position("foo", A, 5, 7, attempts=2))
    handing = feeds if running else Feeds("fcm", kvstore)
    with handing.handing_over(A, B, {"foo": False, "other": False}):
        assert {"a", "b"} == kept(kvstore)
        positions = [Position.decode(value) for _, value in kvstore.items("fcm.positions")]
        assert Position("foo", B, 5, 7, attempts=2) in positions


@pytest.mark.parametrize("running", [True, False], ids=["on", "off"])
def test_a_device_that_joins_another_begins_at_the_watermark(
    kvstore: SQLiteKVStore, feeds: Feeds, running: bool
) -> None:
    foo = feeds.begin("foo", 0)
    feeds.record(Position("foo", A, 7))
    feeds.record(Position("foo", B, 5))
    handing = feeds if running else Feeds("fcm", kvstore)
    with handing.handing_over(A, B, {"foo": True}):
        assert kept(kvstore) == {"a"}
        if running:
            feeds.record(Position("foo", B, 6))
            assert kept(kvstore) == {"a"}, "after a crash now it would be passed over"
            assert foo.done[B] == 6
    feeds.record(Position("foo", B, 8))
    assert kept(kvstore) == {"a", "b"}


def test_a_store_that_fails_is_asked_again(kvstore: SQLiteKVStore, feeds: Feeds) -> None:
    feeds.begin("foo", 5)
    kvstore.stop(5)
    with pytest.raises(KVError):
        feeds.save()
    kvstore.start()
    feeds.save()
    feeds.save()
    assert watermarks(again(kvstore, foo=0)) == {"foo": 5}
    assert repr(feeds) == "<Feeds, 1 partitions>"
