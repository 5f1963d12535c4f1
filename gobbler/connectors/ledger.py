"""Small facts that must be in the key-value store before anything goes on, written in groups.

While one group is being written the next one gathers, so that a thousand writers at once cost a
few writes. Whoever writes waits; so what waits here is bounded by how many may wait.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Final

import gevent
from gevent.event import Event

from gobbler.errors import KVError
from gobbler.kvstore.base import KVStore

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0


class _Group:
    """What is written together; `written` is set when it is durable."""

    __slots__ = ("entries", "written")

    def __init__(self) -> None:
        self.entries: dict[str, bytes | None] = {}
        self.written = Event()


class Ledger:
    """Writes entries of one schema."""

    def __init__(self, kvstore: KVStore, schema: str) -> None:
        """Nothing is written before `start`."""
        self.schema = schema
        self._kvstore = kvstore
        self._group = _Group()
        self._news = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def __repr__(self) -> str:
        """Show the schema and how much waits."""
        return f"<Ledger {self.schema}, {len(self._group.entries)} waiting>"

    def start(self) -> None:
        """Begin to write."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._work)

    def stop(self, timeout: float) -> None:
        """Write what waits, within `timeout` seconds, and end."""
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None:
            if self._group.entries:
                self._group.written.wait(timeout)
            greenlet.kill()

    def write(self, key: str, value: bytes) -> None:
        """Return when an entry is durable; while the key-value store fails, that takes until it is well."""
        group = self._group
        self.put(key, value)
        # With a timer: gevent takes a wait without one for a deadlock when nothing else is going on.
        while not group.written.wait(timeout=3600):
            pass

    def write_batch(self, puts: Mapping[str, bytes], deletes: Collection[str]) -> None:
        """Return when entries are written or deleted, also where this was not started or stops meanwhile.

        Raises: KVError: in those two cases; else that takes until the key-value store is well.
        """
        if self._greenlet is not None:
            group = self._group
            group.entries.update({**dict.fromkeys(deletes), **puts})
            self._news.set()
            while self._greenlet is not None:
                if group.written.wait(timeout=1.0):
                    return
        self._kvstore.write_batch(self.schema, puts, deletes)

    def put(self, key: str, value: bytes) -> None:
        """Have an entry written with the next group; never waits."""
        self._group.entries[key] = value
        self._news.set()

    def delete(self, keys: list[str]) -> None:
        """Have entries deleted with the next group; a later write of the same key wins."""
        if keys:
            self._group.entries.update(dict.fromkeys(keys))
            self._news.set()

    def _work(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            group, self._group = self._group, _Group()
            self._write(group)
            group.written.set()

    def _write(self, group: _Group) -> None:
        puts = {key: value for key, value in group.entries.items() if value is not None}
        deletes = [key for key, value in group.entries.items() if value is None]
        failing = False
        while True:
            try:
                self._kvstore.write_batch(self.schema, puts, deletes)
                return
            except KVError as error:
                if not failing:
                    log.error("%s: positions cannot be written, trying on: %s", self.schema, error)
            except Exception:  # the top of this greenlet: whoever waits must not wait for ever
                if not failing:
                    log.exception("%s: positions cannot be written, trying on", self.schema)
            failing = True
            gevent.sleep(RETRY_SECONDS)
