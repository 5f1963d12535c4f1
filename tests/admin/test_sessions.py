"""The list of sessions."""

import time
from collections.abc import Iterator, Set

import gevent
import pytest

from gobbler.admin import sessions
from gobbler.admin.sessions import MAX_LIMIT, MAX_TOPICS, SLOW_SECONDS
from gobbler.websocket.session import Session
from tests.admin.asking import Asker, Json
from tests.websocket.rig import TIME, Client, World, memory_store, wait_until, world


class Clock:
    """That of the connections, and some seconds more."""

    later = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.later


class Crowd(Set[Session]):
    """A set in which one session stands many times."""

    def __init__(self, session: Session, number: int) -> None:
        self._all = [session] * number

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._all)

    def __contains__(self, one: object) -> bool:
        return one in self._all


class Door:
    """Sessions, and the page that lists them."""

    def __init__(self, there: World) -> None:
        self.there = there
        self.sessions: set[Session] = set()
        self.clock = Clock()
        self.asker = Asker(sessions.blueprint(self.sessions, self.clock))

    def connect(self, user: str, app: str, *paths: bytes, send_buffer: int = 0) -> tuple[Client, Session]:
        client, session = self.there.connect(user, send_buffer, app)
        self.sessions.add(session)
        client.send(*[b"+ " + path for path in paths])
        client.expect(*[b"#subscribed-to " + path for path in paths])
        return client, session

    def list(self, **asked: object) -> list[str]:
        return [one["applicationId"] for one in self.asker.get("/sessions", **asked)["sessions"]]


@pytest.fixture
def door() -> Iterator[Door]:
    with world(memory_store()) as there:
        yield Door(there)


def test_without_sessions_there_are_none(door: Door) -> None:
    assert door.asker.get("/sessions") == {"total": 0, "matching": 0, "slow": 0, "sessions": []}


def test_what_is_told_of_a_session(door: Door) -> None:
    door.connect("marvin", "a1", b"/foo", b"/foo/bar", "/ü".encode())
    assert door.asker.get("/sessions") == {
        "total": 1,
        "matching": 1,
        "slow": 0,
        "sessions": [
            {
                "userId": "marvin",
                "applicationId": "a1",
                "since": TIME,
                "subscriptions": 3,
                "topics": ["/foo", "/foo/bar", "/ü"],
                "catchingUp": 0,
                "queuedBytes": 0,
                "fullSeconds": 0.0,
                "slow": False,
            }
        ],
    }


def test_few_topics_of_a_session_are_listed(door: Door) -> None:
    door.connect("u", "a", *[b"/t/%d" % number for number in range(MAX_TOPICS + 5)])
    (one,) = door.asker.get("/sessions")["sessions"]
    assert (one["subscriptions"], len(one["topics"])) == (MAX_TOPICS + 5, MAX_TOPICS)


def test_who_does_not_read_is_slow_and_first(door: Door) -> None:
    door.connect("quick", "a1")
    slow, session = door.connect("slow", "a2", b"/foo", send_buffer=4096)
    door.connect("quick", "a3")
    for _ in range(20):
        door.there.store_messages(b"/foo", b"x" * 100_000)
    wait_until(lambda: session.connection.full_since)

    def found() -> Json:
        return door.asker.get("/sessions")

    assert found()["sessions"][0]["slow"] is False, "that happens to everybody for a moment"
    door.clock.later = SLOW_SECONDS + 0.5
    page = found()
    first = page["sessions"][0]
    assert (page["total"], page["slow"], first["applicationId"], first["slow"]) == (3, 1, "a2", True)
    assert first["fullSeconds"] >= SLOW_SECONDS
    assert first["queuedBytes"] == session.connection.queued > 100_000
    assert first["catchingUp"] == 1, "what it cannot take is left in the log"
    for _ in range(20):
        while not slow.receive().startswith(b"/foo,"):
            pass
    wait_until(lambda: not session.connection.full_since and not session.catching_up)
    page = found()
    assert (page["slow"], page["sessions"][0]["fullSeconds"]) == (0, 0)


def test_orders(door: Door) -> None:
    for number, name in enumerate(("b", "c", "a")):
        _, session = door.connect("u", name, *[b"/t/%d" % one for one in range((number * 2) % 5)])
        session.since = {"a": 5, "b": 3, "c": 4}[name]
    assert door.list(order="oldest") == ["b", "c", "a"]
    assert door.list(order="newest") == ["a", "c", "b"]
    assert door.list(order="subscriptions") == ["a", "c", "b"]
    assert sorted(door.list(order="queued")) == sorted(door.list()) == ["a", "b", "c"]


def test_search_and_pages(door: Door) -> None:
    for number in range(5):
        _, session = door.connect("marvin" if number % 2 else "ford", f"app{number}")
        session.since = number
    assert door.list(order="oldest", offset=1, limit=2) == ["app1", "app2"]
    assert door.list(order="oldest", offset=4, limit=2) == ["app4"]
    assert door.list(order="oldest", offset=50) == []
    assert door.list(order="oldest", search="marvin") == ["app1", "app3"]
    assert door.list(order="oldest", search="app3") == ["app3"]
    page = door.asker.get("/sessions", search="arv", limit=1)
    assert (page["total"], page["matching"], len(page["sessions"])) == (5, 2, 1)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"limit": 0}, "limit must be at least 1"),
        ({"limit": MAX_LIMIT + 1}, f"limit must be at most {MAX_LIMIT}"),
        ({"offset": -1}, "offset must be at least 0"),
        ({"order": "x"}, "order must be one of slow, queued, subscriptions, oldest, newest"),
    ],
)
def test_a_bad_request_is_told_why(door: Door, asked: dict[str, object], text: str) -> None:
    assert door.asker.refusal("/sessions", **asked) == (400, text)


def test_a_hundred_thousand_sessions_keep_nobody_waiting(door: Door) -> None:
    """Asked for while something else has to have its turn: it waits a few milliseconds at a time."""
    _, session = door.connect("u", "a")
    lags: list[float] = []

    def measure() -> None:
        last = time.monotonic()
        while True:
            gevent.sleep(0)
            now = time.monotonic()
            lags.append(now - last)
            last = now

    asker = Asker(sessions.blueprint(Crowd(session, 100_000)))
    greenlet = gevent.spawn(measure)
    page = asker.get("/sessions", order="oldest")
    greenlet.kill()
    assert (page["total"], len(page["sessions"])) == (100_000, 50)
    assert len(lags) > 150
    assert sorted(lags)[len(lags) * 9 // 10] < 0.05
