"""The contract of message stores, run against every one of them (kinds.py)."""

import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gobbler.errors import StoreUnavailable
from gobbler.protocol import block
from gobbler.protocol.block import Block, Chunk
from gobbler.store.base import Bounds, Committed, Group, MessageStore
from tests.store.kinds import Kind, Opened
from tests.store.model import (
    Model,
    append,
    bulk,
    check_all,
    check_newest,
    check_range,
    gaps,
    publish,
    run,
    scanned,
    selector,
)

PATHS = ["/foo", "/foo/a", "/foo/a/b", "/foo/a0", "/foo/b", "/foo/b/\u00e9"]
PARAMS = [{}, {"user_id": "m"}, {"user_id": "n", "connector": "ws"}]

AWKWARD = [
    ".",
    "..",
    "...",
    "foo",
    "Foo",
    "FOO",
    "%",
    "%2E",
    "=",
    "=foo",
    "a=b",
    "~",
    "lost+found",
    "con",
    "-rf",
    "\u00e9",
    "e\u0301",
    "\U0001f600",
    "\\",
    '"',
    "'",
    "*",
    "x" * 199,
    "x" * 201,
    "X" * 1000,
    "\u00e9" * 500,
    "z" * 1023,
]

runs = st.builds(
    lambda path, number, size, wanted: run(path, *["b" * size] * number, wanted=wanted),
    st.sampled_from(PATHS),
    st.integers(1, 12),
    st.sampled_from([0, 5, 130]),
    st.sampled_from([{}, {}, {"user_id": "m"}, {"user_id": "n"}]),
)
groups = st.builds(Group, st.just("foo"), st.lists(runs, min_size=1, max_size=6))
selectors = st.builds(
    lambda paths, params: selector(*paths, **params),
    st.lists(st.sampled_from([*PATHS, "/foo/c"]), min_size=1, max_size=3, unique=True),
    st.sampled_from(PARAMS),
)
questions = st.lists(
    st.tuples(selectors, st.floats(0, 1), st.floats(0, 1), st.sampled_from([1, 150, 100_000])),
    min_size=1,
    max_size=12,
)


def test_ids_are_dense_from_1_in_every_partition(store: MessageStore) -> None:
    first = store.append([Group("foo", [run("/foo", "1", "2"), run("/foo/a", "3")])])
    second = store.append([Group("foo", [run("/foo", "4")]), Group("bar", [run("/bar", "1")])])
    assert [result.first_id for result in first + second if isinstance(result, Committed)] == [1, 4, 1]
    assert (store.bounds("foo"), store.bounds("bar")) == (Bounds(1, 4), Bounds(1, 1))


def test_messages_come_back_as_they_were_published(store: MessageStore) -> None:
    [result] = store.append([Group("foo", [run("/foo/a", "hello", "", "line\nbreak")])])
    assert isinstance(result, Committed)
    pages = scanned(store, "foo", selector("/foo"), 1, 3)
    frames = b"".join(page.frames for page in pages)
    messages = list(Chunk(1, 3, frames).messages())
    assert [(message.id, message.path, message.body) for message in messages] == [
        (1, b"/foo/a", b"hello"),
        (2, b"/foo/a", b""),
        (3, b"/foo/a", b"line\nbreak"),
    ]
    assert {message.time for message in messages} == {result.time}


def test_the_listener_is_told_of_every_commit_in_order_before_the_result(opened: Opened) -> None:
    store, model = opened.store, Model()
    for number in range(1, 6):
        append(
            store,
            model,
            Group("foo", [bulk("/foo", number), bulk("/foo/a", 1)]),
            Group("bar", [bulk("/bar", number)]),
        )
        assert len(opened.told) == 2 * number
    for partition in ("foo", "bar"):
        told = b"".join(frames for name, frames in opened.told if name == partition)
        assert told == b"".join(message.frame for message in model.messages[partition])


def test_the_listener_can_read_what_it_is_told_of(kind: Kind, tmp_path: Path) -> None:
    kvstore = kind.kvstore(tmp_path)
    kvstore.start()
    store = kind.store(tmp_path, kvstore)
    read: list[bytes] = []

    def listen(partition: str, blocks: object) -> None:
        last = store.bounds(partition).last
        read.extend(page.frames for page in scanned(store, partition, selector("/foo"), last, last))

    store.listen(listen)
    store.start()
    model = Model()
    for body in "abc":
        publish(store, model, "/foo", body)
    assert read == [message.frame for message in model.messages["foo"]]
    store.stop(5)
    kvstore.stop(5)


def test_a_commit_of_several_blocks_is_told_at_once(opened: Opened) -> None:
    model = Model()
    assert append(opened.store, model, Group("foo", [bulk("/foo", 40, 5000) for _ in range(4)])) == [True]
    assert len(opened.told) == 1
    check_all(opened.store, model)


def test_a_partition_without_messages_is_empty(store: MessageStore) -> None:
    assert store.bounds("foo") == Bounds(1, 0)
    assert store.count("foo", selector("/foo"), 1, 0) == 0
    assert store.newest("foo", selector("/foo"), 20, 0) == 1
    assert scanned(store, "foo", selector("/foo"), 1, 0) == []


def test_reading_does_not_make_a_partition(store: MessageStore) -> None:
    store.bounds("foo")
    store.count("foo", selector("/foo"), 1, 10)
    scanned(store, "foo", selector("/foo"), 1, 0)
    assert store.partitions() == []


def test_newest_where_nothing_is_selected_is_behind_the_last(store: MessageStore) -> None:
    model = Model()
    for _ in range(30):
        publish(store, model, "/foo/a", "x" * 50)
    assert store.newest("foo", selector("/foo/b"), 5, 30) == 31
    assert store.newest("foo", selector("/foo/a"), 100, 30) == 1
    assert store.newest("foo", selector("/foo"), 5, 20) == 16
    assert store.newest("foo", selector("/foo/a"), 5, 20) == 16


@pytest.mark.parametrize(
    ("start", "first"), [(0, 1), (1, 1), (4, 4), (7, 7), (600, 600), (-1, 5), (-2, 3), (-9, 1)]
)
def test_a_start_id_is_resolved_as_the_receive_command_means_it(
    store: MessageStore, start: int, first: int
) -> None:
    model = Model()
    for path in ("/foo/a", "/foo/b") * 3:
        publish(store, model, path, "x")
    assert store.resolve("foo", selector("/foo/a"), start) == (first, 6)


def test_a_start_id_in_an_empty_partition(store: MessageStore) -> None:
    assert [store.resolve("foo", selector("/foo"), start) for start in (0, 3, -3)] == [(1, 0), (3, 0), (1, 0)]


@given(st.lists(groups, min_size=1, max_size=12), questions, st.data())
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_reading_gives_what_the_model_gives(
    kind: Kind, published: list[Group], asked: list[tuple[object, float, float, int]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(block, "BLOCK_BYTES", 300)  # several blocks a group
        opened, model = Opened(kind, Path(folder)), Model()
        restart_at = data.draw(st.integers(0, len(published))) if kind.durable else -1
        for number, group in enumerate(published):
            if number == restart_at:
                opened.restart()
            assert append(opened.store, model, group) == [True]
        store, end = opened.store, model.next_id("foo")
        check_all(store, model)
        for wanted, low, high, size in asked:
            first, last = 1 + int(low * (end - 1)), int(high * (end - 1))
            check_range(store, model, "foo", wanted, first, last, size)  # type: ignore[arg-type]
            check_newest(store, model, "foo", wanted, max(1, first // 3), last)  # type: ignore[arg-type]
        opened.stop()


def test_a_page_has_about_the_size_asked_for(store: MessageStore) -> None:
    model = Model()
    for _ in range(20):
        assert append(store, model, Group("foo", [bulk("/foo", 10, 10)])) == [True]
    one = len(model.messages["foo"][100].frame)
    pages = [page for page in scanned(store, "foo", selector("/foo"), 1, 200, 25 * one) if page.number]
    assert max(page.number for page in pages) <= 40  # up to the end of the block that reaches it
    assert sum(page.number for page in pages) == 200
    assert len(scanned(store, "foo", selector("/foo"), 1, 200, 1)) >= 20


def test_ids_that_were_never_stored_are_a_gap(store: MessageStore) -> None:
    publish(store, Model(), "/foo", "1", "2")
    pages = scanned(store, "foo", selector("/foo"), 1, 5)
    assert gaps(pages) == [(3, 5)]
    assert sum(page.number for page in pages) == 2
    assert gaps(scanned(store, "bar", selector("/bar"), 4, 9)) == [(4, 9)]


def test_a_scan_is_not_disturbed_by_what_is_published_meanwhile(store: MessageStore) -> None:
    model = Model()
    for _ in range(20):
        publish(store, model, "/foo", "x" * 100)
    pages = store.scan("foo", selector("/foo"), 1, 20, 1)
    seen = []
    for page in pages:
        seen.append(page.frames)
        publish(store, model, "/foo", "y" * 100)
    assert b"".join(seen) == b"".join(message.frame for message in model.messages["foo"][:20])
    check_all(store, model)


def test_awkward_names_are_partitions_of_their_own(opened: Opened) -> None:
    model = Model()
    for number, name in enumerate(AWKWARD, 1):
        publish(opened.store, model, f"/{name}", *["x" * number] * number)
    assert sorted(opened.store.partitions()) == sorted(AWKWARD)
    check_all(opened.store, model)
    if opened.kind.durable:
        store = opened.restart()
        assert sorted(store.partitions()) == sorted(AWKWARD)
        check_all(store, model)
        assert {path.name for path in opened.folder.iterdir()} == {"messages"}  # nothing beside it
        assert len(list((opened.folder / "messages").iterdir())) == len(AWKWARD)


def test_the_size_grows_with_what_is_stored_and_opens_nothing(opened: Opened) -> None:
    model, body = Model(), "x" * 5000
    assert opened.store.size("foo") == 0
    assert opened.store.partitions() == []
    publish(opened.store, model, "/foo", body)
    one = opened.store.size("foo")
    assert 5000 < one < 9000
    publish(opened.store, model, "/foo/a", *[body] * 9)
    assert 9 * 5000 < opened.store.size("foo") - one < 9 * 9000
    publish(opened.store, model, "/bar", "x")
    assert 0 < opened.store.size("bar") < one
    if opened.kind.durable:
        before = opened.store.size("foo")
        store = opened.restart()
        assert store.size("foo") == before
        assert "0 partitions open" in repr(store)


USES: dict[str, Callable[[MessageStore], object]] = {
    "bounds": lambda store: store.bounds("foo"),
    "count": lambda store: store.count("foo", selector("/foo"), 1, 1),
    "newest": lambda store: store.newest("foo", selector("/foo"), 1, 1),
    "resolve": lambda store: store.resolve("foo", selector("/foo"), -1),
    "scan": lambda store: scanned(store, "foo", selector("/foo"), 1, 1),
    "unknown": lambda store: store.bounds("bar"),
    "partitions": lambda store: store.partitions(),
    "size": lambda store: store.size("foo"),
    "check": lambda store: store.check(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_stopped_store_can_be_stopped_again_and_not_be_used(
    opened: Opened, use: Callable[[MessageStore], object]
) -> None:
    store = opened.store
    publish(store, Model(), "/foo", "x")
    store.check()
    use(store)
    store.stop(5)
    store.stop(5)
    with pytest.raises(StoreUnavailable):
        use(store)
    [refused] = store.append([Group("foo", [run("/foo", "x")])])
    assert isinstance(refused, StoreUnavailable)
    assert len(opened.told) == 1


def test_a_stopped_store_goes_on_with_its_ids_when_started(opened: Opened) -> None:
    store, model = opened.store, Model()
    publish(store, model, "/foo", "1", "2")
    store.stop(5)
    store.start()
    [result] = store.append([Group("foo", [run("/foo", "3")])])
    assert isinstance(result, Committed)
    assert result.first_id == 3
    assert store.bounds("foo") == (Bounds(1, 3) if opened.kind.durable else Bounds(3, 3))


def test_the_time_is_that_of_the_commit_also_when_the_clock_jumps_back(kind: Kind, tmp_path: Path) -> None:
    times = iter([2_000_000_000.9, 5.0, 1_000_000_000.0])
    opened = Opened(kind, tmp_path)
    opened.store._clock = lambda: next(times)  # type: ignore[attr-defined]
    model = Model()
    for body in "abc":
        publish(opened.store, model, "/foo", body)
    check_all(opened.store, model)
    frames = b"".join(page.frames for page in scanned(opened.store, "foo", selector("/foo"), 1, 3))
    stored = list(Chunk(1, 3, frames).messages())
    assert [message.time for message in stored] == [2_000_000_000, 5, 1_000_000_000]
    assert all(before.id < after.id for before, after in pairwise(stored))
    opened.stop()


def test_what_the_listener_is_given_is_numbered(kind: Kind, tmp_path: Path) -> None:
    opened = Opened(kind, tmp_path)
    seen: list[Block] = []
    opened.store.listen(lambda partition, blocks: seen.extend(blocks))
    publish(opened.store, Model(), "/foo", "1", "2")
    publish(opened.store, Model(), "/bar", "1")
    assert [(one.first_id, one.last_id, one.runs) for one in seen] == [
        (1, 2, ((b"/foo", 2),)),
        (1, 1, ((b"/bar", 1),)),
    ]
    opened.stop()
