"""The seam to the file system: every byte of the log passes through `Files`.

What a hub must not wait for (syncing, reading from a cold disk) runs in
gevent's native threads; what ends in the page cache runs at once. Tests put a
`Files` here that fails at a chosen call.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

import gevent

from gobbler.errors import StoreUnavailable
from gobbler.store.filelog.handles import Handles, translated

OPEN_LIMIT = 256
"""How many files stay open; a partition per user must not mean a file per user."""

_NOWAIT = getattr(os, "RWF_NOWAIT", None)
_BUFFERS = 512  # well below IOV_MAX, 1,024


class Files:
    """Files by path, kept open as long as there is room. All paths are absolute."""

    def __init__(self, limit: int = OPEN_LIMIT) -> None:
        """Keep at most about `limit` files open."""
        self._handles = Handles(limit)

    def create(self, path: str, head: bytes) -> None:
        """Make a new file that begins with `head`.

        Raises:
            StoreUnavailable: it exists and stays as it is, or it cannot be made, and nothing of it is left.
        """
        self._handles.close(path)
        with translated(path):
            self._handles.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            self.write(path, [head], 0)
        except StoreUnavailable:
            with suppress(StoreUnavailable):
                self.remove(path)
            raise

    def write(self, path: str, buffers: Sequence[bytes], offset: int) -> int:
        """Write buffers at `offset` and return how many bytes that were: one call of the system, mostly.

        Raises:
            StoreUnavailable: not all could be written. Some may have been.
        """
        with self._handles.lend(path) as fd:
            return self._write_at(fd, buffers, offset)

    @staticmethod
    def _write_at(fd: int, buffers: Sequence[bytes], offset: int) -> int:
        start = offset
        for at in range(0, len(buffers), _BUFFERS):
            part = buffers[at : at + _BUFFERS]
            written = os.pwritev(fd, part, offset)
            offset += written
            wanted = sum(map(len, part))
            if written < wanted:  # a signal, a limit, or a disk that is nearly full: go on until it says why
                rest = memoryview(b"".join(part))[written:]
                while rest:
                    written = os.pwrite(fd, rest, offset)
                    offset += written
                    rest = rest[written:]
        return offset - start

    def read(self, path: str, size: int, offset: int) -> bytes:
        """Read up to `size` bytes at `offset`; fewer at the end of the file.

        Raises:
            StoreUnavailable: the file is gone or the disk fails.
        """
        with self._handles.lend(path) as fd:
            buffer = bytearray(size)
            done = self._read_cached(fd, buffer, offset)
            while done < size:
                more: bytes = gevent.get_hub().threadpool.apply(os.pread, (fd, size - done, offset + done))
                if not more:
                    break
                buffer[done : done + len(more)] = more
                done += len(more)
            return bytes(memoryview(buffer)[:done]) if done < size else bytes(buffer)

    @staticmethod
    def _read_cached(fd: int, buffer: bytearray, offset: int) -> int:
        """Read what is in the page cache, without waiting for the disk; return how much that was."""
        if _NOWAIT is None:
            return 0
        try:
            return os.preadv(fd, [buffer], offset, _NOWAIT)
        except OSError:  # EAGAIN: not cached; EOPNOTSUPP: this file system cannot say
            return 0

    def size(self, path: str) -> int:
        """Return a file's size in bytes. Raises: StoreUnavailable."""
        with self._handles.lend(path) as fd:
            return os.fstat(fd).st_size

    def usage(self, path: str) -> int:
        """Return how many bytes a folder's files have; 0 where there is none. Raises: StoreUnavailable."""
        total = 0
        with translated(path), suppress(FileNotFoundError), os.scandir(path) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # retention was faster
                    total += entry.stat().st_size
        return total

    def truncate(self, path: str, size: int) -> None:
        """Cut a file to `size` bytes. Raises: StoreUnavailable."""
        with self._handles.lend(path) as fd:
            os.ftruncate(fd, size)

    def sync(self, path: str) -> None:
        """Wait until a file is on the disk. Raises: StoreUnavailable."""
        with self._handles.lend(path) as fd:
            gevent.get_hub().threadpool.apply(os.fdatasync, (fd,))

    def sync_folder(self, path: str) -> None:
        """Wait until the names in a folder are on the disk. Raises: StoreUnavailable."""
        with translated(path):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                gevent.get_hub().threadpool.apply(os.fsync, (fd,))
            finally:
                os.close(fd)

    def replace(self, path: str, content: bytes) -> None:
        """Put a file with this content in place of whatever has its name, whole or not at all.

        Raises:
            StoreUnavailable: it could not be written.
        """
        temporary = path + ".new"
        with suppress(StoreUnavailable):
            self.remove(temporary)
        self.create(temporary, content)
        self.rename(temporary, path)

    def rename(self, path: str, new: str) -> None:
        """Give a file another name, in place of whatever has that. Raises: StoreUnavailable."""
        self._handles.close(path)
        self._handles.close(new)
        with translated(path):
            os.replace(path, new)

    def remove(self, path: str) -> None:
        """Remove a file. Raises: StoreUnavailable: there is none, or it cannot be."""
        self._handles.close(path)
        with translated(path):
            os.unlink(path)

    def folder(self, path: str) -> bool:
        """Make a folder; say whether it is new. Raises: StoreUnavailable."""
        with translated(path):
            try:
                os.mkdir(path, 0o750)
            except FileExistsError:
                return False
        return True

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder; none where there is no folder. Raises: StoreUnavailable."""
        with translated(path):
            try:
                return sorted(os.listdir(path))
            except FileNotFoundError:
                return []

    def close(self, path: str) -> None:
        """Close a file where it is open; who is using it now keeps the descriptor until that is done."""
        self._handles.close(path)

    def close_all(self) -> None:
        """Close every file."""
        self._handles.close_all()
