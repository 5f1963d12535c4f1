"""Is the server well? Named checks, asked on demand; what is wrong with each.

A check is a callable that returns None when all is well and raises otherwise.
Its texts are shown to whoever asks: a check of ours raises `Unhealthy` with a
text made for that; what anything else raises goes to the log only.
"""

import logging
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import gevent
from gevent.event import AsyncResult

from gobbler.errors import GobblerError, Unhealthy
from gobbler.logs import redact
from gobbler.text import one_line

log = logging.getLogger(__name__)

Check = Callable[[], None]

TIMEOUT_SECONDS = 2.0
NEARLY_FULL_SHARE = 0.05
ENOUGH_BYTES = 1 << 30
ENOUGH_FILES = 10_000
MIB = 1 << 20


class Health:
    """The checks of one server."""

    def __init__(self) -> None:
        """Begin without checks."""
        self._checks: dict[str, tuple[Check, float]] = {}
        self._ill: dict[str, str] = {}

    def add(self, name: str, check: Check, timeout: float = TIMEOUT_SECONDS) -> None:
        """Add a check, which has `timeout` seconds to answer."""
        self._checks[name] = (check, timeout)

    @property
    def names(self) -> list[str]:
        """Return the names of the checks."""
        return list(self._checks)

    def run(self) -> dict[str, str]:
        """Run all checks at the same time and return name -> what is wrong; {} when all is well."""
        asked = {
            name: gevent.spawn(_problem, name, check, timeout)
            for name, (check, timeout) in self._checks.items()
        }
        answers = ((name, greenlet.get()) for name, greenlet in asked.items())
        found = {name: problem for name, problem in answers if problem}
        self._log_changes(found)
        return found

    def _log_changes(self, found: dict[str, str]) -> None:
        """Log what became ill or well, so that a monitor that asks each second does not fill the log."""
        for name in found.keys() - self._ill.keys():
            log.error("health: %s: %s", name, found[name])
        for name in self._ill.keys() - found.keys():
            log.info("health: %s is well again", name)
        self._ill = found


def _problem(name: str, check: Check, timeout: float) -> str:
    """Run one check and say what is wrong, or nothing."""
    limit = gevent.Timeout(timeout)
    try:
        with limit:
            check()
    except gevent.Timeout as expired:
        if expired is not limit:
            raise
        return f"no answer within {timeout:g} s"
    except GobblerError as error:
        return one_line(redact(str(error))) or error.code
    except OSError as error:
        return error.strerror or type(error).__name__
    except Exception:
        log.exception("health: the check %s is broken", name)
        return "the check itself failed; the log says more"
    return ""


class InThread:
    """A check that asks the disk and may hang there: it runs in gevent's native thread pool.

    One thread at a time: while a run hangs, the next ones wait for the same answer, so that a
    dead disk cannot use up the pool.
    """

    def __init__(self, check: Check) -> None:
        """Wrap a check."""
        self._check = check
        self._pending: AsyncResult[GobblerError | OSError | None] | None = None

    def __call__(self) -> None:
        """Run the check, or go on waiting for the run before. Raises: what the check raises."""
        if self._pending is None or self._pending.ready():
            self._pending = gevent.get_hub().threadpool.spawn(self._outcome)
        problem = self._pending.get()
        if problem is not None:
            raise problem

    def _outcome(self) -> GobblerError | OSError | None:
        """Run the check in the thread; a result, because the pool prints what is raised in it."""
        try:
            self._check()
        except (GobblerError, OSError) as problem:
            return problem
        return None


def storage_writable(path: Path) -> Check:
    """Check that a file can be written below `path` and reaches the disk."""

    def check() -> None:
        try:
            # Without a name where the system can (O_TMPFILE): nothing is left behind by a crash.
            with tempfile.TemporaryFile(dir=path) as file:
                file.write(b"well?")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Unhealthy(f"the storage path is not writable: {error.strerror}") from error

    return InThread(check)


def storage_space(path: Path, share: float = NEARLY_FULL_SHARE) -> Check:
    """Check that the disk is not nearly full.

    Nearly full: less than `share` of it is free, in bytes or in files; on large disks, where
    that share is a lot, less than 1 GiB or 10,000 files.
    """

    def check() -> None:
        try:
            disk = os.statvfs(path)
        except OSError as error:
            raise Unhealthy(f"the storage path cannot be looked at: {error.strerror}") from error
        size, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
        if free < min(size * share, ENOUGH_BYTES):
            raise Unhealthy(f"the disk is nearly full: {free // MIB} of {size // MIB} MiB are free")
        # Some file systems have no table of files and report none at all.
        if disk.f_files and disk.f_favail < min(disk.f_files * share, ENOUGH_FILES):
            raise Unhealthy(f"the disk is nearly out of files: {disk.f_favail} of {disk.f_files} are free")

    return InThread(check)


class HubLag:
    """Measures how long the event loop keeps a greenlet waiting that is due; a service and a check."""

    INTERVAL_SECONDS = 0.25

    def __init__(
        self, limit: float = 1.0, window: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Ill is a lag above `limit` seconds within the last `window` seconds."""
        self._limit = limit
        self._window = window
        self._clock = clock
        self._due = 0.0
        # (when, lag), falling lags only: an older and smaller lag can never be the worst again.
        self._lags: deque[tuple[float, float]] = deque()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def start(self) -> None:
        """Begin to measure."""
        if self._greenlet is None:
            self._due = self._clock() + self.INTERVAL_SECONDS
            self._greenlet = gevent.spawn(self._measure)

    def stop(self, timeout: float) -> None:
        """End within `timeout` seconds."""
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None:
            greenlet.kill(timeout=timeout)

    def woke(self) -> None:
        """Note the lag of a wake-up that happens now, and when the next one is due."""
        now = self._clock()
        lag = max(0.0, now - self._due)
        while self._lags and self._lags[-1][1] <= lag:
            self._lags.pop()
        self._lags.append((now, lag))
        self._due = now + self.INTERVAL_SECONDS

    def worst(self) -> float:
        """Return the longest lag of the window, in seconds; one that still lasts is counted."""
        now = self._clock()
        while self._lags and self._lags[0][0] < now - self._window:
            self._lags.popleft()
        running = now - self._due if self._greenlet is not None else 0.0
        return max(running, self._lags[0][1] if self._lags else 0.0)

    def check(self) -> None:
        """Raise: Unhealthy when the event loop was blocked for too long within the window."""
        lag = self.worst()
        if lag > self._limit:
            raise Unhealthy(f"the event loop was blocked for {lag:.1f} s within the last {self._window:g} s")

    def _measure(self) -> None:
        while True:
            gevent.sleep(self.INTERVAL_SECONDS)
            self.woke()
