"""A naive model of a message store: a list of messages a partition, and everything by looking at each."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gobbler.protocol import filters
from gobbler.protocol.run import Run
from gobbler.protocol.selector import Selector
from gobbler.store.base import Bounds, Committed, Group, MessageStore, Page


def run(path: str, *bodies: str, wanted: Mapping[str, str] | None = None) -> Run:
    """Messages with these bodies to one path, with filters or without."""
    tails = [b"\n" + body.encode() for body in bodies]
    return Run(path.encode(), b"marvin", b"app", tails, filters=filters.encode(wanted or {}))


def bulk(path: str, number: int, size: int = 20) -> Run:
    """Many messages of a size to one path."""
    return run(path, *["x" * size] * number)


def selector(*paths: str, **params: str) -> Selector:
    return Selector(tuple(path.encode() for path in paths), params)


class Stored(NamedTuple):
    id: int
    path: str
    wanted: Mapping[str, str]
    frame: bytes

    @property
    def key(self) -> bytes:
        raw = filters.encode(self.wanted)
        return self.path.encode() + (b"\0" + raw if raw else b"")


class Model:
    """What a store has acknowledged."""

    def __init__(self) -> None:
        self.messages: defaultdict[str, list[Stored]] = defaultdict(list)

    def next_id(self, partition: str) -> int:
        messages = self.messages.get(partition)
        return messages[-1].id + 1 if messages else 1

    def commit(self, group: Group, committed: Committed) -> None:
        """Note an acknowledged group; its ids go on where the last group's ended."""
        assert committed.first_id == self.next_id(group.partition)
        first_id = committed.first_id
        for one in group.runs:
            for id, frame in enumerate(one.frames(first_id, committed.time), first_id):
                stored = Stored(id, one.path.decode(), filters.decode(one.filters), frame)
                self.messages[group.partition].append(stored)
            first_id += len(one)

    def select(self, partition: str, wanted: Selector, first: int, last: int) -> list[Stored]:
        return [
            message
            for message in self.messages.get(partition, ())
            if first <= message.id <= last and _selected(message, wanted)
        ]


def _selected(message: Stored, wanted: Selector) -> bool:
    below = any(
        message.path == path.decode() or message.path.startswith(path.decode() + "/") for path in wanted.paths
    )
    return below and all(wanted.params.get(name) == value for name, value in message.wanted.items())


def joined(messages: Sequence[Stored]) -> bytes:
    return b"".join(message.frame for message in messages)


def append(store: MessageStore, model: Model, *groups: Group) -> list[bool]:
    """Append groups and note what was acknowledged; say which were."""
    results = store.append(groups)
    assert len(results) == len(groups)
    for group, result in zip(groups, results, strict=True):
        if isinstance(result, Committed):
            model.commit(group, result)
    return [isinstance(result, Committed) for result in results]


def publish(store: MessageStore, model: Model, path: str, *bodies: str) -> None:
    """Append one run that must be acknowledged."""
    assert append(store, model, Group(path.split("/")[1], [run(path, *bodies)])) == [True]


def scanned(
    store: MessageStore, partition: str, wanted: Selector, first: int, last: int, page_bytes: int = 1 << 18
) -> list[Page]:
    return list(store.scan(partition, wanted, first, last, page_bytes))


def gaps(pages: Sequence[Page]) -> list[tuple[int, int]]:
    return [page.gap for page in pages if page.gap]


def check_range(
    store: MessageStore, model: Model, partition: str, wanted: Selector, first: int, last: int, size: int
) -> None:
    """Every page, and the count, is what the model gives for the same ids."""
    pages = list(store.scan(partition, wanted, first, last, size, keyed=True))
    assert [page._replace(runs=()) for page in pages] == scanned(store, partition, wanted, first, last, size)
    position = first
    for page in pages:
        expected = model.select(partition, wanted, position, page.next_id - 1)
        assert page.gap is None
        assert (page.number, page.frames) == (len(expected), joined(expected))
        keys = [key for key, count in page.runs for _ in range(count)]
        assert keys == [message.key for message in expected]
        assert page.next_id >= position
        position = page.next_id
    assert position == (last + 1 if first <= last else first)
    assert store.count(partition, wanted, first, last) == len(model.select(partition, wanted, first, last))


def check_newest(
    store: MessageStore, model: Model, partition: str, wanted: Selector, number: int, last: int
) -> None:
    """Scanning from the id that `newest` gives finds just the newest so many."""
    expected = model.select(partition, wanted, 1, last)[-number:]
    found = store.newest(partition, wanted, number, last)
    if expected:
        assert joined(model.select(partition, wanted, found, last)) == joined(expected)
    else:
        assert found == last + 1


def check_all(store: MessageStore, model: Model) -> None:
    """The store holds just what the model does."""
    for partition, messages in model.messages.items():
        last = messages[-1].id
        assert store.bounds(partition) == Bounds(1, last)
        check_range(store, model, partition, selector(f"/{partition}"), 1, last, 1000)
