"""The dashboard's message browser: pages of a topic, forwards and backwards, whatever the filters.

Beginnings of bodies only: a page of the largest messages would be many megabytes. The whole of one
is a download, and never shown as what it may claim to be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import repeat
from typing import Final, NamedTuple

import gevent
from flask import Blueprint, Response, abort

from gobbler.admin import api
from gobbler.errors import BadRequest, StoreError
from gobbler.metrics import Metrics
from gobbler.protocol import filters
from gobbler.protocol.message import MAX_ID, Message
from gobbler.protocol.selector import Selector, split_key
from gobbler.protocol.topic import covers, partition_of
from gobbler.rest.reading import encode, encode_gap, messages, query, unreadable, whole
from gobbler.store.base import MessageStore, Page

DEFAULT_COUNT: Final = 50
MAX_COUNT: Final = 200
PREVIEW_BYTES: Final = 4096
"""So much of a body is in a page."""

_PAGE_BYTES: Final = 64 * 1024
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Unfiltered(Selector):
    """All that is at or below some paths, whomever its filters are for."""

    __slots__ = ()

    def _decide(self, key: bytes) -> bool:
        path, _ = split_key(key)
        return any(covers(above, path) for above in self.paths)


class _Shown(NamedTuple):
    """A page: messages and gaps as JSON, and the ids (first, last) that it covers."""

    messages: list[bytes]
    gaps: list[bytes]
    first: int
    last: int


class _Reader:
    """Reads one topic."""

    def __init__(self, store: MessageStore, path: bytes) -> None:
        self._store = store
        self._path = path
        self._partition = partition_of(path)
        self._selector = Unfiltered((path,), {})
        self.bounds = store.bounds(self._partition)

    def before(self, id: int, count: int) -> _Shown:
        """Return the newest messages whose ids are smaller."""
        last = min(id - 1, self.bounds.last)
        return self._read(self._newest(count, last), last, count)

    def beginning(self, id: int, count: int) -> _Shown:
        """Return the oldest messages with this id or a larger one."""
        return self._read(max(id, self.bounds.first), self.bounds.last, count)

    def message(self, id: int) -> Message | None:
        """Return a message; None where the topic has none with this id."""
        for page in self._scan(id, id):
            yielded = next(messages(page), None)
            if yielded is not None:
                return yielded
        return None

    def anything(self, first: int, last: int) -> bool:
        """Say whether the topic has messages with ids from `first` to `last`."""
        return first <= last and first <= self._newest(1, last) <= last

    def _newest(self, number: int, last: int) -> int:
        return self._store.newest(self._partition, self._selector, number, last)

    def _scan(self, first: int, last: int) -> Iterator[Page]:
        return self._store.scan(self._partition, self._selector, first, last, _PAGE_BYTES, keyed=True)

    def _read(self, first: int, last: int, left: int) -> _Shown:
        shown = _Shown([], [], first, last)
        for page in self._scan(first, last):
            if page.gap:
                shown.gaps.append(encode_gap(*page.gap))
            for message, raw in zip(messages(page), _filters(page), strict=True):
                if not left:
                    return shown._replace(last=message.id - 1)
                shown.messages.append(_encode(message, raw))
                left -= 1
            gevent.sleep(0)
        return shown


def blueprint(store: MessageStore, metrics: Metrics) -> Blueprint:
    """Return `GET /admin/api/messages` and `/admin/api/body`."""
    pages = api.blueprint("browsing")

    @pages.errorhandler(StoreError)
    def failed(error: StoreError) -> Response:
        return unreadable(metrics, error)

    @pages.get("/messages")
    def page() -> Response:
        asked = query()
        path = api.topic(dict(asked))
        count = whole("count", asked.get("count", str(DEFAULT_COUNT)), 1, MAX_COUNT)
        reader = _Reader(store, path)
        return Response(_page(path, reader, _choose(reader, asked, count)), mimetype="application/json")

    @pages.get("/body")
    def body() -> Response:
        asked = query()
        message = _Reader(store, api.topic(dict(asked))).message(whole("id", asked.get("id", ""), 1))
        if message is None:
            abort(404, "there is no such message")
        name = f"message-{message.id}.bin"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Security-Policy": "sandbox; default-src 'none'",
        }
        return Response(message.body, mimetype="application/octet-stream", headers=headers)

    return pages


def _choose(reader: _Reader, asked: Mapping[str, str], count: int) -> _Shown:
    """Return the page that is asked for. Raises: BadRequest: which one is not clear."""
    if "from" in asked and "before" in asked:
        raise BadRequest("from and before exclude each other")
    if "from" in asked:
        return reader.beginning(whole("from", asked["from"], 0), count)
    return reader.before(whole("before", asked.get("before", str(MAX_ID)), 1), count)


def _page(path: bytes, reader: _Reader, shown: _Shown) -> bytes:
    bounds = reader.bounds
    facts = {
        "topic": path.decode(),
        "firstId": bounds.first,
        "lastId": bounds.last,
        "older": shown.first if reader.anything(bounds.first, shown.first - 1) else None,
        "newer": shown.last + 1 if reader.anything(shown.last + 1, bounds.last) else None,
    }
    head = _to_json(facts).encode()[:-1]
    parts = head, b",\n".join(shown.messages), b",".join(shown.gaps)
    return b'%b,"messages":[%b],"gaps":[%b]}\n' % parts


def _filters(page: Page) -> Iterator[bytes]:
    """Yield the filters of each message of a page."""
    for key, number in page.runs:
        yield from repeat(split_key(key)[1], number)


def _encode(message: Message, raw: bytes) -> bytes:
    """Return what REST says of a message, with the beginning of its body, its size and its filters."""
    facts = {"filters": filters.decode(raw), "bodyBytes": len(message.body)}
    line = encode(replace(message, body=_beginning(message.body)))
    return _to_json(facts).encode()[:-1] + b"," + line[1:]


def _beginning(body: bytes) -> bytes:
    """Cut a body, but not within a character: what was a text has to stay one."""
    end = PREVIEW_BYTES
    while len(body) > end > PREVIEW_BYTES - 4 and body[end] & 0xC0 == 0x80:
        end -= 1
    return body[:end]
