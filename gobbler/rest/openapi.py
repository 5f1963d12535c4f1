"""REST: the OpenAPI document of every endpoint, as the options have placed them.

gobbler/rest/openapi.json describes them where they are without any option. What is turned off is
left out here, and what has another place is moved there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from flask import Blueprint, Response

from gobbler.config import Config, version
from gobbler.rest.reading import ANY_ORIGIN, PREFIX

_FILE: Final = Path(__file__).with_name("openapi.json")
_FCM, _APNS = "fcm", "apns"

Document = dict[str, Any]


def document(config: Config) -> Document:
    """Return the document of a server with these options."""
    found: Document = json.loads(_FILE.read_text(encoding="utf-8"))
    found["info"]["version"] = version()
    found["paths"] = {
        place: item for path, one in found["paths"].items() for place, item in _places(config, path, one)
    }
    used = {tag for item in found["paths"].values() for tag in _tags(item)}
    found["tags"] = [tag for tag in found["tags"] if tag["name"] in used]
    return found


def _places(config: Config, path: str, item: Document) -> Iterator[tuple[str, Document]]:
    """Yield where a path of the file is served: nowhere, there, elsewhere, or once for each connector."""
    moved = {
        "/sms/receipt": config.sms_receipt_endpoint if config.sms else "",
        "/admin/healthcheck": config.health_endpoint,
        "/admin/metrics": config.metrics_endpoint,
        "/admin/toggles": config.toggles_endpoint,
        "/admin/api/connectors/{name}": "/admin/api/connectors/{name}" if config.toggles_endpoint else "",
    }
    if not path.startswith(f"/{_FCM}/"):
        place = moved.get(path, path)
        if place:
            yield place, item
        return
    for name, on, prefix in (
        (_FCM, config.fcm, config.fcm_prefix),
        (_APNS, config.apns, config.apns_prefix),
    ):
        if on:
            yield prefix + path.removeprefix(f"/{_FCM}/"), _of(name, item)


def _of(connector: str, item: Document) -> Document:
    """Return what the file says of FCM for another connector."""
    text = json.dumps(item).replace(f'["{_FCM}"]', f'["{connector}"]')
    renamed: Document = json.loads(text.replace(f'"operationId": "{_FCM}', f'"operationId": "{connector}'))
    return renamed


def _tags(item: Document) -> Iterator[str]:
    for operation in item.values():
        if isinstance(operation, dict):
            yield from operation["tags"]


def blueprint(config: Config) -> Blueprint:
    """Return `GET /api/openapi.json`."""
    pages = Blueprint("openapi", __name__, url_prefix=PREFIX)
    text = json.dumps(document(config), ensure_ascii=False)

    @pages.get("/openapi.json")
    def openapi() -> Response:
        headers = ANY_ORIGIN | {"Cache-Control": "no-cache"}
        return Response(text, mimetype="application/json", headers=headers)

    return pages
