"""Who gets a message: routes, the tree of topics, and the table made from them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final, Protocol

from gobbler.metrics import Metrics
from gobbler.protocol import filters
from gobbler.protocol.block import Block, Chunk
from gobbler.protocol.selector import split_key
from gobbler.protocol.topic import ancestors, partition_of

log = logging.getLogger(__name__)

_TABLE_LIMIT: Final = 10_000


class Consumer(Protocol):
    """Whatever is given messages: a WebSocket's receiver, a connector."""

    def deliver(self, chunk: Chunk) -> None:
        """Take messages, at once: it is called for every commit and must not wait."""


class Directory(Protocol):
    """Subscriptions that are kept elsewhere, a connector's: too many to be routes here.

    It reads its messages from the log itself, and so is only told that there are some.
    """

    def committed(self, partition: str, blocks: Sequence[Block]) -> None:
        """Learn of a commit, at once: it is called for every one and must not wait."""

    def subscribers(self, path: bytes) -> list[Mapping[str, str]]:
        """Return the parameters of every subscription that messages to this path reach."""

    def describe(self) -> dict[str, list[Mapping[str, str]]]:
        """Return path -> parameters of each of its subscriptions."""


class Route:
    """A subscription: a path, parameters that filters are matched against, and who consumes.

    Two routes are never equal, so that one consumer may hold several.
    """

    __slots__ = ("consumer", "params", "path")

    def __init__(self, path: bytes, params: Mapping[str, str], consumer: Consumer) -> None:
        """Take a canonical path; `params` may be shared between routes and must not change."""
        self.path = path
        self.params = params
        self.consumer = consumer

    def __repr__(self) -> str:
        """Show the path and the parameters."""
        return f"<Route {self.path.decode(errors='replace')} {dict(self.params)}>"


class _Table(dict[bytes, tuple[Consumer, ...]]):
    """key -> who gets its messages, found at the first message and dropped when a subscription changes."""

    def __init__(self, routes: Mapping[bytes, Mapping[Route, None]]) -> None:
        super().__init__()
        self._routes = routes

    def __missing__(self, key: bytes) -> tuple[Consumer, ...]:
        if len(self) >= _TABLE_LIMIT:
            self.clear()
        path, raw = split_key(key)
        wanted = filters.decode(raw) if raw else {}
        # A dict keeps the order and each consumer once, however many of its routes match.
        found = {
            route.consumer: None
            for above in ancestors(path)
            for route in self._routes.get(above, ())
            if filters.matches(wanted, route.params)
        }
        targets = self[key] = tuple(found)
        return targets


class Router:
    """Routes by path; delivers every commit to the consumers whose routes match, to each once."""

    def __init__(self, metrics: Metrics) -> None:
        """Begin without routes."""
        self._metrics = metrics
        self._routes: dict[bytes, dict[Route, None]] = {}
        self._partitions: dict[str, int] = {}
        self._tables: dict[str, _Table] = {}
        self._directories: list[Directory] = []

    def __repr__(self) -> str:
        """Show how many paths are subscribed."""
        return f"<Router, {len(self._routes)} paths>"

    def join(self, directory: Directory) -> None:
        """Have a directory told of all commits from now on, and asked who is subscribed."""
        self._directories.append(directory)

    def subscribe(self, route: Route) -> None:
        """Give a route's consumer all messages that are committed from now on; again: do nothing."""
        routes = self._routes.setdefault(route.path, {})
        if route in routes:
            return
        routes[route] = None
        partition = partition_of(route.path)
        self._partitions[partition] = self._partitions.get(partition, 0) + 1
        self._tables.pop(partition, None)

    def unsubscribe(self, route: Route) -> None:
        """End a route; one that is not there is passed over."""
        routes = self._routes.get(route.path, {})
        if route not in routes:
            return
        del routes[route]
        if not routes:
            del self._routes[route.path]
        partition = partition_of(route.path)
        self._partitions[partition] -= 1
        if not self._partitions[partition]:
            del self._partitions[partition]
        self._tables.pop(partition, None)

    def deliver(self, partition: str, blocks: Sequence[Block]) -> None:
        """Hand committed blocks to their consumers: the listener of the message store."""
        for directory in self._directories:
            try:
                directory.committed(partition, blocks)
            except Exception:  # as below
                log.exception("telling %r failed", directory)
        if partition not in self._partitions:
            return
        # Kept for the whole call: a consumer that subscribes meanwhile changes who gets the next commit.
        table = self._tables.get(partition)
        if table is None:
            table = self._tables[partition] = _Table(self._routes)
        messages = size = 0
        for block in blocks:
            for targets, chunk in _chunks(block, table):
                for consumer in targets:
                    try:
                        consumer.deliver(chunk)
                    except Exception:  # one consumer's trouble must not become the others' or the store's
                        log.exception("delivering to %r failed", consumer)
                messages += chunk.number * len(targets)
                size += len(chunk.frames) * len(targets)
        if messages:
            self._metrics.messages_delivered_total.inc(messages)
            self._metrics.delivered_bytes_total.inc(size)

    def subscribers(self, path: bytes) -> list[Mapping[str, str]]:
        """Return the parameters of every route that messages to this path reach (those without filters)."""
        found = [route.params for above in ancestors(path) for route in self._routes.get(above, ())]
        return found + [params for directory in self._directories for params in directory.subscribers(path)]

    def numbers(self) -> Iterator[tuple[bytes, int]]:
        """Yield each path with how many routes it has, directories aside; they may change meanwhile."""
        return ((path, len(self._routes.get(path, ()))) for path in list(self._routes))

    def at(self, path: bytes) -> Iterator[Mapping[str, str]]:
        """Yield the parameters of the routes of this very path, directories aside; these may change."""
        return (route.params for route in list(self._routes.get(path, ())))

    def describe(self) -> dict[str, list[Mapping[str, str]]]:
        """Return path -> parameters of each of its routes, for people to look at."""
        found = {path.decode(): [route.params for route in routes] for path, routes in self._routes.items()}
        for directory in self._directories:
            for path, params in directory.describe().items():
                found[path] = found.get(path, []) + params
        return dict(sorted(found.items()))


def _chunks(block: Block, table: _Table) -> Iterator[tuple[tuple[Consumer, ...], Chunk]]:
    """Cut a block where the consumers change; leave out what nobody consumes."""
    runs = block.runs
    if len(runs) == 1:
        if targets := table[runs[0][0]]:
            yield targets, block.whole()
        return
    start = 0
    for targets, together in groupby(runs, key=lambda run: table[run[0]]):
        stop = start + sum(count for _, count in together)
        if targets:
            yield targets, block.cut(start, stop)
        start = stop
