"""What happens beside reading and writing: syncing, saving indexes, retention."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from typing import Final, Protocol

import gevent
from gevent.pool import Pool

from gobbler.errors import StoreError, StoreUnavailable
from gobbler.service import end
from gobbler.store.filelog.files import Files
from gobbler.store.filelog.memory import IndexMemory
from gobbler.store.filelog.partition import Partition, Written
from gobbler.store.filelog.retention import Retention
from gobbler.store.filelog.segment import FileSegment

log = logging.getLogger(__name__)

_PARALLEL_SYNCS: Final = 8  # fewer than gevent's threads, so that reads find one
_TEND_SECONDS: Final = 1.0
_SWEEP_SECONDS: Final = 3600.0


class Partitions(Protocol):
    """What the keeper needs of the store."""

    def partitions(self) -> list[str]:
        """Return all names."""

    def partition(self, name: str) -> Partition:
        """Return one, opened."""

    def loaded(self) -> list[Partition]:
        """Return those that are open now."""


class Keeper:
    """Two greenlets: one syncs what was written, one tends segments that are full or old."""

    def __init__(
        self,
        store: Partitions,
        files: Files,
        sync_seconds: float | None,
        retention: Retention | None,
        memory: IndexMemory,
    ) -> None:
        """Keep a store's files; see `FileStore` for the meaning of `sync_seconds`."""
        self._store = store
        self._files = files
        self._sync_seconds = sync_seconds
        self._retention = retention
        self._memory = memory
        self._unsynced: dict[FileSegment, Partition] = {}
        self._known: set[str] = set()
        self._failed: str | None = None
        self._greenlets: list[gevent.Greenlet[..., None]] = []

    def start(self) -> None:
        """Begin to sync and to tend."""
        if self._sync_seconds:
            self._greenlets.append(gevent.spawn(self._sync_often, self._sync_seconds))
        self._greenlets.append(gevent.spawn(self._tend_often))

    def stop(self, timeout: float) -> None:
        """Stop the greenlets; sync what is left."""
        end(self._greenlets, timeout)
        self._greenlets.clear()
        self._known.clear()
        if self._sync_seconds is not None:
            self.sync()

    def check(self) -> None:
        """Say that all syncs went well.

        Raises:
            StoreUnavailable: one failed; messages acknowledged before it may not be on the disk.
        """
        if self._failed:
            raise StoreUnavailable(f"could not sync to the disk: {self._failed}")

    def wrote(self, written: Written) -> None:
        """Note that a commit has to be synced."""
        if self._sync_seconds:
            self._unsynced[written.segment] = written.partition

    def sync_written(self, results: Sequence[Written | StoreError]) -> list[Written | StoreError]:
        """Sync what was just written, several files at once; what fails is revoked and becomes its error."""
        if len(results) == 1:
            return [self._sync_one(results[0])]  # the usual case, which need not pay for a pool
        return list(Pool(_PARALLEL_SYNCS).imap(self._sync_one, results))

    def _sync_one(self, result: Written | StoreError) -> Written | StoreError:
        if isinstance(result, StoreError):
            return result
        try:
            self._sync_segment(result.segment)
        except StoreUnavailable as error:
            self._note(result.segment, error)
            result.revoke()
            result.partition.distrust()
            return error
        return result

    def _note(self, segment: FileSegment, error: StoreUnavailable) -> None:
        log.error("cannot sync %s: %s", segment.path, error)
        self._failed = str(error)

    def _sync_segment(self, segment: FileSegment) -> None:
        """Sync a file, and before its first time the folders that lead to it."""
        self._files.sync(segment.path)
        if segment.path not in self._known:
            folder = os.path.dirname(segment.path)
            self._files.sync_folder(folder)
            self._files.sync_folder(os.path.dirname(folder))
            self._remember(segment.path)

    def _remember(self, path: str) -> None:
        if len(self._known) > 10_000:
            self._known.clear()  # syncing a folder once more does no harm
        self._known.add(path)

    def sync(self) -> None:
        """Sync everything that was written since the last time."""
        for segment in list(self._unsynced):
            partition = self._unsynced.pop(segment)
            try:
                self._sync_segment(segment)
            except StoreUnavailable as error:
                if os.path.exists(segment.path):  # else retention was faster
                    self._note(segment, error)
                    self._distrust(partition.name)
            except BaseException:  # this greenlet is stopped: whoever stops it syncs what is left
                self._unsynced[segment] = partition
                raise

    def _distrust(self, name: str) -> None:
        """Have a new file begun: the kernel may call the pages that it could not write clean now."""
        try:
            self._store.partition(name).distrust()
        except StoreUnavailable as error:
            log.error("partition %s goes on in a file that could not be synced: %s", name, error)

    def _sync_often(self, seconds: float) -> None:
        while True:
            gevent.sleep(seconds)
            self.sync()

    def _tend_often(self) -> None:
        swept = -_SWEEP_SECONDS
        while True:
            gevent.sleep(_TEND_SECONDS)
            try:
                self._memory.recount()
                self._save_indexes()
                self._retain(self._store.loaded())
                if self._retention and time.monotonic() - swept > _SWEEP_SECONDS:
                    swept = time.monotonic()
                    self._sweep()
            except Exception:  # the top of this greenlet: the next turn tries again
                log.exception("tending the log failed")

    def _save_indexes(self) -> None:
        for segment in self._memory.unsaved():
            try:
                segment.save_index()
                self._memory.drop(segment)
            except StoreUnavailable as error:
                log.warning("cannot write %s: %s", segment.index_path, error)

    def _sweep(self) -> None:
        """Look at every partition for what retention no longer keeps."""
        for name in self._store.partitions():
            try:
                self._retain([self._store.partition(name)])
            except StoreUnavailable as error:  # the others must not wait for this one
                log.error("cannot look at partition %s: %s", name, error)
            gevent.sleep(0)

    def _retain(self, partitions: Sequence[Partition]) -> None:
        if self._retention:
            for partition in partitions:
                self._retention.enforce(partition, time.time())
