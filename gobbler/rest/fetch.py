"""REST: a fetch, as a JSON array or as lines of JSON."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import gevent
from flask import Blueprint, Response, request

from gobbler.errors import StoreError
from gobbler.metrics import Metrics
from gobbler.protocol.selector import Selector
from gobbler.protocol.topic import partition_of
from gobbler.rest.reading import (
    ANY_ORIGIN,
    PREFIX,
    encode,
    encode_gap,
    messages,
    pieces,
    query,
    topic,
    unreadable,
    user,
    whole,
)
from gobbler.store.base import MessageStore, Page

DEFAULT_COUNT: Final = 100
MAX_COUNT: Final = 100_000

PAGE_BYTES: Final = 64 * 1024
"""How much is read and made JSON of at once, until the client has taken it."""

LINES: Final = "application/x-ndjson"

Items = Iterator[list[bytes]]
"""Messages and gaps as JSON, in the order of ids, a page at a time."""


def blueprint(store: MessageStore, metrics: Metrics) -> Blueprint:
    """Return `GET /api/message/<topic>`."""
    pages = Blueprint("fetch", __name__, url_prefix=PREFIX)

    @pages.get("/message/<topic:_rest>")
    def fetch(_rest: str) -> Response:
        try:
            items = _items(store, metrics)
        except StoreError as error:
            return unreadable(metrics, error)
        # Only who names lines gets them: `*/*` and application/json are the array.
        lines = LINES in request.headers.get("Accept", "")
        body = _lines(items) if lines else _array(items)
        mimetype = LINES if lines else "application/json"
        return Response(body, mimetype=mimetype, headers=ANY_ORIGIN | {"Cache-Control": "no-store"})

    return pages


def _items(store: MessageStore, metrics: Metrics) -> Items:
    """Return what the request asks for.

    Raises:
        BadRequest: what is wrong with it.
        StoreUnavailable: the store cannot be read now.
    """
    path, asked = topic("/message"), query()
    count = whole("count", asked.get("count", str(DEFAULT_COUNT)), 1, MAX_COUNT)
    start = whole("from", asked.get("from", str(-count)))
    # Nobody's parameters: without a user, no filter is satisfied.
    params = {"user_id": user(asked)} if asked.get("userId") else {}
    selector = Selector((path,), params)
    # Counted as for a WebSocket, which is told the number: so both end at the same message, or gap.
    number, pages = store.fetch(partition_of(path), selector, start, count, PAGE_BYTES)
    return _read(pages, number, metrics)


def _read(pages: Iterator[Page], left: int, metrics: Metrics) -> Items:
    metrics.fetches_started_total.inc()
    metrics.fetches.inc()
    only_gaps = not left  # then they are told all the same
    try:
        for page in pages:
            if page.gap:
                yield [b'{"gap":%b}' % encode_gap(*page.gap)]
            for found in pieces(map(encode, islice(messages(page), left)), PAGE_BYTES):
                metrics.fetched_messages_total.inc(len(found))
                left -= len(found)
                yield found
            if not left and not only_gaps:
                return
            gevent.sleep(0)  # sending to who reads fast does not wait, and others have their turn
    finally:
        metrics.fetches.dec()


def _lines(items: Items) -> Iterator[bytes]:
    for page in items:
        yield b"%b\n" % b"\n".join(page)


def _array(items: Items) -> Iterator[bytes]:
    before = b"["
    for page in items:
        yield before + b",\n".join(page)
        before = b",\n"
    yield b"[]\n" if before == b"[" else b"]\n"
