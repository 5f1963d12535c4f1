"""The files that browsers load."""

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from gobbler.app import App
from gobbler.metrics import Metrics
from gobbler.rest import browser

WEB = Path(browser.__file__).parents[1] / "web"


def served(*, examples: bool = True, prefix: str = "/stream/") -> FlaskClient:
    pages = browser.blueprint(prefix, examples=examples)
    return App([pages], Metrics("0"), None, prefix).flask.test_client()


@pytest.mark.parametrize(
    ("path", "mimetype", "file"),
    [
        ("/client/gobbler.js", "text/javascript", "client/gobbler.js"),
        ("/examples/chat", "text/html", "examples/chat/index.html"),
        ("/examples/chat/", "text/html", "examples/chat/index.html"),
        ("/examples/chat/chat.js", "text/javascript", "examples/chat/chat.js"),
        ("/examples/chat/chat.css", "text/css", "examples/chat/chat.css"),
        ("/examples/chat/icon.svg", "image/svg+xml", "examples/chat/icon.svg"),
    ],
)
def test_what_is_served(path: str, mimetype: str, file: str) -> None:
    answer = served().get(path)
    assert (answer.status_code, answer.mimetype) == (200, mimetype)
    assert answer.data == (WEB / file).read_bytes()
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/client/", "/client/gobbler.py", "/client/../app.py", "/examples/chat/index.html", "/examples/"]
)
def test_nothing_else_is_served(path: str) -> None:
    assert served().get(path).status_code == 404


def test_without_the_examples_there_is_only_the_client() -> None:
    http = served(examples=False)
    assert http.get("/client/gobbler.js").status_code == 200
    assert [http.get(f"/examples/chat{path}").status_code for path in ("", "/chat.js")] == [404, 404]


def test_a_file_that_has_not_changed_is_not_sent_again() -> None:
    http = served()
    tag = http.get("/client/gobbler.js").headers["ETag"]
    assert http.get("/client/gobbler.js", headers={"If-None-Match": tag}).status_code == 304


def test_other_origins_may_load_the_client() -> None:
    assert served().get("/client/gobbler.js").headers["Access-Control-Allow-Origin"] == "*"


def test_the_chat_knows_where_websockets_are() -> None:
    page = served(prefix="/ws/here/").get("/examples/chat").text
    assert '<meta name="gobbler-prefix" content="/ws/here/" />' in page
    assert "/stream/" not in page


def test_the_chat_loads_nothing_from_elsewhere() -> None:
    answer = served().get("/examples/chat")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    loaded = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
    assert loaded
    assert all(served().get(path).status_code == 200 for path in loaded)
    for file in [*(WEB / "client").iterdir(), *(WEB / "examples" / "chat").iterdir()]:
        if file.suffix in (".html", ".js", ".css"):
            text = file.read_text(encoding="utf-8")
            assert not re.findall(r"https?://(?!localhost|host\b)[^\s\"']+", text), file
