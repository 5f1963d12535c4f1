"""Subscriptions: kept, found, replaced and forgotten, in the store and in memory alike."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest

from gobbler.connectors.subscription import Device, Subscription
from gobbler.connectors.subscriptions import Subscriptions
from gobbler.errors import BadRequest, KVError
from gobbler.kvstore.base import KVStore
from gobbler.kvstore.sqlite import SQLiteKVStore
from gobbler.protocol.message import Message
from tests.connectors.rig import Reports

FORD, TRILLIAN = Device("ford's", "ford"), Device("trillian's", "trillian")


class Watching:
    def __init__(self) -> None:
        self.told: list[object] = []

    def began(self, partition: str, from_id: int) -> None:
        self.told.append((partition, from_id))

    @contextmanager
    def renaming(self, old: Device, new: Device, joins: Mapping[str, bool]) -> Iterator[None]:
        yield
        self.told.append((old, new, joins))


class Bench:
    def __init__(self, kvstore: KVStore) -> None:
        self.kvstore = kvstore
        self.now = 100.0
        self.newest = 7
        self.reports = Reports()
        self.watching = Watching()
        self.subscriptions = self.loaded()
        self.subscriptions.watch(self.watching)

    def loaded(self) -> Subscriptions:
        made = Subscriptions("fcm", self.kvstore, self._last_id, self.reports, lambda: self.now)
        made.load()
        return made

    def _last_id(self, partition: str) -> int:
        return self.newest

    @property
    def actions(self) -> list[tuple[str, str, str]]:
        payloads = [event.payload for event in self.reports.events]
        return [(one["action"], one["device_id"], one["topic"]) for one in payloads]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    kvstore = SQLiteKVStore(tmp_path / "kv.sqlite")
    kvstore.start()
    yield Bench(kvstore)
    kvstore.stop(5)


def message(path: str, id: int) -> Message:
    return Message(path.encode(), id, b"", b"", b"", 0)


def test_a_subscription_is_made_once_and_kept(bench: Bench) -> None:
    made = bench.subscriptions
    assert made.create(FORD, b"/foo")
    assert not made.create(FORD, b"/foo")
    assert made.create(TRILLIAN, b"/foo/bar")
    assert (len(made), repr(made)) == (2, "<Subscriptions of fcm, 2>")
    assert bench.watching.told == [("foo", 7), ("foo", 7)]
    for found in (made, bench.loaded()):
        assert found.topics("ford", None) == found.topics(None, "ford's") == ["/foo"]
        assert found.topics("ford", "trillian's") == []
        assert found.starts() == {"foo": 7}
        assert list(found.reached(message("/foo/bar", 8), {})) == [TRILLIAN, FORD]
        assert list(found.reached(message("/foo/bar", 7), {})) == [], "it was there before them"
        assert list(found.reached(message("/foo/bar", 8), {"user_id": "ford"})) == [FORD]
        assert found.wants(FORD, message("/foo", 8))
        assert not found.wants(TRILLIAN, message("/foo", 8))
        assert found.covered(b"/foo/x")
        assert not found.covered(b"/food")
    assert bench.actions == [("subscribe", "ford's", "/foo"), ("subscribe", "trillian's", "/foo/bar")]


def test_many_at_once_make_one(bench: Bench) -> None:
    makers = [gevent.spawn(bench.subscriptions.create, FORD, b"/foo") for _ in range(20)]
    gevent.joinall(makers, timeout=10, raise_error=True)
    assert [maker.value for maker in makers].count(True) == 1


def test_unsubscribing(bench: Bench) -> None:
    made = bench.subscriptions
    made.create(FORD, b"/foo")
    assert not made.delete(FORD, b"/foo/bar")
    assert not made.delete(TRILLIAN, b"/foo")
    assert made.delete(FORD, b"/foo")
    assert not made.delete(FORD, b"/foo")
    assert len(bench.loaded()) == 0
    assert bench.actions[-1] == ("unsubscribe", "ford's", "/foo")


def test_route_parameters(bench: Bench) -> None:
    made = bench.subscriptions
    made.create(FORD, b"/foo")
    made.create(TRILLIAN, b"/foo/bar")
    fords = {"connector": "fcm", "device_token": "ford's", "user_id": "ford"}
    assert made.subscribers(b"/foo") == [fords]
    assert fords in made.subscribers(b"/foo/bar")
    assert made.describe() == {"/foo": [fords], "/foo/bar": made.subscribers(b"/foo/bar")[:1]}
    selector = made.selector("foo", FORD)
    assert selector is not None
    assert (selector.paths, selector.params) == ((b"/foo",), fords)
    assert made.selector("bar", FORD) is None


@pytest.mark.parametrize(
    ("field", "old", "new", "changed"),
    [
        ("device_token", "ford's", "new", Device("new", "ford")),
        ("user_id", "ford", "zaphod", Device("ford's", "zaphod")),
    ],
)
def test_substituting(bench: Bench, field: str, old: str, new: str, changed: Device) -> None:
    made = bench.subscriptions
    for topic in (b"/foo", b"/foo/bar"):
        made.create(FORD, topic)
    made.create(TRILLIAN, b"/foo")
    assert made.substitute(field, "nobody", new) == 0
    assert made.substitute(field, old, new) == 2
    assert bench.watching.told[-1] == (FORD, changed, {"foo": False})
    for found in (made, bench.loaded()):
        assert (
            found.topics(None, changed.token) == found.topics(changed.user_id, None) == ["/foo", "/foo/bar"]
        )
        assert len(found) == 3
        assert list(found.registry.of_device(FORD)) == []
        assert {one.from_id for one in found.registry} == {7}


def test_substituting_what_is_subscribed_already(bench: Bench) -> None:
    made = bench.subscriptions
    new = Device("new", "ford")
    made.create(FORD, b"/foo")
    bench.newest, bench.now = 9, 200.0
    made.create(new, b"/foo")
    assert made.substitute("device_token", "ford's", "new") == 1
    assert bench.watching.told[-1] == (FORD, new, {"foo": True})
    assert made.substitute("device_token", "new", "new") == 1
    for found in (made, bench.loaded()):
        (only,) = found.registry
        assert (only.device, only.from_id, only.registered) == (new, 7, 200.0), "the earlier"
    assert made.gone("new", None, 300.0) == 1, "memory and the store agree about it"
    with pytest.raises(BadRequest, match="field must be device_token or user_id"):
        made.substitute("topic", "a", "b")


@pytest.mark.parametrize(
    ("since", "sent_at", "removed"),
    [
        (None, 101.0, 1),  # registered before the send
        (None, 99.0, 0),  # registered again since the send
        (100.5, 101.0, 1),  # died after it was registered
        (99.5, 101.0, 0),  # registered again after it died
    ],
)
def test_a_dead_token_is_removed_unless_it_was_registered_again(
    bench: Bench, since: float | None, sent_at: float, removed: int
) -> None:
    bench.now = 1.0
    bench.subscriptions.create(FORD, b"/foo")
    bench.now = 100.0
    bench.subscriptions.create(FORD, b"/foo")  # the app has come back
    assert bench.subscriptions.gone("ford's", since, sent_at) == removed
    assert len(bench.subscriptions) == len(bench.loaded()) == 1 - removed


def test_what_another_server_has_changed_is_not_removed(bench: Bench) -> None:
    bench.subscriptions.create(FORD, b"/foo")
    theirs = Subscription(FORD, b"/foo", 7, 500.0)
    bench.kvstore.put("fcm.subscriptions", theirs.key, theirs.encode())
    assert bench.subscriptions.gone("ford's", None, 400.0) == 0
    assert len(bench.loaded()) == 1


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("change", ["create", "delete", "substitute", "gone"])
def test_who_is_killed_leaves_no_change_half_made(bench: Bench, change: str, turns: int) -> None:
    made = bench.subscriptions
    made.create(FORD, b"/foo")
    changes: dict[str, Callable[[], object]] = {
        "create": lambda: made.create(TRILLIAN, b"/foo"),
        "delete": lambda: made.delete(FORD, b"/foo"),
        "substitute": lambda: made.substitute("user_id", "ford", "zaphod"),
        "gone": lambda: made.gone("ford's", None, 1000.0),
    }
    asking = gevent.spawn(changes[change])
    for _ in range(turns):
        gevent.sleep(0)
    asking.kill()
    made.create(Device("ford's", "the same lock"), b"/foo")  # it waits for a change that has begun
    made.create(Device("trillian's", "the same lock"), b"/foo")
    kept = {one.device for one in bench.loaded().registry}
    assert {one.device for one in made.registry} == kept


def test_a_store_that_fails_changes_nothing(bench: Bench) -> None:
    made = bench.subscriptions
    made.create(FORD, b"/foo")
    bench.kvstore.stop(5)
    failing: list[Callable[[], object]] = [
        lambda: made.create(TRILLIAN, b"/foo"),
        lambda: made.delete(FORD, b"/foo"),
        lambda: made.substitute("user_id", "ford", "zaphod"),
        lambda: made.gone("ford's", None, 1000.0),
    ]
    for change in failing:
        with pytest.raises(KVError):
            change()
    assert [one.device for one in made.registry] == [FORD]
    assert len(bench.reports.events) == 1
