"""The dashboard's view of who is subscribed: clients that are connected, and the devices of connectors.

There may be a million of them, so a request goes through them in turns, and shows a page.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, Protocol

from flask import Blueprint, Response, jsonify

from gobbler.admin import api
from gobbler.admin.turns import in_turns
from gobbler.protocol.topic import ancestors
from gobbler.rest.reading import query, whole

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 500
MAX_COUNTED: Final = 10_000
"""So many subscribers of a topic are counted, and can be paged through."""

_SHORT: Final = 16


class Source(Protocol):
    """Some of the subscriptions: the router's, a connector's."""

    def numbers(self) -> Iterator[tuple[bytes, int]]:
        """Yield each subscribed path with how many subscriptions it has."""

    def at(self, path: bytes) -> Iterator[Mapping[str, str]]:
        """Yield the route parameters of the subscriptions to this very path."""


def blueprint(sources: Mapping[str, Source]) -> Blueprint:
    """Return `GET /admin/api/subscriptions` and `/admin/api/subscribers` of what has these names."""
    pages = api.blueprint("subscribed")

    @pages.get("/subscriptions")
    def subscriptions() -> Response:
        asked = query()
        limit = whole("limit", asked.get("limit", str(DEFAULT_LIMIT)), 1, MAX_LIMIT)
        prefix, after = asked.get("prefix", "").encode(), asked.get("after", "").encode()
        found: dict[bytes, dict[str, int]] = {}
        for name, source in sources.items():
            # What is among the first of all is among the first of its source.
            for path, number in _first(source, prefix, after, limit + 1):
                found.setdefault(path, {})[name] = number
        names = sorted(found)
        listed = [{"topic": path.decode(), "numbers": found[path]} for path in names[:limit]]
        return jsonify(subscriptions=listed, next=listed[-1]["topic"] if len(names) > limit else None)

    @pages.get("/subscribers")
    def subscribers() -> Response:
        asked = query()
        path = api.topic(dict(asked))
        offset = whole("offset", asked.get("offset", "0"), 0, MAX_COUNTED)
        limit = whole("limit", asked.get("limit", str(DEFAULT_LIMIT)), 1, MAX_LIMIT)
        shown, total, end = [], 0, min(offset + limit, MAX_COUNTED)
        for one in in_turns(islice(_reached(sources, path), MAX_COUNTED + 1)):
            if offset <= total < end:
                shown.append(one)
            total += 1
        return jsonify(
            topic=path.decode(),
            total=min(total, MAX_COUNTED),
            more=total > MAX_COUNTED,
            subscribers=[_describe(*one) for one in shown],
        )

    return pages


def _first(source: Source, prefix: bytes, after: bytes, limit: int) -> list[tuple[bytes, int]]:
    """Return the first paths, in their order, that begin with a prefix and come after another."""
    wanted = (
        (path, number)
        for path, number in in_turns(source.numbers())
        if path > after and path.startswith(prefix) and number
    )
    return heapq.nsmallest(limit, wanted)


def _reached(sources: Mapping[str, Source], path: bytes) -> Iterator[tuple[str, bytes, Mapping[str, str]]]:
    """Yield (source, subscribed path, parameters) of all that messages to a path reach, filters aside."""
    for name, source in sources.items():
        for above in ancestors(path):
            for params in source.at(above):
                yield name, above, params


def _describe(source: str, path: bytes, params: Mapping[str, str]) -> dict[str, Any]:
    return {
        "source": source,
        "topic": path.decode(),
        "userId": params.get("user_id"),
        "applicationId": params.get("application_id"),
        "device": shortened(params["device_token"]) if "device_token" in params else None,
    }


def shortened(token: str) -> str:
    """Return what tells one device token from another, and lets nobody send to it."""
    return f"{token[:6]}…{token[-4:]}" if len(token) > _SHORT else f"{token[:2]}…"
