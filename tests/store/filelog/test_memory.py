"""How many indexes are kept."""

from pathlib import Path

from gobbler.store.filelog.files import Files
from gobbler.store.filelog.memory import IndexMemory
from gobbler.store.filelog.segment import FileSegment
from gobbler.store.live_index import LiveIndex
from tests.store.filelog.conftest import Open
from tests.store.model import Model, check_all, publish


class Sized(FileSegment):
    """A segment whose index has any size one likes."""

    def __init__(self, size: int) -> None:
        super().__init__(Files(), "/nowhere", 1, lambda segment: None)
        self.size = size
        self._index = LiveIndex(1, 0)

    @property
    def memory(self) -> int:
        return self.size if self._index is not None else 0


def held(*segments: Sized) -> list[bool]:
    return [segment.memory > 0 for segment in segments]


def test_the_least_recently_used_are_let_go() -> None:
    memory, segments = IndexMemory(100), [Sized(40) for _ in range(3)]
    memory.used(segments[0])
    memory.used(segments[1])
    memory.used(segments[0])
    assert (memory.total, held(*segments)) == (80, [True, True, True])
    memory.used(segments[2])
    assert (memory.total, held(*segments)) == (80, [True, False, True])


def test_the_one_in_use_stays_however_large() -> None:
    memory, small, large = IndexMemory(100), Sized(10), Sized(1000)
    memory.used(small)
    memory.used(large)
    assert (memory.total, held(small, large)) == (1000, [False, True])


def test_what_has_grown_is_counted_again() -> None:
    memory, segments = IndexMemory(100), [Sized(30) for _ in range(3)]
    for segment in segments:
        memory.used(segment)
    segments[1].size = 60
    memory.recount()
    assert (memory.total, held(*segments)) == (90, [False, True, True])


def test_dropping_lets_go_at_once() -> None:
    memory, segment = IndexMemory(100), Sized(30)
    memory.used(segment)
    memory.drop(segment)
    memory.drop(segment)
    assert (memory.total, held(segment)) == (0, [False])
    memory.recount()
    assert memory.total == 0


def test_what_is_full_and_not_in_a_file_is_known() -> None:
    memory, sealed, live = IndexMemory(100), Sized(10), Sized(10)
    live.sealed = False
    memory.used(sealed)
    memory.used(live)
    assert memory.unsaved() == [sealed]


def test_a_store_keeps_to_the_limit_and_reads_all_the_same(open_store: Open, tmp_path: Path) -> None:
    model = Model()
    store = open_store()
    store._memory._limit = 10_000
    for number in range(60):
        publish(store, model, f"/foo/{number}", "x" * 100)
        publish(store, model, f"/p{number % 7}", "x" * 100)
    check_all(store, model)
    kept = {segment for partition in store.loaded() for segment in partition.segments if segment.memory}
    assert sum(segment.memory for segment in kept) == store._memory.total <= 10_000
    assert len(store.partition("foo").segments) > 10
