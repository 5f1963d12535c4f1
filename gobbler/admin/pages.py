"""Administration: health, metrics, and who is subscribed to what."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from gobbler.health import Health
from gobbler.metrics import Metrics
from gobbler.router.routes import Router


def blueprint(
    health: Health,
    metrics: Metrics,
    router: Router,
    *,
    health_endpoint: str,
    metrics_endpoint: str,
    routes_page: str,
) -> Blueprint:
    """Return the pages; an endpoint of "" is left out."""
    admin = Blueprint("admin", __name__)

    def healthcheck() -> tuple[Response, int]:
        problems = health.run()
        return jsonify(problems), 503 if problems else 200

    def measurements() -> Response:
        page, content_type = metrics.render(request.headers.get("Accept", ""))
        return Response(page, content_type=content_type)

    def routes() -> Response:
        return jsonify(
            {path: [dict(params) for params in found] for path, found in router.describe().items()}
        )

    pages = ((health_endpoint, healthcheck), (metrics_endpoint, measurements), (routes_page, routes))
    for path, view in pages:
        if path:
            admin.add_url_rule(path, view_func=view)
    return admin
