"""Who is subscribed: clients and devices, by topic."""

from collections.abc import Iterator, Mapping

import pytest

from gobbler.admin import subscribed
from gobbler.admin.subscribed import MAX_COUNTED, MAX_LIMIT, shortened
from gobbler.connectors.audience import Everybody
from gobbler.connectors.subscription import Device
from gobbler.connectors.subscriptions import Subscriptions
from gobbler.kvstore.memory import MemoryKVStore
from gobbler.metrics import Metrics
from gobbler.protocol.block import Chunk
from gobbler.reporting.base import Nobody
from gobbler.router.routes import Route, Router
from tests.admin.asking import Asker, Json

TOKEN = "0123456789abcdef0123"


class Silent:
    """A consumer of nothing."""

    def deliver(self, chunk: Chunk) -> None:
        raise AssertionError(chunk)


class Crowd:
    """A source that a test makes up."""

    def __init__(self, numbers: dict[bytes, int]) -> None:
        self._numbers = numbers

    def numbers(self) -> Iterator[tuple[bytes, int]]:
        return iter(self._numbers.items())

    def at(self, path: bytes) -> Iterator[Mapping[str, str]]:
        return ({"user_id": str(number)} for number in range(self._numbers.get(path, 0)))


@pytest.fixture
def router() -> Router:
    return Router(Metrics("test"))


@pytest.fixture
def devices() -> Iterator[Subscriptions]:
    kvstore = MemoryKVStore()
    kvstore.start()
    yield Subscriptions("fcm", kvstore, lambda partition: 0, Nobody())
    kvstore.stop(1)


@pytest.fixture
def asker(router: Router, devices: Subscriptions) -> Asker:
    return Asker(subscribed.blueprint({"clients": router, "fcm": devices, "sms": Everybody("sms", b"/sms")}))


def subscribe(router: Router, path: bytes, user: str = "u", app: str = "a") -> Route:
    route = Route(path, {"user_id": user, "application_id": app}, Silent())
    router.subscribe(route)
    return route


def client(topic: str, user: str, app: str) -> Json:
    return {"source": "clients", "topic": topic, "userId": user, "applicationId": app, "device": None}


def device(source: str, topic: str, user: str | None, shown: str | None) -> Json:
    return {"source": source, "topic": topic, "userId": user, "applicationId": None, "device": shown}


def numbers(page: Json) -> dict[str, dict[str, int]]:
    return {one["topic"]: one["numbers"] for one in page["subscriptions"]}


def test_the_topics_with_how_many_there_are(asker: Asker, router: Router, devices: Subscriptions) -> None:
    for path in (b"/foo", b"/foo", b"/foo/bar", "/grün".encode()):
        subscribe(router, path)
    ended = subscribe(router, b"/gone")
    router.unsubscribe(ended)
    devices.create(Device(TOKEN, "u"), b"/foo")
    devices.create(Device(TOKEN, "u"), b"/push")
    page = asker.get("/subscriptions")
    assert numbers(page) == {
        "/foo": {"clients": 2, "fcm": 1},
        "/foo/bar": {"clients": 1},
        "/grün": {"clients": 1},
        "/push": {"fcm": 1},
        "/sms": {"sms": 1},
    }
    assert (list(numbers(page)), page["next"]) == (sorted(numbers(page)), None)


def test_topics_come_in_pages_and_begin_with_the_prefix(
    asker: Asker, router: Router, devices: Subscriptions
) -> None:
    for number in range(7):
        subscribe(router, b"/a%d" % number)
        devices.create(Device(TOKEN, "u"), b"/a%d" % (number * 2))
    page = asker.get("/subscriptions", limit=3)
    found, pages = [*numbers(page)], 1
    while page["next"] is not None:
        page = asker.get("/subscriptions", limit=3, after=page["next"])
        found += numbers(page)
        pages += 1
    names = sorted({*[f"/a{n}" for n in range(7)], *[f"/a{2 * n}" for n in range(7)], "/sms"})
    assert (found, pages) == (names, 4)
    assert numbers(asker.get("/subscriptions", prefix="/a1")) == {
        "/a1": {"clients": 1},
        "/a10": {"fcm": 1},
        "/a12": {"fcm": 1},
    }
    assert numbers(asker.get("/subscriptions", prefix="/x")) == {}


def test_who_gets_messages_to_a_topic(asker: Asker, router: Router, devices: Subscriptions) -> None:
    subscribe(router, b"/foo", "marvin", "app1")
    subscribe(router, b"/foo/bar", "", "app2")
    subscribe(router, b"/foo/bar/baz", "deeper", "app3")
    subscribe(router, b"/foobar", "beside", "app4")
    devices.create(Device(TOKEN, "ford"), b"/foo")
    page = asker.get("/subscribers", topic="/foo/bar")
    assert page == {
        "topic": "/foo/bar",
        "total": 3,
        "more": False,
        "subscribers": [
            client("/foo/bar", "", "app2"),
            client("/foo", "marvin", "app1"),
            device("fcm", "/foo", "ford", "012345…0123"),
        ],
    }
    (sms,) = asker.get("/subscribers", topic="/sms/x")["subscribers"]
    assert sms == device("sms", "/sms", None, None)
    assert asker.get("/subscribers", topic="/none")["subscribers"] == []


def test_subscribers_come_in_pages(asker: Asker, router: Router) -> None:
    for number in range(7):
        subscribe(router, b"/foo", f"u{number}")

    def users(**asked: int) -> list[str]:
        page = asker.get("/subscribers", topic="/foo", **asked)
        assert (page["total"], page["more"]) == (7, False)
        return [one["userId"] for one in page["subscribers"]]

    assert users(limit=3) == ["u0", "u1", "u2"]
    assert users(limit=3, offset=6) == ["u6"]
    assert users(offset=7) == []


def test_of_a_crowd_a_bounded_number_is_looked_at() -> None:
    asker = Asker(subscribed.blueprint({"clients": Crowd({b"/foo": 10 * MAX_COUNTED})}))
    page = asker.get("/subscribers", topic="/foo", offset=MAX_COUNTED - 1, limit=10)
    assert (page["total"], page["more"], len(page["subscribers"])) == (MAX_COUNTED, True, 1)
    exactly = Asker(subscribed.blueprint({"clients": Crowd({b"/foo": MAX_COUNTED})}))
    page = exactly.get("/subscribers", topic="/foo")
    assert (page["total"], page["more"]) == (MAX_COUNTED, False)


def test_a_hundred_thousand_topics(router: Router) -> None:
    many = {b"/user-%06d" % number: 1 for number in range(100_000)}
    asker = Asker(subscribed.blueprint({"clients": Crowd(many), "fcm": Crowd(many)}))
    page = asker.get("/subscriptions", after="/user-050000", limit=2)
    assert numbers(page) == {f"/user-05000{n}": {"clients": 1, "fcm": 1} for n in (1, 2)}
    assert page["next"] == "/user-050002"


@pytest.mark.parametrize(
    ("path", "asked", "text"),
    [
        ("/subscriptions", {"limit": 0}, "limit must be at least 1"),
        ("/subscriptions", {"limit": MAX_LIMIT + 1}, f"limit must be at most {MAX_LIMIT}"),
        ("/subscribers", {}, "topic is missing"),
        ("/subscribers", {"topic": "foo"}, "topic must begin with '/'"),
        ("/subscribers", {"topic": "/foo", "limit": MAX_LIMIT + 1}, f"limit must be at most {MAX_LIMIT}"),
        ("/subscribers", {"topic": "/foo", "offset": MAX_COUNTED + 1},
         f"offset must be at most {MAX_COUNTED}"),
    ],
)  # fmt: skip
def test_a_bad_request_is_told_why(asker: Asker, path: str, asked: dict[str, object], text: str) -> None:
    assert asker.refusal(path, **asked) == (400, text)


@pytest.mark.parametrize(
    ("token", "shown"),
    [(TOKEN, "012345…0123"), ("x" * 17, "xxxxxx…xxxx"), ("x" * 16, "xx…"), ("abc", "ab…"), ("a", "a…")],
)
def test_a_token_is_never_shown_whole(token: str, shown: str) -> None:
    assert shortened(token) == shown
