"""The dashboard's view of what is kept where, how large it is, and how much room is left.

To ask for the size of 100,000 partitions takes seconds. So that is done in turns, by one greenlet
however many pages are open, and not again for a while: what is shown is as old as it says.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import gevent
from flask import Blueprint, Response, jsonify

from gobbler.admin import api
from gobbler.admin.turns import in_turns
from gobbler.config import Config
from gobbler.errors import StoreError
from gobbler.rest.reading import text_of
from gobbler.store.base import MessageStore

AGAIN_SECONDS: Final = 2.0
AGAIN_TIMES: Final = 20
"""It is measured again after 2 s, or 20 times as long as it took: for a twentieth of the time at most."""

WAIT_SECONDS: Final = 0.25
"""How long a request waits for the first measurement."""

_A_TURN: Final = 50  # partitions; a folder each


class Measured(NamedTuple):
    """What was found at `time` (unix seconds); sizes in bytes, None where nobody can say."""

    time: float
    partitions: int | None = None
    bytes: int | None = None
    disk_free: int | None = None
    disk_size: int | None = None
    error: str | None = None


class Volume:
    """Measures a store and, where it is in files, the disk that they are on."""

    def __init__(self, store: MessageStore, folder: Path | None) -> None:
        """Take the folder of the files; None where there are none."""
        self._store = store
        self._folder = folder
        self._measured: Measured | None = None
        self._again = 0.0
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def look(self) -> Measured | None:
        """Return what was measured last, and have it measured again where that is too old."""
        if not self._greenlet and time.monotonic() >= self._again:
            self._greenlet = gevent.spawn(self._measure)
        if self._greenlet and self._measured is None:
            self._greenlet.join(WAIT_SECONDS)
        return self._measured

    def _measure(self) -> None:
        begun = time.monotonic()
        found = self._disk(Measured(time.time()))
        try:
            names = self._store.partitions()
            size = sum(self._store.size(name) for name in in_turns(names, _A_TURN))
            self._measured = found._replace(partitions=len(names), bytes=size)
        except StoreError as error:
            self._measured = found._replace(error=text_of(error))
        self._again = time.monotonic() + max(AGAIN_SECONDS, AGAIN_TIMES * (time.monotonic() - begun))

    def _disk(self, found: Measured) -> Measured:
        if self._folder is None:
            return found
        # A dead disk hangs; in a thread, of which there is one at most.
        size, free = gevent.get_hub().threadpool.apply(_space, (self._folder,))
        return found._replace(disk_size=size, disk_free=free)


def _space(folder: Path) -> tuple[int, int] | tuple[None, None]:
    """Return the size of a folder's disk and what is free; raises nothing, as the pool would print it."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None, None
    return disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize


def blueprint(config: Config, store: MessageStore) -> Blueprint:
    """Return `GET /admin/api/storage`."""
    pages = api.blueprint("storage")
    files = "file" in (config.ms, config.kvs)
    volume = Volume(store, config.storage_path if files else None)

    @pages.get("/storage")
    def storage() -> Response:
        measured = volume.look()
        return jsonify(**_options(config), measured=_json(measured) if measured else None)

    return pages


def _json(measured: Measured) -> dict[str, Any]:
    return {
        "time": measured.time,
        "partitions": measured.partitions,
        "bytes": measured.bytes,
        "diskFree": measured.disk_free,
        "diskSize": measured.disk_size,
        "error": measured.error,
    }


def _options(config: Config) -> dict[str, Any]:
    in_files = config.ms == "file"
    return {
        "messages": config.ms,
        "keys": config.kvs,
        "path": str(config.storage_path) if "file" in (config.ms, config.kvs) else None,
        "fsync": config.fsync if in_files else None,
        "segmentBytes": config.segment_bytes if in_files else None,
        "retentionAge": config.retention_age if in_files else None,
        "retentionBytes": config.retention_bytes if in_files else None,
        "memoryBytes": None if in_files else config.ms_memory_bytes,
    }
