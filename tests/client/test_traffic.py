"""Traffic: what a server says, handed to whose it is."""

import logging
import threading
from collections.abc import Iterator

import pytest

from gobbler.client import BadAnswer, FetchFailed, Gap, MessagesLost, SubscribeFailed, Subscription
from gobbler.client.fetches import Fetch
from gobbler.client.inbox import Inbox
from gobbler.client.publishing import Publisher
from gobbler.client.traffic import Traffic
from gobbler.client.waiting import Deadline, Waker
from gobbler.protocol import notification
from gobbler.protocol.message import Message

GREETING = notification.connected(b"app-1", b"u", 1)


def message(path: bytes, id: int) -> bytes:
    return Message(path, id, b"", b"", b"", 1).encode()


@pytest.fixture
def waker() -> Iterator[Waker]:
    made = Waker()
    yield made
    made.close()


@pytest.fixture
def publisher() -> Publisher:
    return Publisher(10, 1000, False)


@pytest.fixture
def traffic(publisher: Publisher) -> Traffic:
    made = Traffic(threading.Condition(), publisher, (1.0, 1.0))
    made._lock.acquire()  # as whoever adds routes and fetches; it may be taken again by the same thread
    return made


def subscription(path: bytes, limit: int = 10_000) -> Subscription:
    return Subscription(path, Inbox(limit), None, None, lambda each: None)


def test_at_the_greeting_everything_is_set_up(traffic: Traffic, waker: Waker) -> None:
    one = subscription(b"/a")
    traffic.routes.add(one)
    traffic.fetches.add(Fetch(b"/b", 0, 7))
    assert traffic.take_commands(0) == ([], float("inf"))
    assert traffic.take([GREETING], waker) == set()
    assert traffic.application_id == "app-1"
    assert traffic.take_commands(0)[0] == [b"+ /a 0", b"+ /b 0 7"]
    assert traffic.take_commands(0)[0] == []


def test_everybody_gets_theirs(traffic: Traffic, publisher: Publisher, waker: Waker) -> None:
    one, fetch = subscription(b"/a"), Fetch(b"/b", 0, 7)
    traffic.routes.add(one)
    traffic.fetches.add(fetch)
    sent = publisher.submit(b"x", "m", True, Deadline(0))
    publisher.take(1)
    burst = [
        GREETING,
        notification.fetch_start(b"/a", 1),
        notification.fetch_start(b"/b", 1),
        message(b"/a/x", 1),
        notification.send_ok(b"m", b"/a/x", 1, 2),
        message(b"/b", 5),
        notification.error_gap(b"/a", 2, 3),
        notification.error_gap(b"/b", 6, 7),
        notification.fetch_done(b"/b"),
        notification.fetch_done(b"/a"),
        notification.subscribed_to(b"/a"),
        b"#news of a later version",
    ]
    assert traffic.take(burst, waker) == set()
    first = one.get(0)
    assert first is not None
    assert (first.topic, first.id) == ("/a/x", 1)
    with pytest.raises(MessagesLost):
        one.get(0)
    assert sent.result(0).id == 1
    assert ([each.id for each in fetch.messages], fetch.gaps, fetch.done) == ([5], [Gap("/b", 6, 7)], True)


def test_a_full_inbox_is_reported(traffic: Traffic, waker: Waker) -> None:
    small, large = subscription(b"/a", 1), subscription(b"/b")
    for each in (small, large):
        traffic.routes.add(each)
        traffic.take([notification.fetch_start(each.path, 1)], waker)
    assert traffic.take([message(b"/a", 1), message(b"/b", 1)], waker) == {small.inbox}


def test_a_cancel_is_confirmed(traffic: Traffic, waker: Waker) -> None:
    one = subscription(b"/a")
    traffic.routes.add(one)
    traffic.routes.remove(one, connected=True)
    traffic.fetches.add(Fetch(b"/b", 0, 1))
    traffic.take([notification.canceled(b"/a"), notification.canceled(b"/b")], waker)
    assert len(traffic.routes) == len(traffic.fetches) == 0


def test_failures(traffic: Traffic, waker: Waker, caplog: pytest.LogCaptureFixture) -> None:
    one, fetch, other = subscription(b"/a"), Fetch(b"/b:", 0, 7), Fetch(b"/c", 0, 7)
    traffic.routes.add(one)
    traffic.fetches.add(fetch)
    traffic.fetches.add(other)
    burst = [
        notification.error_subscribed_to(b"/a", "too many: 10"),
        notification.error_server_internal("/b:: cannot be read"),
        notification.error_server_internal("something else"),
        notification.error_bad_request("not subscribed to /x"),
    ]
    with caplog.at_level(logging.DEBUG):
        traffic.take(burst, waker)
    assert isinstance(one.error, SubscribeFailed)
    assert "too many: 10" in str(one.error)
    assert isinstance(fetch.error, FetchFailed)
    assert "cannot be read" in str(fetch.error)
    assert not other.done
    assert "something else" in caplog.text
    assert "not subscribed to /x" in caplog.text


def test_without_a_connection_there_are_no_commands(traffic: Traffic, waker: Waker) -> None:
    traffic.routes.add(subscription(b"/a"))
    traffic.take([GREETING], waker)
    traffic.lost()
    assert traffic.application_id == ""
    assert traffic.take_commands(0)[0] == []
    traffic.take([GREETING], waker)
    assert traffic.take_commands(0)[0] == [b"+ /a 0"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"/a,1",
        b"#",
        b"#connected\n{}",
        b"#connected\n[1",
        b"!error-gap /a 1",
        b"!error-gap /a x y",
        notification.send_ok(b"m", b"/a", 1, 2),
    ],
)
def test_what_no_gobbler_says(traffic: Traffic, waker: Waker, payload: bytes) -> None:
    with pytest.raises(BadAnswer):
        traffic.take([payload], waker)
