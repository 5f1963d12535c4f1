"""REST: which partitions there are, and what each holds."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Final

import gevent
from flask import Blueprint, Response, jsonify

from gobbler.errors import StoreError
from gobbler.metrics import Metrics
from gobbler.protocol.selector import Selector
from gobbler.rest.reading import ANY_ORIGIN, PREFIX, messages, query, text_of, unreadable, whole
from gobbler.store.base import MessageStore

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
"""So many partitions are opened at most, a part of what a store keeps open."""


class _Everything(Selector):
    """What a path holds, whatever its filters."""

    def matches(self, key: bytes) -> bool:
        return True


def blueprint(store: MessageStore, metrics: Metrics) -> Blueprint:
    """Return `GET /api/topics`."""
    pages = Blueprint("topics", __name__, url_prefix=PREFIX)

    @pages.get("/topics")
    def topics() -> Response:
        asked = query()
        limit = whole("limit", asked.get("limit", str(DEFAULT_LIMIT)), 1, MAX_LIMIT)
        try:
            names, more = _names(store, asked.get("prefix", ""), asked.get("after", ""), limit)
            listed = [_describe(store, name) for name in names]
        except StoreError as error:
            return unreadable(metrics, error)
        response = jsonify(topics=listed, next=listed[-1]["topic"] if more else None)
        response.headers.extend(ANY_ORIGIN | {"Cache-Control": "no-store"})
        return response

    return pages


def _names(store: MessageStore, prefix: str, after: str, limit: int) -> tuple[list[str], bool]:
    """Return the first names that begin with `prefix` and come after another; say whether more follow.

    Both are topics; they need no slash in front.
    """
    prefix, after = prefix.removeprefix("/"), after.removeprefix("/")
    names = sorted(name for name in store.partitions() if name.startswith(prefix))
    begin = bisect_right(names, after)
    return names[begin : begin + limit], len(names) > begin + limit


def _describe(store: MessageStore, name: str) -> dict[str, Any]:
    """Return what a partition holds, or that it cannot be read: one that is damaged must not hide others."""
    gevent.sleep(0)  # opening partitions takes time, and others have their turn
    facts: dict[str, Any] = {"topic": f"/{name}"}
    try:
        facts["bytes"] = store.size(name)
        bounds = store.bounds(name)
        facts["count"] = bounds.last - bounds.first + 1
        facts["firstId"], facts["lastId"] = bounds
        for end, id in (("firstTime", bounds.first), ("lastTime", bounds.last)):
            facts[end] = _time(store, name, id) if facts["count"] else None
    except StoreError as error:
        facts["error"] = text_of(error)
    return facts


def _time(store: MessageStore, name: str, id: int) -> int | None:
    """Return when a message was published, unix seconds; None where it cannot be read."""
    everything = _Everything((f"/{name}".encode(),), {})
    for page in store.scan(name, everything, id, id, 1):
        for message in messages(page):
            return message.time
    return None
