"""The way in: groups, answers, failures, stopping."""

from collections.abc import Callable, Iterator, Sequence

import gevent
import pytest
from gevent.event import Event

from gobbler.errors import GobblerError, Stopping, StoreError, StoreUnavailable
from gobbler.kvstore.memory import MemoryKVStore
from gobbler.metrics import Metrics
from gobbler.protocol.run import Run
from gobbler.router.intake import Intake
from gobbler.store.base import Committed, Group
from gobbler.store.memory import MemoryStore

TIME = 1_400_000_000
DEADLINE = 5.0


class Store(MemoryStore):
    """Remembers what is appended together; may wait, fail, or break."""

    def __init__(self) -> None:
        super().__init__(1 << 20, MemoryKVStore(), lambda: TIME)
        self.appended: list[list[tuple[str, int]]] = []
        self.gate = Event()
        self.gate.set()
        self.failing: dict[str, StoreError] = {}
        self.broken = False

    def append(self, groups: Sequence[Group]) -> list[Committed | StoreError]:
        self.appended.append([(partition, sum(map(len, runs))) for partition, runs in groups])
        self.gate.wait()
        if self.broken:
            raise RuntimeError("a bug")
        return [
            self.failing.get(group.partition) or super(Store, self).append([group])[0] for group in groups
        ]


class Reply:
    """Writes down what it is told, in a list that it shares with others."""

    def __init__(self, told: list[tuple[bytes, int | str]], then: Callable[[], None] = lambda: None) -> None:
        self._told = told
        self._then = then

    def stored(self, run: Run, first_id: int, time: int) -> None:
        assert time == TIME
        self._told.append((run.path, first_id))
        self._then()

    def failed(self, run: Run, error: GobblerError) -> None:
        self._told.append((run.path, str(error)))
        self._then()


class Rig:
    """An intake with its store, and all that was told to anyone."""

    def __init__(self) -> None:
        self.store = Store()
        self.store._kvstore.start()
        self.store.start()
        self.metrics = Metrics("test")
        self.intake = Intake(self.store, self.metrics)
        self.told: list[tuple[bytes, int | str]] = []
        self._done = Event()
        self._expected = 0

    def submit(self, path: bytes, number: int = 1) -> None:
        self.intake.submit(Run(path, b"", b"app", [b"\nx"] * number), Reply(self.told, self._count))

    def wait(self, number: int) -> list[tuple[bytes, int | str]]:
        """Return what was told when there are `number` answers in all."""
        self._expected = number
        self._done.clear()
        self._count()
        assert self._done.wait(DEADLINE), self.told
        return self.told

    def _count(self) -> None:
        if len(self.told) >= self._expected:
            self._done.set()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.intake.start()
    yield rig
    rig.store.gate.set()
    rig.intake.stop(DEADLINE)


def test_what_comes_in_one_turn_is_committed_together_by_partition(rig: Rig) -> None:
    rig.submit(b"/a/x", 2)
    rig.submit(b"/b")
    rig.submit(b"/a/y", 3)
    assert rig.wait(3) == [(b"/a/x", 1), (b"/a/y", 3), (b"/b", 1)]
    assert rig.store.appended == [[("a", 5), ("b", 1)]]


def test_what_comes_during_a_commit_gathers_for_the_next(rig: Rig) -> None:
    rig.store.gate.clear()
    rig.submit(b"/a")
    gevent.sleep(0)
    assert rig.store.appended == [[("a", 1)]]
    for _ in range(10):
        rig.submit(b"/a", 5)
        gevent.sleep(0)
    assert rig.told == []
    rig.store.gate.set()
    assert rig.wait(11) == [(b"/a", id) for id in (1, *range(2, 52, 5))]
    assert rig.store.appended == [[("a", 1)], [("a", 50)]]


def test_answers_come_in_another_turn(rig: Rig) -> None:
    rig.submit(b"/a")
    assert rig.told == []
    rig.wait(1)


def test_a_group_that_fails_is_told_to_its_own_only(rig: Rig) -> None:
    rig.store.failing["a"] = StoreUnavailable("disk full")
    rig.submit(b"/a", 2)
    rig.submit(b"/b")
    rig.submit(b"/a")
    assert rig.wait(3) == [(b"/a", "disk full"), (b"/a", "disk full"), (b"/b", 1)]
    page = rig.metrics.render()[0].decode()
    assert 'gobbler_errors_total{kind="store-unavailable"} 3.0' in page
    assert "gobbler_messages_stored_total 1.0" in page
    assert "gobbler_commits_total 1.0" in page
    assert "gobbler_publish_seconds_count 1.0" in page


def test_a_store_that_breaks_is_told_to_all_and_the_next_commit_goes_on(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.store.broken = True
    rig.submit(b"/a")
    rig.submit(b"/b")
    assert rig.wait(2) == [(b"/a", "the message store failed"), (b"/b", "the message store failed")]
    assert "committing failed" in caplog.text
    rig.store.broken = False
    rig.submit(b"/a")
    assert rig.wait(3)[2:] == [(b"/a", 1)]


def test_a_failing_reply_keeps_nobody_from_theirs(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    rig.intake.submit(Run(b"/a", b"", b"app", [b"\nx", b"\ny"]), Reply([], fail))
    rig.submit(b"/a")
    assert rig.wait(1) == [(b"/a", 3)]
    assert "answering a publisher failed" in caplog.text
    rig.submit(b"/a")
    assert rig.wait(2)[1:] == [(b"/a", 4)]


def test_a_reply_may_submit_again(rig: Rig) -> None:
    told: list[tuple[bytes, int | str]] = []
    rig.intake.submit(Run(b"/a", b"", b"app", [b"\nx"]), Reply(told, lambda: rig.submit(b"/a")))
    assert rig.wait(1) == [(b"/a", 2)]
    assert told == [(b"/a", 1)]


def test_stopping_answers_what_was_taken_and_takes_no_more(rig: Rig) -> None:
    rig.store.gate.clear()
    rig.submit(b"/a")
    gevent.sleep(0)
    rig.submit(b"/a")
    stopping = gevent.spawn(rig.intake.stop, DEADLINE)
    gevent.sleep(0)
    with pytest.raises(Stopping, match=r"^the server is stopping$"):
        rig.submit(b"/a")
    rig.store.gate.set()
    stopping.get(timeout=DEADLINE)
    assert rig.told == [(b"/a", 1), (b"/a", 2)]


def test_what_there_is_no_time_for_is_refused(rig: Rig) -> None:
    rig.store.gate.clear()
    rig.submit(b"/a")
    gevent.sleep(0)
    rig.submit(b"/b")
    rig.intake.stop(0)
    assert rig.told == [(b"/b", "the server is stopping")]


def test_it_takes_nothing_before_the_start_and_can_be_started_again() -> None:
    rig = Rig()
    rig.intake.stop(0)
    with pytest.raises(Stopping):
        rig.submit(b"/a")
    for first_id in (1, 2):
        rig.intake.start()
        rig.submit(b"/a")
        assert rig.wait(first_id)[-1] == (b"/a", first_id)
        rig.intake.stop(DEADLINE)
        rig.intake.stop(DEADLINE)


def test_runs_that_came_just_before_the_stop_are_stored(rig: Rig) -> None:
    rig.submit(b"/a")
    rig.intake.stop(DEADLINE)
    assert rig.told == [(b"/a", 1)]
