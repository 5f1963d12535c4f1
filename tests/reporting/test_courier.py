"""The courier between a backlog and producers that fail in every way."""

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from kafka.errors import (
    InvalidRecordError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    UnknownError,
)
from kafka.future import Future
from prometheus_client import CollectorRegistry

from gobbler.reporting import courier as module
from gobbler.reporting.backlog import Backlog, Record
from gobbler.reporting.courier import Courier
from gobbler.reporting.metrics import REFUSED, ReportingMetrics
from gobbler.reporting.network import Client
from tests.system.server import SECONDS, eventually

Answer = Callable[[str, Future], None]


def confirm(name: str, future: Future) -> None:
    future.success(None)


def say_nothing(name: str, future: Future) -> None:
    """Neither confirm nor fail."""


def fail(error: Exception) -> Answer:
    return lambda name, future: future.failure(error)


class Producer:
    """A producer that answers each record as `answer` does."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.sent: list[str] = []
        self.aborted = False

    def send(
        self, topic: str, value: bytes | None = None, key: bytes | None = None, *, timestamp_ms: int | None
    ) -> Future:
        assert (topic, value, timestamp_ms) == ("events", b"value", 42)
        assert key is not None
        future = Future()
        self.sent.append(key.decode())
        self.answer(key.decode(), future)
        return future

    def abort(self) -> None:
        self.aborted = True


class Post:
    """A courier whose producers are those given, one after the other; the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.registry = CollectorRegistry()
        self.metrics = ReportingMetrics(self.registry)
        self.backlog = Backlog(1 << 30)
        self.producers: list[Producer] = []
        self._answers = list(answers)
        self.courier = Courier("events", self.backlog, self._connect, self.metrics)

    def _connect(self, notice: Callable[[Client], None]) -> Producer:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.producers.append(Producer(answer))
        return self.producers[-1]

    def add(self, *names: str) -> None:
        for name in names:
            assert self.backlog.add(Record(name.encode(), b"value", 42))
        self.courier.wake()

    def deliver(self, *names: str) -> list[list[str]]:
        """Deliver, stop, and return what each producer was sent."""
        self.add(*names)
        self.courier.start()
        self.wait_for(lambda: not len(self.backlog))
        self.end()
        return self.sent

    def end(self) -> None:
        self.courier.finish(0)
        self.courier.abandon()
        self.courier.join()

    def wait_for(self, reached: Callable[[], bool]) -> None:
        deadline = eventually()
        while not reached():
            deadline.again()

    @property
    def sent(self) -> list[list[str]]:
        """What each producer was sent."""
        return [producer.sent for producer in self.producers]

    @property
    def reported(self) -> int:
        return int(self.registry.get_sample_value("gobbler_events_reported_total") or 0)

    @property
    def refused(self) -> int:
        labels = {"reason": REFUSED}
        return int(self.registry.get_sample_value("gobbler_events_dropped_total", labels) or 0)


class Clock:
    """The courier's `time`, which passes only where a test lets it."""

    sleep = staticmethod(time.sleep)

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing long."""
    for name in (
        "FIRST_PAUSE_SECONDS",
        "LONGEST_PAUSE_SECONDS",
        "GATHER_SECONDS",
        "TURN_SECONDS",
        "LOOK_SECONDS",
    ):
        monkeypatch.setattr(module, name, 0.005)


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before  # one of an earlier test may have ended meanwhile


def test_what_is_confirmed_is_settled_in_order() -> None:
    post = Post(confirm)
    assert post.deliver("a", "b", "c") == [["a", "b", "c"]]
    assert (post.reported, post.backlog.size) == (3, 0)
    assert post.producers[0].aborted


def test_what_comes_later_is_delivered_too() -> None:
    post = Post(confirm)
    post.courier.start()
    for count in range(1, 4):
        post.add("x")
        post.wait_for(lambda count=count: post.reported == count)  # type: ignore[misc]
    post.end()
    assert post.producers[0].sent == ["x"] * 3


@pytest.mark.parametrize(
    "error",
    [KafkaConnectionError("gone"), UnknownError("hm"), TopicAuthorizationFailedError("no"), KafkaError("x")],
)
def test_what_may_be_mended_is_sent_again_by_a_new_producer(error: KafkaError) -> None:
    def half(name: str, future: Future) -> None:
        (confirm if name in "ac" else fail(error))(name, future)

    post = Post(half, confirm)
    assert post.deliver("a", "b", "c", "d") == [["a", "b", "c", "d"], ["b", "d"]]
    assert (post.reported, post.refused) == (4, 0)
    assert post.producers[0].aborted


def test_what_is_refused_is_dropped_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def picky(name: str, future: Future) -> None:
        (fail(InvalidRecordError("odd")) if name == "b" else confirm)(name, future)

    post = Post(picky)
    assert post.deliver("a", "b", "c") == [["a", "b", "c"]]
    assert (post.reported, post.refused) == (2, 1)
    assert caplog.messages == ["the Kafka topic events refuses 1 events: [Error 87] InvalidRecordError: odd"]


def test_what_is_refused_before_it_is_sent_is_dropped_too() -> None:
    def small(name: str, future: Future) -> None:
        if name == "b":
            raise MessageSizeTooLargeError("large")
        confirm(name, future)

    post = Post(small)
    assert post.deliver("a", "b", "c") == [["a", "b", "c"]]
    assert (post.reported, post.refused) == (2, 1)


def test_a_producer_that_cannot_send_is_replaced() -> None:
    def broken(name: str, future: Future) -> None:
        raise KafkaConnectionError("no metadata")

    post = Post(broken, broken, confirm)
    assert post.deliver("a", "b") == [["a"], ["a"], ["a", "b"]]


def test_a_defect_is_logged_and_does_not_end_the_courier(caplog: pytest.LogCaptureFixture) -> None:
    def defect(name: str, future: Future) -> None:
        raise ZeroDivisionError("oh")

    post = Post(defect, confirm)
    assert post.deliver("a") == [["a"], ["a"]]
    assert caplog.messages[0] == "reporting to the Kafka topic events failed"
    assert caplog.records[0].exc_info is not None


def test_a_long_silence_is_said_once_and_ends_the_producer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    post = Post(say_nothing, say_nothing, confirm)
    post.add("a", "b")
    post.courier.start()
    post.wait_for(lambda: post.sent == [["a", "b"]])
    clock.now += 6
    post.wait_for(lambda: len(caplog.messages) == 1)
    assert len(post.producers) == 1
    clock.now += 25
    post.wait_for(lambda: post.sent == [["a", "b"]] * 2)
    clock.now += 31
    post.wait_for(lambda: not len(post.backlog))
    post.end()
    assert post.sent == [["a", "b"]] * 3
    away, back = caplog.messages
    assert away == "the Kafka topic events takes no events, they are kept for now: no answer for 6 s"
    assert back == "the Kafka topic events takes events again, after 56 s"


def test_little_is_with_the_producer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    futures: list[Future] = []
    post = Post(lambda name, future: futures.append(future))
    size = Record(b"x", b"value", 42).size
    monkeypatch.setattr(module, "AHEAD_BYTES", 60 * size)
    post.add(*["x"] * 300)
    post.courier.start()
    # A burst is not cut, so it is 60, or up to 50 more.
    post.wait_for(lambda: len(futures) == 100)
    for future in futures[:50]:
        future.success(None)
    # The courier may settle them in two goes, and hand over after the first.
    post.wait_for(lambda: post.reported == 50 and len(futures) >= 150)
    post.end()
    assert (len(futures), post.reported, len(post.backlog)) == (150, 50, 250)


def test_finishing_waits_for_the_last_confirmation() -> None:
    futures: list[Future] = []
    post = Post(lambda name, future: futures.append(future))
    post.add("a", "b")
    post.courier.start()
    post.wait_for(lambda: len(futures) == 2)
    ended = threading.Event()

    def finish() -> None:
        post.courier.finish(1e9)
        post.courier.join()
        ended.set()

    thread = threading.Thread(target=finish)
    thread.start()
    futures[1].success(None)
    assert not ended.wait(0.1)
    futures[0].success(None)
    assert ended.wait(SECONDS)
    thread.join(SECONDS)
    assert (post.reported, len(post.backlog)) == (2, 0)


def test_finishing_ends_with_the_first_failure() -> None:
    futures: list[Future] = []
    post = Post(lambda name, future: futures.append(future))
    post.add("a")
    post.courier.start()
    post.wait_for(lambda: len(futures) == 1)
    post.courier.finish(1e9)
    futures[0].failure(KafkaConnectionError("gone"))
    post.courier.join()
    assert (len(post.producers), len(post.backlog)) == (1, 1)


def test_what_is_confirmed_while_a_producer_is_given_up_is_settled() -> None:
    futures: list[Future] = []
    post = Post(lambda name, future: futures.append(future))
    post.add("a", "b")
    post.courier.start()
    post.wait_for(lambda: len(futures) == 2)
    futures[0].success(None)
    post.end()
    assert (post.reported, len(post.backlog)) == (1, 1)
    assert post.backlog.take().key == b"b"


def test_a_search_that_begins_too_late_is_given_up_at_once() -> None:
    given_up: list[str] = []

    class Late(Client):
        def __init__(self) -> None:
            """Have no network at all."""

        def give_up(self) -> None:
            given_up.append("late")

    post = Post(confirm)
    post.courier.abandon()
    post.courier._notice(Late())
    assert given_up == ["late"]
