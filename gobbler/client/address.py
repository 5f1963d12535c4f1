"""Where a server is: its URLs, from the one that a person gives."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from gobbler.errors import BadRequest
from gobbler.protocol.message import check_field

_SCHEMES: Final = {
    "http": ("http", "ws"),
    "ws": ("http", "ws"),
    "https": ("https", "wss"),
    "wss": ("https", "wss"),
}


@dataclass(frozen=True, slots=True)
class Address:
    """URLs without credentials, so that they may be shown; `authorization` is a header's value or empty.

    `rest` has no slash at its end.
    """

    websocket: str
    rest: str
    authorization: str


def parse(url: str, user: str = "", ws_prefix: str = "/stream/") -> Address:
    """Return the addresses of a server.

    `url` is like `http://localhost:8080`; https, ws and wss are understood, a path before those of Gobbler
    is kept, and credentials become a header (RFC 7617). `user` is the user id to connect as.

    Raises:
        BadRequest: it is no such URL, or the user id is not allowed.
    """
    parts = _split(url)
    rest_scheme, ws_scheme = _SCHEMES[parts.scheme]
    place = parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")
    check_field("user id", user.encode(errors="surrogatepass"))
    stream = "/" + ws_prefix.strip("/") + "/"
    if user:
        stream += "user/" + quote(user, safe="")
    return Address(f"{ws_scheme}://{place}{stream}", f"{rest_scheme}://{place}", basic_authorization(parts))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none
        usable = False
    if not usable or parts.query or parts.fragment:
        # The URL itself is not repeated: it may hold a password.
        raise BadRequest("not the address of a server: expected something like http://localhost:8080")
    return parts


def basic_authorization(parts: SplitResult) -> str:
    """Return the credentials of a URL as a header's value (RFC 7617); empty where it has none."""
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
