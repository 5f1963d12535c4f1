"""The subscription interface of connectors over real HTTP, at a server whose providers nobody needs."""

import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection

import pytest

from tests.push.connected import APNS, FCM, Connected
from tests.system.client import Client
from tests.system.server import SECONDS, ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    options = ("--ms", "memory", "--kvs", "memory", "--apns-prefix", "/push/apple")
    with Connected(tmp_path_factory.mktemp("push"), FCM, APNS, options=options) as connected:
        yield connected.server


def ask(server: ServerProcess, method: str, path: str, body: object = None) -> tuple[int, object]:
    raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    status, text = server.request(method, path, raw)
    return status, json.loads(text)


@pytest.mark.parametrize("prefix", ["/fcm/", "/push/apple/"])
def test_subscribing_twice_and_unsubscribing_twice(server: ServerProcess, prefix: str) -> None:
    path = f"{prefix}token-1/marvin/foo/bar"
    assert ask(server, "POST", path) == (200, {"subscribed": "/foo/bar"})
    assert ask(server, "POST", path) == (200, {"error": "subscription already exists"})
    assert ask(server, "POST", f"{path}/") == (200, {"error": "subscription already exists"})
    assert ask(server, "DELETE", f"{prefix}token-1/ford/foo/bar") == (
        404,
        {"error": "subscription not found"},
    )
    assert ask(server, "DELETE", path) == (200, {"unsubscribed": "/foo/bar"})
    assert ask(server, "DELETE", path) == (404, {"error": "subscription not found"})


def test_listing(server: ServerProcess) -> None:
    for token, user, topic in (
        ("a1", "ford", "x"),
        ("a1", "ford", "x/y"),
        ("a2", "ford", "x"),
        ("a1", "zaphod", "z"),
    ):
        assert ask(server, "POST", f"/fcm/{token}/{user}/{topic}")[0] == 200
    assert ask(server, "GET", "/fcm/?user_id=ford") == (200, ["x", "x/y"])
    assert ask(server, "GET", "/fcm/?device_token=a1") == (200, ["x", "x/y", "z"])
    assert ask(server, "GET", "/fcm/?device_token=a1&user_id=zaphod") == (200, ["z"])
    assert ask(server, "GET", "/fcm?user_id=ford") == (200, ["x", "x/y"])
    assert ask(server, "GET", "/fcm/?user_id=nobody") == (200, [])
    assert ask(server, "GET", "/push/apple/?user_id=ford") == (200, [])
    assert ask(server, "GET", "/fcm/") == (400, {"error": "Missing filters"})
    assert ask(server, "GET", "/fcm/?user=ford") == (400, {"error": "Missing filters"})


def test_substituting(server: ServerProcess) -> None:
    for topic in "pq":
        ask(server, "POST", f"/fcm/old-token/trillian/{topic}")
    change = {"field": "device_token", "old_value": "old-token", "new_value": "new-token"}
    assert ask(server, "POST", "/fcm/substitute/", change) == (200, {"modified": "2"})
    assert ask(server, "POST", "/fcm/substitute/", change) == (200, {"modified": "0"})
    assert ask(server, "GET", "/fcm/?device_token=new-token&user_id=trillian") == (200, ["p", "q"])
    assert ask(server, "GET", "/fcm/?device_token=old-token") == (200, [])
    change = {"field": "user_id", "old_value": "trillian", "new_value": "tricia"}
    assert ask(server, "POST", "/fcm/substitute", change) == (200, {"modified": "2"})
    assert ask(server, "GET", "/fcm/?user_id=tricia") == (200, ["p", "q"])


FULL = {"field": "user_id", "old_value": "a", "new_value": "b"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "the body is not valid JSON"),
        (b"{", "the body is not valid JSON"),
        (b"\xff", "the body is not valid JSON"),
        ([], "the body is not a JSON object"),
        ({name: value for name, value in FULL.items() if name != "field"}, "field is missing"),
        ({name: value for name, value in FULL.items() if name != "old_value"}, "old_value is missing"),
        (FULL | {"new_value": ""}, "new_value is missing"),
        (FULL | {"new_value": 7}, "new_value is missing"),
        (FULL | {"field": "topic"}, "field must be device_token or user_id"),
        (FULL | {"new_value": "a,b"}, "the user id holds a comma"),
        (FULL | {"field": "device_token", "new_value": "a b"},
         "the device token holds something that is no visible ASCII character"),
    ],
)  # fmt: skip
def test_substitutions_that_are_refused(server: ServerProcess, body: object, error: str) -> None:
    assert ask(server, "POST", "/fcm/substitute/", body) == (400, {"error": error})


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("token", "expected /fcm/<device token>/<user id>/<topic>"),
        ("token/user", "expected /fcm/<device token>/<user id>/<topic>"),
        ("token/user/", "topic has no segment"),
        ("token/user/a//b", "topic has an empty segment"),
        ("token/user/a,b", "topic holds a comma"),
        ("token//foo", "the user id is empty"),
        ("/user/foo", "the device token is empty"),
        ("tok%20en/user/foo", "the device token holds something that is no visible ASCII character"),
        ("%C3%BC/user/foo", "the device token holds something that is no visible ASCII character"),
        (f"{'t' * 4097}/user/foo", "the device token is longer than 4096 bytes"),
        ("token/us%00er/foo", "the user id holds a control character"),
        ("token/%FF/foo", "the user id is not valid UTF-8"),
        (f"token/{'u' * 257}/foo", "the user id is longer than 256 bytes"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_subscriptions_that_are_refused(server: ServerProcess, method: str, path: str, error: str) -> None:
    assert ask(server, method, f"/fcm/{path}") == (400, {"error": error})


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/fcm/", "GET, HEAD, OPTIONS"),
        ("/fcm/token/user/topic", "DELETE, OPTIONS, POST"),
    ],
)
def test_other_methods_are_told_which_are_right(server: ServerProcess, path: str, allowed: str) -> None:
    for method in {"GET", "POST", "PUT", "DELETE"} - {*allowed.split(", ")}:
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)) as connection:
            connection.request(method, path)
            answer = connection.getresponse()
            told = sorted((answer.headers["Allow"] or "").split(", "))
            assert (answer.status, ", ".join(told)) == (405, allowed), method


def test_unusual_ids_and_topics(server: ServerProcess) -> None:
    path = "/fcm/APA91:b-_x.Y/f%C3%B6rd%20p/gr%C3%BCn/%2e%2e"
    assert ask(server, "POST", path) == (200, {"subscribed": "/grün/.."})
    assert ask(server, "GET", "/fcm/?user_id=f%C3%B6rd+p") == (200, ["grün/.."])
    assert ask(server, "DELETE", path) == (200, {"unsubscribed": "/grün/.."})


def test_subscribers_are_shown_together(server: ServerProcess) -> None:
    with Client(server.port, "/stream/user/arthur") as client:
        client.subscribe(b"/together")
        ask(server, "POST", "/fcm/f-token/arthur/together/below")
        ask(server, "POST", "/push/apple/a-token/arthur/together")
        found = server.json("/api/subscribers/together/below")
        (session,) = [one for one in found if "application_id" in one]
        assert session["user_id"] == "arthur"
        assert [one for one in found if "connector" in one] == [
            {"connector": "fcm", "device_token": "f-token", "user_id": "arthur"},
            {"connector": "apns", "device_token": "a-token", "user_id": "arthur"},
        ]
        assert len(server.json("/api/subscribers/together")) == 2
        routes = server.json("/admin/router")
        assert [one.get("connector") for one in routes["/together"]] == [None, "apns"]
        assert [one.get("connector") for one in routes["/together/below"]] == ["fcm"]
