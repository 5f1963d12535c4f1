"""Delivery receipts of SMS: the webhook that the provider calls, by GET or POST, form, JSON or query."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl

from flask import Blueprint, Response, request

from gobbler.connectors.sms import receipt
from gobbler.errors import BadRequest
from gobbler.reporting.base import Reporter
from gobbler.rest.api import read_body
from gobbler.rest.errors import answer

MAX_BYTES: Final = 16 << 10
"""A receipt has some 500 bytes."""

BODY_SECONDS: Final = 10.0
"""How long the provider may take to send one; it waits 15 s for the answer itself."""

REMEMBERED: Final = 10_000
"""So many receipts are known again: five minutes of them, at 30 SMS a second."""

Verify = Callable[[Mapping[str, str]], bool]


class Seen:
    """The newest receipts, each a message's id and a status."""

    def __init__(self, limit: int) -> None:
        """Keep up to `limit` of them."""
        self._limit = limit
        self._seen: dict[tuple[str, str], None] = {}

    def add(self, message_id: str, status: str) -> bool:
        """Remember a receipt; return whether it is a new one."""
        if (message_id, status) in self._seen:
            return False
        self._seen[message_id, status] = None
        if len(self._seen) > self._limit:
            del self._seen[next(iter(self._seen))]
        return True


def blueprint(
    endpoint: str,
    reporter: Reporter,
    verify: Verify | None = None,
    *,
    remembered: int = REMEMBERED,
    clock: Callable[[], float] = time.time,
) -> Blueprint:
    """Return the route of receipts.

    `endpoint` is its path. `verify` says whether the parameters of a receipt are signed as they have
    to be; without it everyone is believed. A receipt that comes again is answered, but not reported
    again, as long as it is among the newest (`remembered`). `clock` gives unix seconds.
    """
    receipts = Blueprint("receipts", __name__)
    seen = Seen(remembered)

    @receipts.route(endpoint, methods=["GET", "POST"])
    def receive() -> Response:
        parameters = _parameters()
        if verify is not None and not verify(parameters):
            return answer("the signature is missing, wrong or too old", 403)
        found = receipt.parse(parameters, clock())
        if seen.add(found.message_id, found.status):
            reporter.report(found.event())
        return Response("OK", mimetype="text/plain")

    return receipts


def _parameters() -> dict[str, str]:
    """Return the parameters of the URL and of the body.

    Raises:
        BadRequest: they cannot be read.
        MessageTooLarge: the body is larger than any receipt.
    """
    found = _pairs(request.query_string)
    body = read_body(MAX_BYTES, BODY_SECONDS, "receipt")
    if request.mimetype == "application/json" or body.startswith(b"{"):
        found += receipt.from_json(body).items()
    elif body:
        found += _pairs(body)
    return receipt.unite(found)


def _pairs(text: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:  # UnicodeDecodeError is one of these
        raise BadRequest("the parameters cannot be read") from None
