"""The subscription interface of a push connector, below its prefix (`/fcm/`, `/apns/`)."""

from __future__ import annotations

import json
from typing import Final

from flask import Blueprint, Response, jsonify, request

from gobbler.connectors.subscription import Device
from gobbler.connectors.subscriptions import TOKEN, USER, Subscriptions
from gobbler.errors import BadRequest, GobblerError
from gobbler.metrics import Metrics
from gobbler.protocol.message import check_field
from gobbler.protocol.topic import canonical
from gobbler.rest.api import read_body
from gobbler.rest.errors import status_of

MAX_TOKEN_BYTES: Final = 4096
"""The longest device token: none that a provider gives is nearly as long."""

_MAX_BODY: Final = 64 * 1024
_PARTS: Final = 3


def blueprint(subscriptions: Subscriptions, prefix: str, metrics: Metrics) -> Blueprint:
    """Return the routes below `prefix`, which begins and ends with a slash. All answers are JSON."""
    push = Blueprint(subscriptions.name, __name__)

    @push.errorhandler(GobblerError)
    def refused(error: GobblerError) -> tuple[Response, int]:
        metrics.count_error(error.code)
        text = (
            str(error) if isinstance(error, BadRequest) else "the subscriptions cannot be read or written now"
        )
        return jsonify(error=text), status_of(error)

    @push.route(f"{prefix}<below:_rest>", methods=["POST", "DELETE"])
    def subscription(_rest: str) -> tuple[Response, int]:
        device, topic = _named(prefix)
        name = topic.decode()
        if request.method == "POST":
            if subscriptions.create(device, topic):
                return jsonify(subscribed=name), 200
            return jsonify(error="subscription already exists"), 200
        if subscriptions.delete(device, topic):
            return jsonify(unsubscribed=name), 200
        return jsonify(error="subscription not found"), 404

    @push.get(prefix)
    def topics() -> tuple[Response, int]:
        user_id, token = request.args.get(USER), request.args.get(TOKEN)
        if user_id is None and token is None:
            return jsonify(error="Missing filters"), 400
        return jsonify([topic.removeprefix("/") for topic in subscriptions.topics(user_id, token)]), 200

    @push.post(f"{prefix}substitute/")
    def substitute() -> Response:
        field, old, new = _substitution()
        check = _token if field == TOKEN else _user
        return jsonify(modified=str(subscriptions.substitute(field, old, check(new.encode()))))

    return push


def _named(prefix: str) -> tuple[Device, bytes]:
    """Return the device and the topic that the request's path names.

    Raises: BadRequest: it names none, or one that may not be.
    """
    raw: bytes = request.environ["PATH_INFO"].encode("latin-1")  # the bytes that the client sent (PEP 3333)
    parts = raw.removeprefix(prefix.encode()).split(b"/", _PARTS - 1)
    if len(parts) < _PARTS:
        raise BadRequest(f"expected {prefix}<device token>/<user id>/<topic>")
    token, user_id, topic = parts
    return Device(_token(token), _user(user_id)), canonical(b"/" + topic)


def _token(raw: bytes) -> str:
    if not raw:
        raise BadRequest("the device token is empty")
    if len(raw) > MAX_TOKEN_BYTES:
        raise BadRequest(f"the device token is longer than {MAX_TOKEN_BYTES} bytes")
    if not raw.isascii() or any(byte <= ord(" ") or byte == ord("\x7f") for byte in raw):
        raise BadRequest("the device token holds something that is no visible ASCII character")
    return raw.decode()


def _user(raw: bytes) -> str:
    if not raw:
        raise BadRequest("the user id is empty")
    return check_field("the user id", raw).decode()


def _substitution() -> tuple[str, str, str]:
    """Return field, old and new value of the request's body. Raises: BadRequest: what is wrong with it."""
    try:
        asked = json.loads(read_body(_MAX_BODY))
    except ValueError:
        raise BadRequest("the body is not valid JSON") from None
    if not isinstance(asked, dict):
        raise BadRequest("the body is not a JSON object")
    values = [asked.get(name) for name in ("field", "old_value", "new_value")]
    for name, value in zip(("field", "old_value", "new_value"), values, strict=True):
        if not isinstance(value, str) or not value:
            raise BadRequest(f"{name} is missing")
    field, old, new = map(str, values)
    return field, old, new
