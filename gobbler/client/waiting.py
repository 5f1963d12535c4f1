"""Waiting: until a time, for another thread, and longer each time."""

from __future__ import annotations

import contextlib
import random
import socket
from time import monotonic
from typing import Final

_DRAINED: Final = 64


class Deadline:
    """A moment, `seconds` from now; never where that is None or infinite."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float | None) -> None:
        """Begin to count."""
        self._end = None if seconds is None or seconds == float("inf") else monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds until then, at least 0; None where there is no end."""
        return None if self._end is None else max(0.0, self._end - monotonic())

    @property
    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.left == 0


class Waker:
    """Wakes the one thread that waits for it in a selector, from any other."""

    def __init__(self) -> None:
        """Open a pair of sockets."""
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._set = False

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._receiver.fileno()

    def set(self) -> None:
        """Wake the thread; after `close`: do nothing."""
        if not self._set:
            self._set = True
            with contextlib.suppress(OSError):
                self._sender.send(b"\0")

    def clear(self) -> None:
        """Wait anew. What others have left for the thread is looked at after this."""
        with contextlib.suppress(OSError):
            self._receiver.recv(_DRAINED)
        # Only now: with the order reversed, a byte of the next `set` could be read here, and no other sent.
        self._set = False

    def close(self) -> None:
        """Close the sockets."""
        self._receiver.close()
        self._sender.close()


class Backoff:
    """How long to wait before the next attempt: twice as long each time, between `first` and `most` seconds.

    A part of it is chance, so that a thousand clients do not come back at once.
    """

    def __init__(self, first: float, most: float) -> None:
        """Begin with `first`."""
        self._first = first
        self._most = most
        self._next = first

    def reset(self) -> None:
        """Begin anew: an attempt has succeeded."""
        self._next = self._first

    def wait(self) -> float:
        """Return the seconds to wait now."""
        most, self._next = self._next, min(self._most, self._next * 2)
        return most * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads clients, it keeps no secret


class KeepAlive:
    """Says when to ping, and when the peer is given up.

    Times are of `time.monotonic`. A peer is pinged when nothing came from it for `interval` seconds, and is
    lost when nothing came for `timeout` seconds more. An interval of 0 turns both off.
    """

    __slots__ = ("_heard", "_interval", "_spoken", "_timeout")

    def __init__(self, interval: float, timeout: float, now: float) -> None:
        """Begin with a peer that has just been heard."""
        self._interval = interval or float("inf")
        self._timeout = timeout
        self._heard = self._spoken = now

    def heard(self, at: float) -> None:
        """Something came at that time."""
        self._heard = max(self._heard, at)
        self._spoken = max(self._spoken, at)

    def wait(self, now: float) -> float:
        """Return the seconds until something is to be done."""
        given_up = self._heard + self._interval + self._timeout
        return max(0.0, min(self._spoken + self._interval, given_up) - now)

    def deaf(self, now: float) -> None:
        """Nothing can be heard now, because we do not read; the peer is pinged all the same."""
        self._heard = now

    def lost(self, now: float) -> bool:
        """Say whether the peer has been silent for too long."""
        return now - self._heard >= self._interval + self._timeout

    def ping_is_due(self, now: float) -> bool:
        """Say whether to ping now; once."""
        if now - self._spoken < self._interval:
            return False
        self._spoken = now
        return True
