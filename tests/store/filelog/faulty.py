"""A file system that fails on demand, and one that counts."""

import errno
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gobbler.errors import StoreUnavailable
from gobbler.store.filelog.files import Files


class FaultyFiles(Files):
    """Fails at the calls number `at` to `at + times - 1` of an operation, counted from 1.

    `share`: how much of the buffers a failing write leaves in the file (0 to 1).
    """

    def __init__(self, operation: str = "", at: int = 1, *, times: int = 1, share: float = 0.0) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.share = share
        self.failed = 0
        self.read_bytes = 0
        self._failing = {operation: range(at, at + times)}

    def break_(self, *operations: str, times: int = 1_000_000) -> None:
        """Have the next calls of these operations fail."""
        for operation in operations:
            at = self.calls[operation] + 1
            self._failing[operation] = range(at, at + times)

    def mend(self) -> None:
        self._failing.clear()

    def _fails(self, operation: str) -> bool:
        self.calls[operation] += 1
        failing = self.calls[operation] in self._failing.get(operation, ())
        self.failed += failing
        return failing

    def _hit(self, operation: str, path: str, number: int = errno.EIO) -> None:
        if self._fails(operation):
            raise StoreUnavailable(f"{path}: {os.strerror(number)}")

    def write(self, path: str, buffers: Sequence[bytes], offset: int) -> int:
        if self._fails("write"):
            whole = b"".join(buffers)
            super().write(path, [whole[: int(len(whole) * self.share)]], offset)
            raise StoreUnavailable(f"{path}: {os.strerror(errno.ENOSPC)}")
        return super().write(path, buffers, offset)

    def create(self, path: str, head: bytes) -> None:
        self._hit("create", path, errno.ENOSPC)
        super().create(path, head)

    def truncate(self, path: str, size: int) -> None:
        self._hit("truncate", path)
        super().truncate(path, size)

    def sync(self, path: str) -> None:
        self._hit("sync", path)  # no more: waiting for the disk would prove nothing here

    def sync_folder(self, path: str) -> None:
        self._hit("sync_folder", path)

    def remove(self, path: str) -> None:
        self._hit("remove", path)
        super().remove(path)

    def read(self, path: str, size: int, offset: int) -> bytes:
        self._hit("read", path)
        self.read_bytes += size
        return super().read(path, size, offset)


class BadSectors(Files):
    """Cannot read some bytes of the files: (offset, size)."""

    def __init__(self, offset: int, size: int) -> None:
        super().__init__()
        self.offset, self.size_ = offset, size
        self.on = False

    def read(self, path: str, size: int, offset: int) -> bytes:
        if self.on and offset < self.offset + self.size_ and self.offset < offset + size:
            raise StoreUnavailable(f"{path}: {os.strerror(errno.EIO)}")
        return super().read(path, size, offset)


@contextmanager
def open_descriptors() -> Iterator[list[int]]:
    """Give a list that holds, after the block, how many more descriptors are open than before."""
    found: list[int] = []
    before = len(os.listdir("/proc/self/fd"))
    yield found
    found.append(len(os.listdir("/proc/self/fd")) - before)
