"""The dashboard: a page at `/admin/`, the files that it is made of, and the JSON behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from flask import Blueprint, Response

from gobbler.admin import browsing, connectors, publishing, sessions, status, storage, subscribed
from gobbler.admin.counted import memory, total
from gobbler.admin.rates import Rates
from gobbler.config import Config
from gobbler.connectors.connector import Connector
from gobbler.health import Health
from gobbler.metrics import Metrics
from gobbler.rest import browser
from gobbler.router.intake import Intake
from gobbler.router.routes import Router
from gobbler.store.base import MessageStore
from gobbler.websocket.gateway import Gateway

PAGE: Final = "/admin/"
FILES: Final = "/admin/files/"

_FOLDER: Final = Path(__file__).parents[1] / "web" / "admin"
_HEADERS: Final = {
    # Nothing from elsewhere, nothing inline, and in nobody's frame: it has buttons that do things.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Parts(NamedTuple):
    """What the dashboard looks at. `gateway` is None where WebSockets are turned off."""

    config: Config
    health: Health
    metrics: Metrics
    router: Router
    store: MessageStore
    intake: Intake
    connectors: Mapping[str, Connector]
    gateway: Gateway | None


class Dashboard:
    """The page and what is behind it; `rates` is a service."""

    def __init__(self, parts: Parts) -> None:
        """Look at these parts, which others start and stop."""
        self._parts = parts
        self.rates = Rates(_sources(parts))

    def __repr__(self) -> str:
        """Show how much of the past is known."""
        return f"<Dashboard {self.rates!r}>"

    def blueprints(self) -> Iterator[Blueprint]:
        """Yield the page and the JSON."""
        config, health, metrics, router, store, intake, by_name, gateway = self._parts
        audiences = {name: one.audience for name, one in by_name.items()}
        yield _page()
        yield status.blueprint(status.Watched(config, health, metrics, self.rates))
        yield sessions.blueprint(gateway.sessions if gateway is not None else frozenset())
        yield subscribed.blueprint({"clients": router, **audiences})
        yield browsing.blueprint(store, metrics)
        yield publishing.blueprint(intake, metrics, config.max_message_size)
        yield connectors.blueprint(by_name, metrics, toggles=bool(config.toggles_endpoint))
        yield storage.blueprint(config, store)


def _sources(parts: Parts) -> dict[str, Callable[[], float]]:
    """Return what is sampled each second; all of it is counted anyway."""
    metrics, gateway = parts.metrics, parts.gateway
    via_websocket, via_rest = metrics.messages_received_websocket, metrics.messages_received_rest
    found: dict[str, Callable[[], float]] = {
        "received": lambda: via_websocket.value + via_rest.value,
        "receivedBytes": lambda: metrics.received_bytes_total.value,
        "delivered": lambda: metrics.messages_delivered_total.value,
        "deliveredBytes": lambda: metrics.delivered_bytes_total.value,
        "replayed": lambda: metrics.fetched_messages_total.value,
        "sessions": lambda: len(gateway.sessions) if gateway is not None else 0,
        "processorSeconds": time.process_time,
        "memoryBytes": memory,
    }
    if parts.connectors:
        found["pushed"] = lambda: total(metrics, "gobbler_push_sent_total")
        found["pushesFailed"] = lambda: total(metrics, "gobbler_push_failed_total")
    return found


def _page() -> Blueprint:
    files = Blueprint("dashboard", __name__)

    @files.get(PAGE)
    def page() -> Response:
        return Response((_FOLDER / "index.html").read_bytes(), mimetype="text/html", headers=_HEADERS)

    names = sorted(path.name for path in _FOLDER.iterdir() if path.suffix in (".css", ".js", ".svg"))

    @files.get(f"{FILES}<any({', '.join(map(repr, names))}):name>")
    def part(name: str) -> Response:
        return browser.file(_FOLDER, name)

    return files
