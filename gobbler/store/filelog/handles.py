"""Open files, kept open as long as there is room."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from gobbler.errors import StoreUnavailable


class _Handle:
    """An open file and how many are using it now."""

    __slots__ = ("closing", "fd", "users")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.users = 0
        self.closing = False

    def close(self) -> None:
        """Close the descriptor, or have the last of its users do so."""
        self.closing = True
        if not self.users:
            os.close(self.fd)

    def release(self) -> None:
        """End a use."""
        self.users -= 1
        if self.closing and not self.users:
            os.close(self.fd)


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn the system's errors into ours, in words that name the file.

    Raises:
        StoreUnavailable: any OSError.
    """
    try:
        yield
    except OSError as error:
        raise _ours(path, error) from error


def _ours(path: str, error: OSError) -> Exception:
    if error.errno is None:  # none of the system's: the timeout of whoever waits for this greenlet
        return error
    return StoreUnavailable(f"{path}: {error.strerror or error}")


class Handles:
    """Descriptors by path: at most about `limit` of them."""

    def __init__(self, limit: int) -> None:
        """Begin with none."""
        self._limit = limit
        self._handles: OrderedDict[str, _Handle] = OrderedDict()

    @contextmanager
    def lend(self, path: str) -> Iterator[int]:
        """Lend the descriptor of a file; nobody closes it meanwhile.

        Raises:
            StoreUnavailable: any OSError, in words that name the file.
        """
        try:  # every write comes by here: no further context managers
            handle = self._handles.get(path) or self.open(path, os.O_RDWR)
            self._handles.move_to_end(path)
            handle.users += 1
            try:
                if len(self._handles) > self._limit:
                    self._make_room()
                yield handle.fd
            finally:
                handle.release()
        except OSError as error:
            raise _ours(path, error) from error

    def open(self, path: str, flags: int) -> _Handle:
        """Open a file that is not open yet. Raises: OSError."""
        handle = self._handles[path] = _Handle(os.open(path, flags | os.O_CLOEXEC, 0o640))
        return handle

    def _make_room(self) -> None:
        for path, handle in list(self._handles.items()):
            if len(self._handles) <= self._limit:
                break
            if not handle.users:
                self.close(path)

    def close(self, path: str) -> None:
        """Close a file where it is open; who is using it now keeps the descriptor until that is done."""
        handle = self._handles.pop(path, None)
        if handle is not None:
            handle.close()

    def close_all(self) -> None:
        """Close every file."""
        for path in list(self._handles):
            self.close(path)
