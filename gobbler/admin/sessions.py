"""The dashboard's list of WebSocket sessions, those first that read too slowly."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Set
from itertools import islice
from typing import Any, Final, NamedTuple

from flask import Blueprint, Response, jsonify

from gobbler.admin import api
from gobbler.admin.turns import in_turns
from gobbler.errors import BadRequest
from gobbler.rest.reading import query, whole
from gobbler.websocket.session import Session

SLOW_SECONDS: Final = 1.0
"""A client is slow when its connection has been full for so long."""

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 500
MAX_TOPICS: Final = 20
"""So many topics of a session are listed."""


class _Seen(NamedTuple):
    """A session as it is when it is looked at; it may change while others are."""

    session: Session
    full: float
    queued: int


_ORDERS: Final[dict[str, Callable[[_Seen], Any]]] = {
    "slow": lambda seen: (-seen.full, -seen.queued, -seen.session.since),
    "queued": lambda seen: -seen.queued,
    "subscriptions": lambda seen: -seen.session.subscriptions,
    "oldest": lambda seen: seen.session.since,
    "newest": lambda seen: -seen.session.since,
}


def blueprint(sessions: Set[Session], clock: Callable[[], float] = time.monotonic) -> Blueprint:
    """Return `GET /admin/api/sessions` of a set that changes; `clock` is that of the connections."""
    pages = api.blueprint("sessions")

    @pages.get("/sessions")
    def listed() -> Response:
        asked = query()
        search, order = asked.get("search", ""), asked.get("order", "slow")
        if order not in _ORDERS:
            raise BadRequest(f"order must be one of {', '.join(_ORDERS)}")
        offset = whole("offset", asked.get("offset", "0"), 0)
        limit = whole("limit", asked.get("limit", str(DEFAULT_LIMIT)), 1, MAX_LIMIT)
        total, now = len(sessions), clock()
        found = [_look(one, now) for one in in_turns(list(sessions)) if _matches(one, search)]
        first = heapq.nsmallest(offset + limit, in_turns(found), key=_ORDERS[order])
        return jsonify(
            total=total,
            matching=len(found),
            slow=sum(seen.full >= SLOW_SECONDS for seen in found),
            sessions=[_describe(seen) for seen in first[offset:]],
        )

    return pages


def _matches(session: Session, search: str) -> bool:
    return search in session.params["user_id"] or search in session.params["application_id"]


def _look(session: Session, now: float) -> _Seen:
    connection = session.connection
    full = max(0.0, now - connection.full_since) if connection.full_since else 0.0
    return _Seen(session, full, connection.queued)


def _describe(seen: _Seen) -> dict[str, Any]:
    session = seen.session
    return {
        "userId": session.params["user_id"],
        "applicationId": session.params["application_id"],
        "since": session.since,
        "subscriptions": session.subscriptions,
        "topics": [path.decode() for path in islice(session.paths, MAX_TOPICS)],
        "catchingUp": session.catching_up,
        "queuedBytes": seen.queued,
        "fullSeconds": round(seen.full, 1),
        "slow": seen.full >= SLOW_SECONDS,
    }
