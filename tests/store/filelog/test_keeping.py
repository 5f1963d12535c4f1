"""What happens beside reading and writing: syncing, saving indexes, retention."""

from pathlib import Path

import gevent
import gevent.event
import pytest

from gobbler.errors import StoreUnavailable
from gobbler.store.base import Bounds, Group
from gobbler.store.filelog import keeping
from gobbler.store.filelog.partition import Partition
from gobbler.store.filelog.retention import Retention
from tests.store.filelog.conftest import Open
from tests.store.filelog.faulty import FaultyFiles
from tests.store.model import Model, append, check_all, publish, run


class Recorder(FaultyFiles):
    """Remembers what was synced, in order, and wakes whoever waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.synced: list[str] = []
        self.event = gevent.event.Event()

    def sync(self, path: str) -> None:
        super().sync(path)
        self.synced.append(Path(path).parent.name)
        self.event.set()

    def sync_folder(self, path: str) -> None:
        super().sync_folder(path)
        self.synced.append(Path(path).name + "/")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tend the log often."""
    monkeypatch.setattr(keeping, "_TEND_SECONDS", 0.001)


def test_what_was_written_is_synced_with_its_folders_and_then_only_what_is_new(open_store: Open) -> None:
    files, model = Recorder(), Model()
    store = open_store(sync_seconds=3600, segment_bytes=10_000, files=files)
    publish(store, model, "/foo", "1")
    publish(store, model, "/foo", "2")
    publish(store, model, "/bar", "1")
    assert files.synced == []
    store._keeper.sync()
    assert files.synced == ["foo", "foo/", "messages/", "bar", "bar/", "messages/"]
    store._keeper.sync()
    publish(store, model, "/foo", "3")
    store._keeper.sync()
    assert files.synced[6:] == ["foo"]


def test_syncing_happens_by_itself(open_store: Open) -> None:
    files = Recorder()
    store = open_store(sync_seconds=0.001, files=files)
    publish(store, Model(), "/foo", "1")
    assert files.event.wait(10)
    assert files.synced[0] == "foo"


def test_stopping_syncs_what_is_left(open_store: Open) -> None:
    files = Recorder()
    store = open_store(sync_seconds=3600, files=files)
    publish(store, Model(), "/foo", "1")
    store.stop(5)
    assert files.synced[0] == "foo"


def test_never_means_never(open_store: Open) -> None:
    files = Recorder()
    store = open_store(sync_seconds=None, files=files)
    publish(store, Model(), "/foo", "1")
    store.stop(5)
    assert files.synced == []


def test_a_stop_in_the_middle_of_a_sync_loses_none(open_store: Open) -> None:
    entered = gevent.event.Event()

    class Stuck(Recorder):
        def sync(self, path: str) -> None:
            if not entered.is_set():
                entered.set()
                gevent.sleep(3600)  # until the stop kills the greenlet that waits here
            super().sync(path)

    files, model = Stuck(), Model()
    store = open_store(sync_seconds=0.001, files=files)
    for name in ("a", "b", "c"):
        publish(store, model, f"/{name}", "1")
    assert entered.wait(10)
    store.stop(5)
    assert {name for name in files.synced if not name.endswith("/")} == {"a", "b", "c"}


def test_a_sync_that_fails_is_told_and_the_partition_goes_on_in_a_new_segment(open_store: Open) -> None:
    files, model = Recorder(), Model()
    store = open_store(sync_seconds=3600, segment_bytes=10_000, files=files)
    publish(store, model, "/foo", "1")
    publish(store, model, "/bar", "1")
    store.check()
    files.break_("sync", times=1)
    store._keeper.sync()
    with pytest.raises(StoreUnavailable, match="could not sync"):
        store.check()
    assert files.synced[0] == "bar"  # the others are synced all the same
    publish(store, model, "/foo", "2")
    publish(store, model, "/bar", "2")
    assert [len(store.partition(name).segments) for name in ("foo", "bar")] == [2, 1]
    check_all(store, model)


def test_a_partition_that_was_let_go_is_distrusted_too(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gobbler.store.filelog.store.OPEN_PARTITIONS", 1)
    files, model = Recorder(), Model()
    store = open_store(sync_seconds=3600, segment_bytes=10_000, files=files)
    publish(store, model, "/foo", "1")
    publish(store, model, "/bar", "1")
    assert [partition.name for partition in store.loaded()] == ["bar"]
    files.break_("sync", times=1)
    store._keeper.sync()
    publish(store, model, "/foo", "2")
    assert len(store.partition("foo").segments) == 2
    check_all(store, model)


def test_what_retention_has_removed_need_not_be_synced(open_store: Open) -> None:
    files, model = Recorder(), Model()
    store = open_store(sync_seconds=3600, files=files)
    for _ in range(4):
        publish(store, model, "/foo", "x" * 600)
    Retention(size=1).enforce(store.partition("foo"), 0)
    files.break_("sync", times=1)
    store._keeper.sync()
    store.check()


def test_before_every_answer_the_files_are_synced(open_store: Open) -> None:
    files, model = Recorder(), Model()
    store = open_store(sync_seconds=0, segment_bytes=10_000, files=files)
    told: list[tuple[str, list[str]]] = []
    store.listen(lambda partition, blocks: told.append((partition, list(files.synced))))
    publish(store, model, "/foo", "1")
    assert told == [("foo", ["foo", "foo/", "messages/"])]
    publish(store, model, "/foo", "2")
    assert files.synced == ["foo", "foo/", "messages/", "foo"]


def test_many_files_are_synced_at_once(open_store: Open) -> None:
    inside: list[int] = [0, 0]
    all_in = gevent.event.Event()

    class Meeting(Recorder):
        def sync(self, path: str) -> None:
            inside[0] += 1
            inside[1] = max(inside)
            if inside[0] == 4:
                all_in.set()
            assert all_in.wait(10)
            inside[0] -= 1

    store, model = open_store(sync_seconds=0, files=Meeting()), Model()
    names = "abcd"
    assert all(append(store, model, *[Group(name, [run(f"/{name}", "x")]) for name in names]))
    assert inside == [0, 4]


def saved(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*/*.index"))


def wait_for(condition: object, seconds: float = 10) -> None:
    with gevent.Timeout(seconds):
        while not condition():  # type: ignore[operator]
            gevent.sleep(0.001)


def test_full_segments_get_an_index_beside_them(open_store: Open, folder: Path, quick: None) -> None:
    store, model = open_store(), Model()
    for _ in range(6):
        publish(store, model, "/foo", "x" * 400)
    sealed = [f"{segment.base:020d}.index" for segment in store.partition("foo").segments[:-1]]
    assert len(sealed) >= 2
    wait_for(lambda: saved(folder) == sealed and store._memory.unsaved() == [])
    check_all(store, model)


def test_an_index_that_cannot_be_saved_does_not_harm(
    open_store: Open, folder: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    files, model = FaultyFiles(), Model()
    store = open_store(files=files)
    publish(store, model, "/foo", "x" * 700)
    publish(store, model, "/foo", "x")
    files.break_("create")
    wait_for(lambda: "cannot write" in caplog.text)
    assert saved(folder) == []
    check_all(store, model)


def test_retention_is_enforced_and_leaves_no_litter(open_store: Open, folder: Path, quick: None) -> None:
    store, model = open_store(retention=Retention(size=1000)), Model()
    for _ in range(20):
        publish(store, model, "/foo", "x" * 400)
        gevent.sleep(0.001)
    wait_for(lambda: store.bounds("foo").first > 15)
    wait_for(lambda: store._memory.unsaved() == [])
    logs = {path.stem for path in folder.glob("*/*.log")}
    assert {path.stem for path in folder.glob("*/*.index")} <= logs


def test_partitions_that_are_not_open_are_swept_and_a_broken_one_stops_nobody(
    open_store: Open, quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, model = open_store(), Model()
    for name in ("a", "b", "c"):
        for _ in range(4):
            publish(store, model, f"/{name}", "x" * 700)
    store.stop(5)
    really = Partition.open

    def open_(partition: Partition) -> None:
        if partition.name == "a":
            raise StoreUnavailable("the disk fails")
        really(partition)

    monkeypatch.setattr(Partition, "open", open_)
    store = open_store(retention=Retention(size=1))
    wait_for(lambda: [store.bounds(name) for name in "bc"] == [Bounds(4, 4)] * 2)
    assert "cannot look at partition a: the disk fails" in caplog.text


def test_a_failure_of_the_tending_is_logged_and_the_next_turn_tries_again(
    open_store: Open, quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    turns: list[int] = []

    def recount() -> None:
        turns.append(1)
        raise ZeroDivisionError

    monkeypatch.setattr(store._memory, "recount", recount)
    wait_for(lambda: len(turns) > 2)
    assert "tending the log failed" in caplog.text
