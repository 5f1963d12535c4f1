"""The seam between the server and whatever keeps its messages.

This is the one place where a message store is described. Nothing above it may
assume that an id is known before the commit, or that the log is on this
machine: an engine across a network has to fit in here.

All methods are written in blocking style and called from greenlets; a store
that waits (for a disk, for a network) waits cooperatively.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from gobbler.errors import StoreError
from gobbler.protocol.block import Block
from gobbler.protocol.run import Run
from gobbler.protocol.selector import Selector

Listener = Callable[[str, Sequence[Block]], None]
"""Is told of every commit: the partition and its new blocks, in id order; must not wait."""

_SMALL_PAGE: Final = 16 * 1024
_MESSAGE_BYTES: Final = 256  # a guess, only to choose the size of a page


class Group(NamedTuple):
    """What is appended to one partition together, in order."""

    partition: str
    runs: list[Run]


class Committed(NamedTuple):
    """A group that is in the log: its ids are `first_id` and on, its time is unix seconds."""

    first_id: int
    time: int


class Bounds(NamedTuple):
    """The ids that a partition holds: `first` to `last`; `first` is `last + 1` where it holds none."""

    first: int
    last: int


class Page(NamedTuple):
    """A step of reading: all that is selected up to (not including) the id `next_id`.

    `frames` are `number` WebSocket frames, one after another, in id order;
    `runs` are their keys (`Run.key`), each with the number of consecutive frames
    that have it, where the reader asked for them.
    `gap` is a range of ids (first, last) that the store no longer has or
    cannot read; its page holds nothing else.
    """

    next_id: int
    number: int = 0
    frames: bytes = b""
    gap: tuple[int, int] | None = None
    runs: tuple[tuple[bytes, int], ...] = ()


class MessageStore(ABC):
    """Keeps messages by partition, in one sequence of ids each. A service (`service.Service`)."""

    @abstractmethod
    def start(self) -> None:
        """Open the store.

        Raises:
            StoreError: it cannot be opened.
        """

    @abstractmethod
    def stop(self, timeout: float) -> None:
        """Make everything durable and close, within `timeout` seconds; again: do nothing."""

    @abstractmethod
    def listen(self, listener: Listener) -> None:
        """Have a function called with every commit; once, before `start`."""

    @abstractmethod
    def append(self, groups: Sequence[Group]) -> list[Committed | StoreError]:
        """Append groups, at most one a partition, and return what became of each.

        When a group is returned as committed it is as durable as the store
        promises, its ids are set, and the listener has been called with it.
        A group that failed left nothing behind and used no ids. One greenlet
        appends at a time (`router.intake`); many may read meanwhile.
        """

    @abstractmethod
    def bounds(self, partition: str) -> Bounds:
        """Return which ids a partition holds.

        Raises:
            StoreUnavailable: the store cannot read it now.
        """

    @abstractmethod
    def count(self, partition: str, selector: Selector, first_id: int, last_id: int) -> int:
        """Return exactly how many messages `scan` over the same range gives.

        Raises:
            StoreUnavailable: the store cannot read it now.
        """

    @abstractmethod
    def newest(self, partition: str, selector: Selector, number: int, last_id: int) -> int:
        """Return the id of the `number`-th newest selected message up to `last_id`.

        Where there are fewer, an id from which on there are just these; where there are none,
        `last_id + 1`.

        Raises:
            StoreUnavailable: the store cannot read it now.
        """

    def resolve(self, partition: str, selector: Selector, start: int) -> tuple[int, int]:
        """Return the ids (first, last) of what a start id asks for, as it is meant in the receive command.

        0 is the oldest that there is; a negative start counts from the newest that is selected.

        Raises:
            StoreUnavailable: the store cannot read it now.
        """
        first, last = self.bounds(partition)
        if start < 0:
            return self.newest(partition, selector, -start, last), last
        return start or first, last

    def fetch(
        self, partition: str, selector: Selector, start: int, most: int, page_bytes: int
    ) -> tuple[int, Iterator[Page]]:
        """Return how many messages a fetch gives, of at most `most` from a start id on, and the pages.

        These may go on behind the last of them. Few messages have smaller pages than `page_bytes`.

        Raises:
            StoreUnavailable: the store cannot read it now.
        """
        first, last = self.resolve(partition, selector, start)
        number = min(most, self.count(partition, selector, first, last))
        size = min(page_bytes, max(_SMALL_PAGE, number * _MESSAGE_BYTES))
        return number, self.scan(partition, selector, first, last, size)

    @abstractmethod
    def scan(
        self,
        partition: str,
        selector: Selector,
        first_id: int,
        last_id: int,
        page_bytes: int,
        *,
        keyed: bool = False,
    ) -> Iterator[Page]:
        """Yield what is selected with ids in [first_id, last_id], oldest first; `keyed`: with the `runs`.

        A page has about `page_bytes` of frames. The last page's `next_id` is
        `last_id + 1`. Nothing is read before it is asked for. What has gone
        since the call, or turns out to be damaged, is a gap.

        Raises:
            StoreUnavailable: the store cannot read it now.
        """

    @abstractmethod
    def partitions(self) -> list[str]:
        """Return the names of all partitions that hold or held messages."""

    @abstractmethod
    def size(self, partition: str) -> int:
        """Return about how many bytes a partition takes where it is kept; cheap, and opens nothing.

        Raises:
            StoreUnavailable: the store cannot tell now.
        """

    @abstractmethod
    def check(self) -> None:
        """Say that the store is well.

        Raises:
            StoreError: what is wrong, safe to show.
        """
