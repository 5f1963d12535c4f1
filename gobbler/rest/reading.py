"""What the reading side of REST has in common: what a request asks for, and messages as JSON."""

from __future__ import annotations

import json
import logging
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import parse_qsl

from flask import Response, request

from gobbler.errors import BadRequest, GobblerError, StoreError
from gobbler.metrics import Metrics
from gobbler.protocol.block import Chunk
from gobbler.protocol.message import MAX_ID, Message, check_field
from gobbler.protocol.topic import canonical
from gobbler.rest.errors import answer, status_of
from gobbler.store.base import Page

log = logging.getLogger(__name__)

PREFIX: Final = "/api"

ANY_ORIGIN: Final = {"Access-Control-Allow-Origin": "*"}
"""For pages of other origins: they may read with a WebSocket anyway, and no browser sends cookies for `*`."""

_NUMBER = re.compile(r"-?[0-9]{1,16}", re.ASCII)
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def topic(below: str) -> bytes:
    """Return the topic that the request's path ends with, behind `/api` and `below`.

    Raises:
        InvalidTopic: it is none.
    """
    raw: bytes = request.environ["PATH_INFO"].encode("latin-1")  # the bytes that the client sent (PEP 3333)
    return canonical(raw[len(PREFIX + below) :])


def query() -> dict[str, str]:
    """Return the URL's query; of a name that is given twice, the first value.

    Raises:
        BadRequest: it is not UTF-8.
    """
    try:
        pairs = parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest("the query is not valid UTF-8") from None
    return dict(reversed(pairs))


def whole(name: str, text: str, least: int = -MAX_ID, most: int = MAX_ID) -> int:
    """Return the number that a parameter is.

    Raises:
        BadRequest: it is none, or too small or too large.
    """
    if not _NUMBER.fullmatch(text) or abs(int(text)) > MAX_ID:
        raise BadRequest(f"{name} is not a whole number of at most 2^53-1")
    if int(text) < least:
        raise BadRequest(f"{name} must be at least {least}")
    if int(text) > most:
        raise BadRequest(f"{name} must be at most {most}")
    return int(text)


def user(asked: Mapping[str, str]) -> str:
    """Return the user that a query names, "" for none.

    Raises:
        InvalidMessage: it may not be one.
    """
    return check_field("userId", asked.get("userId", "").encode()).decode()


def messages(page: Page) -> Iterator[Message]:
    """Decode a page."""
    return Chunk(0, page.number, page.frames).messages()


def pieces(items: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """Yield what is to be sent, in lists of about `size` bytes.

    A page may be much larger: it holds whole blocks, as they were committed. Encoded and joined at once, it
    would be in memory several times while a slow reader takes it.
    """
    piece: list[bytes] = []
    held = 0
    for item in items:
        piece.append(item)
        held += len(item)
        if held >= size:
            yield piece
            piece, held = [], 0
    if piece:
        yield piece


def encode(message: Message) -> bytes:
    """Return a message as one line of JSON; `bodyBase64` takes the place of a `body` that is not UTF-8."""
    # The headers are a JSON object already; a carriage return can only stand between its tokens.
    return b'{"id":%d,"path":%b,"userId":%b,"applicationId":%b,"messageId":%b,"time":%d,"headers":%b,%b}' % (
        message.id,
        _string(message.path),
        _string(message.user_id),
        _string(message.application_id),
        _string(message.message_id),
        message.time,
        message.headers.replace(b"\r", b" ") or b"{}",
        _body(message.body),
    )


def encode_gap(first: int, last: int) -> bytes:
    """Return ids that cannot be had any more as one line of JSON."""
    return b'{"first":%d,"last":%d}' % (first, last)


def _string(value: bytes) -> bytes:
    return _to_json(value.decode()).encode()


def _body(body: bytes) -> bytes:
    try:
        return b'"body":' + _string(body)
    except UnicodeDecodeError:
        return b'"bodyBase64":"%b"' % b64encode(body)


def unreadable(metrics: Metrics, error: StoreError) -> Response:
    """Answer that the store cannot be read; what is wrong with it is not the client's business."""
    log.warning("%s %s: %s", request.method, request.path, error)
    metrics.count_error(error.code)
    return answer(text_of(error), status_of(error))


def text_of(error: GobblerError) -> str:
    """Return what a reader may know of an error of the store."""
    return "the message store cannot be read now" if error.retry else "the message store cannot be read"
