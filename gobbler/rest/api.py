"""REST: publishing a message, and who would get one."""

from __future__ import annotations

import json
import secrets
from typing import Final, cast
from urllib.parse import parse_qsl

import gevent
from flask import Blueprint, Response, jsonify, request
from gevent.event import AsyncResult

from gobbler.errors import BadRequest, GobblerError, InvalidMessage, MessageTooLarge
from gobbler.metrics import Metrics
from gobbler.protocol import filters
from gobbler.protocol.command import MAX_HEADER_BYTES
from gobbler.protocol.message import check_field, encode_headers
from gobbler.protocol.run import Run
from gobbler.protocol.topic import canonical
from gobbler.rest.errors import wants_json
from gobbler.router.intake import Intake
from gobbler.router.routes import Router
from gobbler.store.base import Committed

PREFIX: Final = "/api"
BODY_SECONDS: Final = 30.0
"""How long a client may take to send a body."""

_HEADER: Final = "HTTP_X_GOBBLER_"


class Receipt:
    """Waits for one run to be stored."""

    def __init__(self) -> None:
        """Begin to wait; a reply of `Intake.submit`."""
        self._result: AsyncResult[Committed] = AsyncResult()

    def stored(self, run: Run, first_id: int, time: int) -> None:
        """Wake who waits, with the id."""
        self._result.set(Committed(first_id, time))

    def failed(self, run: Run, error: GobblerError) -> None:
        """Wake who waits, with an error."""
        self._result.set_exception(error)

    def wait(self) -> Committed:
        """Return the id and the time. Raises: GobblerError: it was not stored."""
        return cast(Committed, self._result.get())


def blueprint(intake: Intake, router: Router, metrics: Metrics, max_message_size: int) -> Blueprint:
    """Return the routes below `/api`; `max_message_size` in bytes."""
    api = Blueprint("api", __name__, url_prefix=PREFIX)

    @api.route("/", methods=["HEAD", "GET"])
    def root() -> Response:
        return Response("Gobbler\n", mimetype="text/plain")

    @api.post("/message/<topic:_rest>")
    def publish(_rest: str) -> Response:
        run = _read_run(max_message_size)
        metrics.messages_received_rest.inc()
        metrics.received_bytes_total.inc(len(run.tails[0]))
        receipt = Receipt()
        intake.submit(run, receipt)
        return _published(run, receipt.wait())

    @api.get("/subscribers/<topic:_rest>")
    def subscribers(_rest: str) -> Response:
        return jsonify([dict(params) for params in router.subscribers(_topic("/subscribers"))])

    return api


def _topic(below: str) -> bytes:
    """Return the topic that the request's path ends with, in the bytes that the client sent (PEP 3333)."""
    raw: bytes = request.environ["PATH_INFO"].encode("latin-1")
    return canonical(raw[len(PREFIX + below) :])


def _read_run(max_message_size: int) -> Run:
    """Make a run of one message of the request.

    Raises:
        BadRequest: what is wrong with it.
    """
    query = _query()
    first = dict(reversed(query))
    message_id = check_field("messageId", first.get("messageId", "").encode())
    return Run(
        _topic("/message"),
        check_field("userId", first.get("userId", "").encode()),
        secrets.token_hex(8).encode(),
        [b"%b\n%b" % (_headers(), read_body(max_message_size))],
        [message_id] if message_id else None,
        filters.encode(filters.from_query(query)),
    )


def _query() -> list[tuple[str, str]]:
    """Return the names and values of the URL's query, in their order."""
    try:
        return parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest("the query is not valid UTF-8") from None


def _headers() -> bytes:
    """Return the `X-Gobbler-<Name>` headers as the JSON object of the message."""
    headers = encode_headers(
        (name[len(_HEADER) :].replace("_", "-").title(), _text(value))
        for name, value in request.environ.items()
        if name.startswith(_HEADER)
    )
    if len(headers) > MAX_HEADER_BYTES:
        raise InvalidMessage(f"headers are longer than {MAX_HEADER_BYTES} bytes")
    return headers


def _text(value: str) -> str:
    """Read a header's value as UTF-8 where it is that, else as Latin-1 (RFC 9110, section 5.5)."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


def read_body(limit: int, seconds: float = BODY_SECONDS, what: str = "message") -> bytes:
    """Return the request's body, of at most `limit` bytes; `what` it is, for the text of the error.

    Raises:
        MessageTooLarge: it is larger.
        BadRequest: it did not arrive, or not whole.
    """
    too_large = MessageTooLarge(f"{what} is larger than {limit} bytes")
    if (request.content_length or 0) > limit:
        raise too_large
    late = BadRequest(f"the body did not arrive within {seconds:g} seconds")
    try:
        with gevent.Timeout(seconds, late):
            body: bytes = request.environ["wsgi.input"].read(limit + 1)
    except OSError:  # pywsgi's word for a connection that ended and for chunks that are none
        raise BadRequest("the body is not whole") from None
    if len(body) > limit:
        raise too_large
    return body


def _published(run: Run, committed: Committed) -> Response:
    if not wants_json():
        return Response("OK", mimetype="text/plain")
    facts = {
        "sequenceId": str(committed.first_id),
        "path": run.path.decode(),
        "publisherMessageId": (run.message_ids or [b""])[0].decode(),
        "messagePublishingTime": str(committed.time),
    }
    return Response(json.dumps(facts, ensure_ascii=False), mimetype="application/json")
