"""The index that grows: what it costs (its answers: test_index.py)."""

import tracemalloc
from array import array

from gobbler.protocol.block import Block
from gobbler.store.live_index import LiveIndex
from tests.store.test_index import live


def test_the_memory_it_tells_is_about_what_it_takes() -> None:
    tracemalloc.start()
    index = LiveIndex(1, 0)
    for number in range(5000):
        block = Block(number + 1, 1, ((b"/user/%d" % number, 1), (b"/foo", 1)), array("I", [1, 1]), b"xx")
        index.add(block, number, 1)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / 2 < index.memory < 3 * taken


def test_the_memory_of_many_small_ones_is_told_too() -> None:
    tracemalloc.start()
    indexes = [live([(0, [(b"/foo", 1)])])[0] for _ in range(200)]
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / 2 < sum(index.memory for index in indexes) < 3 * taken


def test_it_knows_when_it_began() -> None:
    index, _ = live([])
    assert (index.begun, index.time) == (0, 0)
    index, _ = live([(0, [(b"/foo", 1)]), (0, [(b"/foo", 1)])])
    assert (index.begun, index.time) == (1000, 1000)  # the second block's clock had jumped back


def test_keys_are_sorted() -> None:
    index, _ = live([(0, [(b"/foo/b", 1), (b"/foo", 1)]), (0, [(b"/foo/a", 1), (b"/foo", 1)])])
    assert index.keys() == [b"/foo", b"/foo/a", b"/foo/b"]
    assert list(index.entries(b"/foo")) == [(1, 1), (0, 1)]
