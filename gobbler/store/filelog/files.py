"""The seam to the file system: every byte of the log passes through `Files`.

What a hub must not wait for (syncing, reading from a cold disk) runs in
gevent's native threads; what ends in the page cache runs at once. Tests put a
`Files` here that fails at a chosen call.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import gevent

from gobbler.errors import StoreUnavailable

OPEN_LIMIT = 256
"""How many files stay open; a partition per user must not mean a file per user."""

_NOWAIT = getattr(os, "RWF_NOWAIT", None)
_BUFFERS = 512  # well below IOV_MAX, 1,024


class _Handle:
    """An open file and how many are using it now."""

    __slots__ = ("fd", "users")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.users = 0


class Files:
    """Files by path, kept open as long as there is room. All paths are absolute."""

    def __init__(self, limit: int = OPEN_LIMIT) -> None:
        """Keep at most about `limit` files open."""
        self._limit = limit
        self._handles: OrderedDict[str, _Handle] = OrderedDict()

    @contextmanager
    def _opened(self, path: str, flags: int) -> Iterator[int]:
        """Lend the descriptor of a file; nobody closes it meanwhile.

        Raises:
            StoreUnavailable: any OSError, in words that name the file.
        """
        try:
            handle = self._handles.get(path)
            if handle is None:
                handle = self._handles[path] = _Handle(os.open(path, flags | os.O_CLOEXEC, 0o640))
                self._make_room()
            self._handles.move_to_end(path)
            handle.users += 1
            try:
                yield handle.fd
            finally:
                handle.users -= 1
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error.strerror or error}") from error

    def _make_room(self) -> None:
        for path, handle in list(self._handles.items()):
            if len(self._handles) <= self._limit:
                break
            if not handle.users:
                os.close(self._handles.pop(path).fd)

    def create(self, path: str, head: bytes) -> None:
        """Make a new file that begins with `head`.

        Raises:
            StoreUnavailable: it exists, or cannot be made; then nothing of it is left.
        """
        try:
            with self._opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as fd:
                self._write_at(fd, [head], 0)
        except StoreUnavailable:
            with suppress(StoreUnavailable):
                self.remove(path)
            raise

    def write(self, path: str, buffers: Sequence[bytes], offset: int) -> int:
        """Write buffers at `offset` and return how many bytes that were: one call of the system, mostly.

        Raises:
            StoreUnavailable: not all could be written. Some may have been.
        """
        with self._opened(path, os.O_RDWR) as fd:
            return self._write_at(fd, buffers, offset)

    def _write_at(self, fd: int, buffers: Sequence[bytes], offset: int) -> int:
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
        with self._opened(path, os.O_RDWR) as fd:
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
        with self._opened(path, os.O_RDWR) as fd:
            return os.fstat(fd).st_size

    def truncate(self, path: str, size: int) -> None:
        """Cut a file to `size` bytes. Raises: StoreUnavailable."""
        with self._opened(path, os.O_RDWR) as fd:
            os.ftruncate(fd, size)

    def sync(self, path: str) -> None:
        """Wait until a file is on the disk. Raises: StoreUnavailable."""
        with self._opened(path, os.O_RDWR) as fd:
            gevent.get_hub().threadpool.apply(os.fdatasync, (fd,))

    def sync_folder(self, path: str) -> None:
        """Wait until the names in a folder are on the disk. Raises: StoreUnavailable."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                gevent.get_hub().threadpool.apply(os.fsync, (fd,))
            finally:
                os.close(fd)
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error.strerror or error}") from error

    def replace(self, path: str, content: bytes) -> None:
        """Put a file with this content in place of whatever has its name, whole or not at all.

        Raises:
            StoreUnavailable: it could not be written.
        """
        temporary = path + ".new"
        with suppress(StoreUnavailable):
            self.remove(temporary)
        self.create(temporary, content)
        self.close(temporary)
        try:
            os.replace(temporary, path)
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error.strerror or error}") from error

    def remove(self, path: str) -> None:
        """Remove a file. Raises: StoreUnavailable: there is none, or it cannot be."""
        self.close(path)
        try:
            os.unlink(path)
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error.strerror or error}") from error

    def close(self, path: str) -> None:
        """Close a file where it is open; who is using it now keeps the descriptor."""
        handle = self._handles.get(path)
        if handle is not None and not handle.users:
            os.close(self._handles.pop(path).fd)

    def close_all(self) -> None:
        """Close every file."""
        while self._handles:
            os.close(self._handles.popitem()[1].fd)

    def folder(self, path: str) -> bool:
        """Make a folder; say whether it is new. Raises: StoreUnavailable."""
        try:
            os.mkdir(path, 0o750)
        except FileExistsError:
            return False
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error.strerror or error}") from error
        return True

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted; none where there is no such folder. Raises: StoreUnavailable."""
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error.strerror or error}") from error
