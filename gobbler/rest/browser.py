"""What browsers load: the client as a module, and the chat that shows how to use it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from flask import Blueprint, Response, request

from gobbler.config import CLIENT_PREFIX, EXAMPLES_PREFIX
from gobbler.rest.reading import ANY_ORIGIN

_FILES: Final = Path(__file__).parents[1] / "web"
_CHAT: Final = _FILES / "examples" / "chat"
_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_PREFIX: Final = 'name="gobbler-prefix" content="{}"'
_SECURITY: Final = {
    # Nothing from elsewhere, and nothing inline: what people write to each other is only ever text.
    # `'self'` does not mean ws: everywhere yet.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def blueprint(ws_prefix: str, *, examples: bool) -> Blueprint:
    """Return `/client/gobbler.js` and, with `examples`, `/examples/chat`; it connects below `ws_prefix`."""
    files = Blueprint("browser", __name__)

    @files.get(f"{CLIENT_PREFIX}gobbler.js")
    def client() -> Response:
        response = file(_FILES / "client", "gobbler.js")
        response.headers.extend(ANY_ORIGIN)  # a module is only loaded from another origin that says so
        return response

    def chat() -> Response:
        page = (_CHAT / "index.html").read_text(encoding="utf-8")
        page = page.replace(_PREFIX.format("/stream/"), _PREFIX.format(ws_prefix))
        return Response(page, mimetype="text/html", headers=_SECURITY | {"Cache-Control": "no-cache"})

    def part(name: str) -> Response:
        return file(_CHAT, name)

    if examples:
        files.add_url_rule(f"{EXAMPLES_PREFIX}chat", view_func=chat)
        files.add_url_rule(
            f"{EXAMPLES_PREFIX}chat/<any('chat.css', 'chat.js', 'icon.svg'):name>", view_func=part
        )
    return files


def file(folder: Path, name: str) -> Response:
    """Return a file of a known name; browsers keep it, and ask each time whether it has changed."""
    path = folder / name
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    response = Response(path.read_bytes(), mimetype=_TYPES[path.suffix], headers=headers)
    response.add_etag()
    response.make_conditional(request)
    return response
