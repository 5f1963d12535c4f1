"""A fetch: stored messages of a path, up to a number of them, independent of any subscription."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Final

import gevent

from gobbler.protocol import notification
from gobbler.protocol.block import first_frames
from gobbler.protocol.selector import Selector
from gobbler.protocol.topic import partition_of
from gobbler.store.base import Page
from gobbler.websocket.peer import Peer

log = logging.getLogger(__name__)

PAGE_BYTES: Final = 256 * 1024


class Fetch:
    """Sends at most `count` stored messages from `start` on, then stops."""

    __slots__ = ("_count", "_done", "_session", "_start", "ended", "path")

    def __init__(
        self, session: Peer, path: bytes, start: int, count: int, done: Callable[[Fetch], None]
    ) -> None:
        """`start` and `count` as in the receive command; `done` is called when nothing more follows."""
        self.path = path
        self._session = session
        self._done = done
        self._start = start
        self._count = count
        self.ended = False

    def start(self) -> None:
        """Run in a greenlet."""
        self._session.services.metrics.fetches.inc()
        self._session.services.metrics.fetches_started_total.inc()
        gevent.spawn(self._run)

    def end(self) -> None:
        """Send nothing more."""
        self.ended = True

    def _run(self) -> None:
        session = self._session
        try:
            self._send_all()
        except Exception as error:  # the top of this greenlet
            log.warning("fetching %s failed: %s", self.path.decode(), error, exc_info=True)
            self._tell(
                notification.error_server_internal(f"{self.path.decode()}: {session.gone_wrong(error)}")
            )
        finally:
            session.services.metrics.fetches.dec()
            self._done(self)

    def _send_all(self) -> None:
        store, selector = self._session.services.store, Selector((self.path,), self._session.params)
        number, pages = store.fetch(partition_of(self.path), selector, self._start, self._count, PAGE_BYTES)
        self._tell(notification.fetch_start(self.path, number))
        self._send_pages(pages, number)
        self._tell(notification.fetch_done(self.path))

    def _tell(self, payload: bytes) -> None:
        """Send a notification, unless the client has been told that nothing follows."""
        if not self.ended:
            self._session.tell(payload)

    def _send_pages(self, pages: Iterator[Page], left: int) -> None:
        session = self._session
        only_gaps = not left  # then they are told all the same
        while (left > 0 or only_gaps) and session.connection.wait_for_room() and not self.ended:
            page = next(pages, None)
            if page is None or self.ended:
                return
            if page.gap:
                session.tell(notification.error_gap(self.path, *page.gap))
                continue
            frames = page.frames if page.number <= left else first_frames(page.frames, left)
            session.connection.push(frames)
            session.services.metrics.fetched_messages_total.inc(min(left, page.number))
            left -= page.number
