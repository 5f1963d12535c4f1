"""Where `--url` leads.

It names the WebSocket, as it always has (`ws://host:8080/stream/`); the REST side is found from it. The last
segment of its path is the server's `--ws-prefix`, what comes before that is a proxy's. `http` and `https`
name the server itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

DEFAULT: Final = "ws://localhost:8080/stream/"

_PREFIX: Final = "/stream/"
_PATH = re.compile(r"(?P<base>.*?)/(?P<prefix>[^/]+)(/user/(?P<user>[^/]+))?/*")


@dataclass(frozen=True, slots=True)
class Place:
    """What `gobbler.client.Client` is told: the server's URL, who to be, and where the WebSockets are."""

    url: str
    user: str
    ws_prefix: str = _PREFIX


def find(url: str, user: str = "") -> Place:
    """Return the place that a URL names; `user` wins over a user id in it.

    A URL that cannot be used is left as it is: the client says what is wrong with it.
    """
    if "://" not in url:
        url = f"ws://{url}"
    try:
        parts = urlsplit(url)
    except ValueError:
        return Place(url, user)
    found = _PATH.fullmatch(parts.path)
    if parts.scheme not in ("ws", "wss") or found is None:
        return Place(url, user)
    server = parts._replace(path=found["base"]).geturl()
    return Place(server, user or unquote(found["user"] or ""), f"/{found['prefix']}/")
