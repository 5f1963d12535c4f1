"""The WSGI application: Flask for requests, the gateway for WebSockets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from flask import Blueprint, Flask, Request, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, MapAdapter

from gobbler.errors import GobblerError
from gobbler.metrics import Metrics
from gobbler.rest.errors import answer, status_of, text_of
from gobbler.websocket.gateway import Gateway
from gobbler.websocket.upgrade import refusal

log = logging.getLogger(__name__)

StartResponse = Callable[..., Any]


class App:
    """What a WSGI server calls. `gateway` is None where WebSockets are turned off."""

    def __init__(
        self, blueprints: Iterable[Blueprint], metrics: Metrics, gateway: Gateway | None, prefix: str
    ) -> None:
        """Put the blueprints together; WebSockets are served below `prefix`."""
        self._gateway = gateway
        self._prefix = prefix
        self.flask = _flask(blueprints, metrics)
        if gateway is not None:
            for rule in (prefix.rstrip("/"), f"{prefix}<topic:rest>"):
                self.flask.add_url_rule(rule, view_func=self._refuse, methods=_METHODS)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333), or begin a session on an upgraded connection."""
        websocket = environ.get("wsgi.websocket")
        if websocket is not None and self._gateway is not None:
            self._gateway.accept(websocket, environ["PATH_INFO"])
            return []
        return self.flask(environ, start_response)

    def pre_start_hook(self, handler: Any) -> bool:
        """Tell gevent-websocket to leave a request to us: all that may not become a WebSocket."""
        if self._gateway is None or self._gateway.stopping:
            return True
        return refusal(handler.environ, self._prefix) is not None

    def _refuse(self, rest: str = "") -> Response:
        refused = refusal(request.environ, self._prefix)
        if refused is None:
            return answer("the server is stopping", 503)
        response = answer(refused.text, refused.status)
        response.headers.extend(refused.headers)
        return response


_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class _Flask(Flask):
    """Flask that routes what asks for an upgrade as it routes everything: only we know why it is refused."""

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        adapter = super().create_url_adapter(request)
        if adapter is not None:
            adapter.websocket = False
        return adapter


class _Rest(BaseConverter):
    """All that is left of a path, even nothing, and with whatever slashes; the view judges it."""

    regex = "(?s:.*)"
    part_isolating = False


class _Below(_Rest):
    """The same, but not nothing: what has nothing there is another route."""

    regex = "(?s:.+)"
    part_isolating = False


def _flask(blueprints: Iterable[Blueprint], metrics: Metrics) -> Flask:
    app = _Flask("gobbler", static_folder=None)
    app.url_map.merge_slashes = False  # `//` in a topic is an error to tell, not one to mend
    app.url_map.strict_slashes = False  # a redirection helps nobody, and Flask's are HTML
    app.url_map.converters["topic"] = _Rest
    app.url_map.converters["below"] = _Below
    app.json.sort_keys = False  # type: ignore[attr-defined]
    for blueprint in blueprints:
        app.register_blueprint(blueprint)

    @app.errorhandler(GobblerError)
    def refused(error: GobblerError) -> Response:
        metrics.count_error(error.code)
        return answer(text_of(error), status_of(error))

    @app.errorhandler(HTTPException)
    def wrong(error: HTTPException) -> Response:
        response = answer(error.description or error.name, error.code or 500)
        allow = error.get_response().headers.get("Allow")
        if allow:
            response.headers["Allow"] = allow
        return response

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:  # the top of every request
        log.error("%s %s failed", request.method, request.path, exc_info=error)
        metrics.count_error(GobblerError.code)
        return answer("internal error", 500)

    @app.after_request
    def count(response: Response) -> Response:
        metrics.count_request(request.method, request.endpoint, response.status_code)
        return response

    return app
