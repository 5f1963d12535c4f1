"""Errors as HTTP answers."""

from __future__ import annotations

from typing import Final

from flask import Response, jsonify, request

from gobbler.errors import BadRequest, GobblerError, KVError, MessageTooLarge, Stopping

_TOO_LARGE: Final = 413
_UNAVAILABLE: Final = 503


def status_of(error: GobblerError) -> int:
    """Return the HTTP status of an error (RFC 9110, section 15)."""
    if isinstance(error, MessageTooLarge):
        return _TOO_LARGE
    if isinstance(error, BadRequest):
        return 400
    return _UNAVAILABLE if error.retry else 500


def text_of(error: GobblerError) -> str:
    """Return what the client may know of an error: what went wrong inside names files and folders."""
    if isinstance(error, BadRequest | Stopping):
        return str(error)
    return "the key-value store failed" if isinstance(error, KVError) else "the message could not be stored"


def answer(text: str, status: int) -> Response:
    """Return a reason as JSON where the client asks for that, else as a line of text."""
    response = jsonify(error=text) if wants_json() else Response(text + "\n", mimetype="text/plain")
    response.status_code = status
    if status == _TOO_LARGE:
        response.headers["Connection"] = "close"  # rather than read all of it
    if status == _UNAVAILABLE:
        response.headers["Retry-After"] = "1"
    return response


def wants_json() -> bool:
    """Say whether the client names JSON among what it accepts; `*/*` names nothing."""
    return "application/json" in request.headers.get("Accept", "")
