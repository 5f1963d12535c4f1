"""The application: who answers what. The pages have tests of their own."""

from typing import Any

import pytest
from flask import Blueprint, abort

from gobbler.app import App
from gobbler.errors import GobblerError, InvalidTopic, MessageTooLarge, Stopping, StoreError, StoreUnavailable
from gobbler.metrics import Metrics

ERRORS: dict[str, Exception] = {
    "topic": InvalidTopic("topic has no segment"),
    "large": MessageTooLarge("message is larger than 7 bytes"),
    "stopping": Stopping("the server is stopping"),
    "disk": StoreUnavailable("/secret/folder: No space left on device"),
    "store": StoreError("/secret/folder is odd"),
    "any": GobblerError("/secret/folder"),
    "bug": ValueError("/secret/folder"),
}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("0")


@pytest.fixture
def app(metrics: Metrics) -> App:
    pages = Blueprint("pages", __name__)

    @pages.get("/fail/<name>")
    def fail(name: str) -> str:
        raise ERRORS[name]

    @pages.get("/abort/<int:status>")
    def stop(status: int) -> str:
        abort(status)

    @pages.get("/path/<topic:rest>")
    def path(rest: str) -> str:
        return rest

    return App([pages], metrics, None, "/stream/")


@pytest.mark.parametrize(
    ("name", "status", "text", "kind"),
    [
        ("topic", 400, "topic has no segment", "invalid-topic"),
        ("large", 413, "message is larger than 7 bytes", "too-large"),
        ("stopping", 503, "the server is stopping", "stopping"),
        ("disk", 503, "the message could not be stored", "store-unavailable"),
        ("store", 500, "the message could not be stored", "store"),
        ("any", 500, "the message could not be stored", "internal"),
        ("bug", 500, "internal error", "internal"),
    ],
)
def test_errors_as_answers(
    app: App, metrics: Metrics, caplog: pytest.LogCaptureFixture, name: str, status: int, text: str, kind: str
) -> None:
    client = app.flask.test_client()
    plain = client.get(f"/fail/{name}")
    assert (plain.status_code, plain.text, plain.mimetype) == (status, f"{text}\n", "text/plain")
    assert plain.headers.get("Retry-After") == ("1" if status == 503 else None)
    assert plain.headers.get("Connection") == ("close" if status == 413 else None)
    asked = client.get(f"/fail/{name}", headers={"Accept": "application/json"})
    assert (asked.status_code, asked.json) == (status, {"error": text})
    page = metrics.render()[0].decode()
    assert f'gobbler_errors_total{{kind="{kind}"}} 2.0\n' in page
    assert f'{{endpoint="pages.fail",method="GET",status="{status}"}} 2.0\n' in page
    assert [record.exc_info is not None for record in caplog.records] == ([True] * 2 if name == "bug" else [])


@pytest.mark.parametrize("status", [400, 401, 403, 406, 418, 500, 503])
def test_no_answer_is_html(app: App, status: int) -> None:
    answer = app.flask.test_client().get(f"/abort/{status}")
    assert (answer.status_code, answer.mimetype) == (status, "text/plain")
    assert "<" not in answer.text


@pytest.mark.parametrize("rest", ["", "/", "a", "a//b/", "/a\nb\n", "ü"])
def test_a_rest_of_a_path_is_left_as_it_is(app: App, rest: str) -> None:
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": f"/path/{rest}".encode().decode("latin-1"), "SERVER_NAME": "h",
        "SERVER_PORT": "1", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http",
    }  # fmt: skip
    statuses: list[str] = []
    body = b"".join(app(environ, lambda status, headers, _=None: statuses.append(status)))
    assert (statuses, body.decode()) == (["200 OK"], rest)


def test_websockets_that_are_turned_off_are_not_found(app: App) -> None:
    class Handler:
        environ: dict[str, Any] = {}  # noqa: RUF012

    assert app.pre_start_hook(Handler()), "the request is left to us"
    asked = {"Connection": "Upgrade", "Upgrade": "websocket"}
    answer = app.flask.test_client().get("/stream/", headers=asked)
    assert (answer.status_code, answer.mimetype) == (404, "text/plain")


def test_a_path_that_no_route_has_is_counted_without_its_name(app: App, metrics: Metrics) -> None:
    app.flask.test_client().get("/random/7381")
    page = metrics.render()[0].decode()
    assert 'gobbler_http_requests_total{endpoint="none",method="GET",status="404"} 1.0\n' in page
    assert "7381" not in page
