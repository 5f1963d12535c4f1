"""Commands, as a client writes them: checked before they are sent, so that who is wrong learns it at once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from gobbler.errors import BadRequest, InvalidMessage, InvalidTopic
from gobbler.protocol.command import MAX_HEADER_BYTES
from gobbler.protocol.filters import from_query
from gobbler.protocol.message import MAX_ID, check_field
from gobbler.protocol.topic import canonical

_to_json: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


def path_of(topic: str) -> bytes:
    """Return a topic as it is kept.

    Raises:
        InvalidTopic: it breaks a rule (docs/protocol.md, Topics).
    """
    try:
        return canonical(topic.encode())
    except UnicodeEncodeError:
        raise InvalidTopic("topic is not valid UTF-8") from None


def url_path(topic: str) -> str:
    """Return a topic as a part of a URL.

    Raises:
        InvalidTopic: it breaks a rule.
    """
    segments = path_of(topic).split(b"/")
    # A segment of one or two dots would be taken for a step in the path (RFC 3986, section 5.2.4).
    return "/".join(
        "%2E" * len(segment) if segment in (b".", b"..") else quote(segment, safe="") for segment in segments
    )


def http_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a message as those of an HTTP request.

    Raises:
        InvalidMessage: HTTP does not allow one.
    """
    found = {}
    for name, value in headers.items():
        texts = all(isinstance(text, str) for text in (name, value))
        if not texts or not _TOKEN.fullmatch(name) or not value.isprintable():
            raise InvalidMessage(f"header {name!r} cannot be sent over HTTP")
        # http.client writes Latin-1: these are the bytes of UTF-8 in that disguise.
        found[f"X-Gobbler-{name}"] = value.encode().decode("latin-1")
    return found


def filter_parameters(filters: Mapping[str, str]) -> dict[str, str]:
    """Return filters as parameters of a URL's query.

    Raises:
        InvalidMessage: a name cannot be written so, or they are too long.
    """
    found = {
        "filter" + "".join(word[:1].upper() + word[1:] for word in name.split("_")): value
        for name, value in filters.items()
    }
    if from_query(found.items()) != filters:
        raise InvalidMessage("filters must be named with words in lower case, joined by underscores")
    return found


def check_id(start: int) -> int:
    """Return a start id that may be asked for.

    Raises:
        BadRequest: it is too large.
    """
    if abs(start) > MAX_ID:
        raise BadRequest("an id is a whole number of at most 2^53-1")
    return start


def check_count(count: int) -> int:
    """Return a number of messages that may be asked for.

    Raises:
        BadRequest: it is too large, or not positive.
    """
    if not 1 <= count <= MAX_ID:
        raise BadRequest("a count is a whole number from 1 to 2^53-1")
    return count


def send(topic: str, message_id: str, headers: Mapping[str, object] | None, body: bytes | str) -> bytes:
    """Return a send command.

    Raises:
        InvalidTopic: the topic breaks a rule.
        InvalidMessage: the message id, the headers or the body do.
    """
    path = path_of(topic)
    name = check_field("message id", _encode("message id", message_id))
    if name.split() != [name]:
        raise InvalidMessage("message id is empty or holds white space")
    head = encode_headers(headers) if headers else b""
    return b"> %b %b\n%b\n%b" % (path, name, head and head + b"\n", encode_body(body))


def encode_headers(headers: Mapping[str, object]) -> bytes:
    """Return headers as one JSON object.

    Raises:
        InvalidMessage: they cannot be, or are too long.
    """
    try:
        encoded = _encode("headers", _to_json(dict(headers)))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMessage(f"headers are not JSON: {error}") from None
    if len(encoded) > MAX_HEADER_BYTES:
        raise InvalidMessage(f"headers are longer than {MAX_HEADER_BYTES} bytes")
    return encoded


def encode_body(body: bytes | str) -> bytes:
    """Return a body as bytes: text as UTF-8.

    Raises:
        InvalidMessage: the text is no Unicode.
    """
    if isinstance(body, str):
        return _encode("body", body)
    # Not bytes(body): of a number, that makes as many zeros.
    return body if type(body) is bytes else memoryview(body).tobytes()


def _encode(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidMessage(f"{name} is not valid UTF-8") from None
