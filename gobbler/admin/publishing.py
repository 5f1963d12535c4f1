"""Publishing a message from the dashboard."""

from __future__ import annotations

import secrets
from typing import Any

from flask import Blueprint, Response, jsonify

from gobbler.admin import api
from gobbler.errors import BadRequest, InvalidMessage, MessageTooLarge
from gobbler.metrics import Metrics
from gobbler.protocol import filters
from gobbler.protocol.command import MAX_HEADER_BYTES
from gobbler.protocol.message import check_field, encode_headers
from gobbler.protocol.run import Run
from gobbler.rest.api import Receipt
from gobbler.router.intake import Intake

_ESCAPED = 6
"""JSON takes up to so many bytes for one of the text."""


def blueprint(intake: Intake, metrics: Metrics, max_message_size: int) -> Blueprint:
    """Return `POST /admin/api/messages`; `max_message_size` in bytes."""
    pages = api.blueprint("publishing")

    @pages.post("/messages")
    def publish() -> Response:
        run = _run(api.posted(_ESCAPED * (max_message_size + MAX_HEADER_BYTES)), max_message_size)
        metrics.messages_received_rest.inc()
        metrics.received_bytes_total.inc(len(run.tails[0]))
        receipt = Receipt()
        intake.submit(run, receipt)
        stored = receipt.wait()
        return jsonify(id=stored.first_id, topic=run.path.decode(), time=stored.time)

    return pages


def _run(asked: dict[str, Any], max_message_size: int) -> Run:
    """Make a run of one message.

    Raises:
        BadRequest: what is wrong with it.
    """
    body = api.text(asked, "body")
    if len(body) > max_message_size:
        raise MessageTooLarge(f"message is larger than {max_message_size} bytes")
    message_id = check_field("messageId", api.text(asked, "messageId"))
    only = api.text(asked, "onlyUser").decode()
    return Run(
        api.topic(asked),
        check_field("userId", api.text(asked, "userId")),
        secrets.token_hex(8).encode(),
        [b"%b\n%b" % (_headers(asked.get("headers", {})), body)],
        [message_id] if message_id else None,
        filters.encode(filters.from_query([("filterUserId", only)] if only else [])),
    )


def _headers(asked: Any) -> bytes:
    """Return the headers as they are kept. Raises: BadRequest: they are no object of texts, or too long."""
    if not isinstance(asked, dict) or not all(isinstance(value, str) for value in asked.values()):
        raise BadRequest("headers are not a JSON object of texts")
    headers = encode_headers(asked.items())
    if len(headers) > MAX_HEADER_BYTES:
        raise InvalidMessage(f"headers are longer than {MAX_HEADER_BYTES} bytes")
    return headers
