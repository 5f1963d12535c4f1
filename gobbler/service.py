"""Lifecycle: what is started has a `stop`, and stops in the opposite order."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import gevent
from gevent.lock import RLock

log = logging.getLogger(__name__)

GRACE_SECONDS = 2.0
"""How much longer than its timeout a stop may take before the next service has its turn."""


def end(greenlets: Iterable[gevent.Greenlet[..., Any]], seconds: float) -> None:
    """Kill greenlets and wait for their ends, at most `seconds`; who takes longer is not waited for.

    gevent's `killall` would raise `gevent.Timeout`, which no `except Exception` stops.
    """
    ending = list(greenlets)
    gevent.killall(ending, block=False)
    gevent.joinall(ending, seconds)


class Service(Protocol):
    """Something that runs between `start` and `stop`. Constructors start nothing."""

    def start(self) -> None:
        """Begin. Raises: GobblerError when it cannot; then nothing of it is left running."""

    def stop(self, timeout: float) -> None:
        """End within `timeout` seconds; again: do nothing.

        With little or no time left, do what must be done (write, sync, close) and wait for nobody.
        """


class Stack:
    """Services that start in order and stop in reverse; itself a service."""

    def __init__(self, *services: tuple[str, Service], clock: Callable[[], float] = time.monotonic) -> None:
        """Take (name for the log, service) pairs, the one that others build on first."""
        self._services = services
        self._running: list[tuple[str, Service]] = []
        self._clock = clock
        self._lock = RLock()

    def __repr__(self) -> str:
        """Name what is running."""
        return f"Stack(running={[name for name, _ in self._running]})"

    def start(self) -> None:
        """Start what is not running yet; when one fails, stop those before it and raise its error."""
        with self._lock:
            try:
                for name, service in self._services[len(self._running) :]:
                    self._start(name, service)
            except BaseException:
                # Whatever ended the start: nothing of it stays. The first error is the one to tell.
                self._stop_all(self._clock() + GRACE_SECONDS)
                raise

    def stop(self, timeout: float) -> None:
        """Stop what is running, in reverse order, all of it within `timeout` seconds.

        A service that fails to stop does not keep the others from stopping.
        Raises: the first of such errors, when everything has stopped.
        """
        deadline = self._clock() + timeout
        with self._lock:
            failures = self._stop_all(deadline)
        if failures:
            raise failures[0]

    def _start(self, name: str, service: Service) -> None:
        begun = self._clock()
        service.start()
        self._running.append((name, service))
        log.info("%s started in %.1f ms", name, (self._clock() - begun) * 1000)

    def _stop_all(self, deadline: float) -> list[Exception]:
        failures = []
        while self._running:
            name, service = self._running.pop()
            try:
                self._stop(name, service, max(0.0, deadline - self._clock()))
            except Exception as error:  # the others must still stop; `stop` raises it afterwards
                log.exception("%s failed to stop", name)
                failures.append(error)
        return failures

    def _stop(self, name: str, service: Service, timeout: float) -> None:
        begun = self._clock()
        with gevent.Timeout(timeout + GRACE_SECONDS, TimeoutError(f"{name} did not stop in time")):
            try:
                service.stop(timeout)
            except gevent.Timeout as late:
                # One of the service's own. It is no Exception: as it is, the others would not be stopped.
                raise TimeoutError(f"{name} did not stop in time: {late}") from late
        log.info("%s stopped in %.1f ms", name, (self._clock() - begun) * 1000)
