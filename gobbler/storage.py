"""The storage path: making it, trying it, and keeping a second server out of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from gobbler.errors import StoreLocked, StoreUnavailable

_LOCK: Final = "lock"


class StoragePath:
    """A folder that belongs to one running server: a service."""

    def __init__(self, path: Path) -> None:
        """Name the folder."""
        self._path = path
        self._lock: int | None = None

    def start(self) -> None:
        """Make the folder where its parent exists, and lock it.

        Raises:
            StoreUnavailable: it cannot be made or written to.
            StoreLocked: another server uses it.
        """
        try:
            self._path.mkdir(mode=0o750, exist_ok=True)
            lock = os.open(self._path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StoreUnavailable(f"cannot use the storage path {self._path}: {error.strerror}") from error
        try:
            self._take(lock)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def stop(self, timeout: float) -> None:
        """Let others have the folder."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
            raise StoreLocked(
                f"the storage path {self._path} is in use by another server (process {holder})"
            ) from None
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise StoreUnavailable(
                f"cannot write to the storage path {self._path}: {error.strerror}"
            ) from error
