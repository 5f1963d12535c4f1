"""What all of the dashboard's JSON has in common, and who may change something with it.

There is no login here: whoever reaches the server may do what the dashboard can. But a page of
another site, open in the browser of somebody who reaches it, must not. Such a page cannot read an
answer, since none allows that, and what changes something is a POST that it cannot send: it has to
be JSON, which needs a permission that nobody here gives, and browsers say where it comes from.
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, request

from gobbler.errors import BadRequest
from gobbler.protocol.topic import canonical
from gobbler.rest.api import read_body

PREFIX: Final = "/admin/api"

_JSON: Final = "application/json"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def blueprint(name: str) -> Blueprint:
    """Return a blueprint below `/admin/api` without routes; what it answers is for the dashboard alone."""
    made = Blueprint(f"dashboard_{name}", __name__, url_prefix=PREFIX)

    @made.after_request
    def private(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    return made


def posted(limit: int) -> dict[str, Any]:
    """Return the JSON object, of at most `limit` bytes, of a request that changes something.

    Raises:
        HTTPException: it comes from a page of another site (403), or is not JSON by its type (415).
        BadRequest: it is no JSON object.
        MessageTooLarge: it is larger.
    """
    if not _same_origin():
        abort(403, "only the dashboard's own page may do this")
    if request.mimetype != _JSON:
        abort(415, f"the body must be {_JSON}")
    try:
        asked = json.loads(read_body(limit))
    except (ValueError, RecursionError):
        raise BadRequest("the body is not valid JSON") from None
    if not isinstance(asked, dict):
        raise BadRequest("the body is not a JSON object")
    return asked


def _same_origin() -> bool:
    """Say whether a request comes from a page of this server, or from no page at all.

    Where the browser says it itself (Fetch Metadata), that counts: a proxy may have changed Host.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc.lower() == request.host.lower()


def text(asked: dict[str, Any], name: str) -> bytes:
    """Return a member that is a text, "" where it is missing, as UTF-8.

    Raises:
        BadRequest: it is no text.
    """
    value = asked.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(f"{name} is not a text")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{name} is not valid Unicode") from None


def topic(asked: dict[str, Any]) -> bytes:
    """Return the member `topic`.

    Raises:
        BadRequest: it is missing, or no text.
        InvalidTopic: it is none.
    """
    raw = text(asked, "topic")
    if not raw:
        raise BadRequest("topic is missing")
    return canonical(raw)
