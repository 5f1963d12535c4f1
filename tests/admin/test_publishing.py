"""Publishing from the dashboard."""

from collections.abc import Iterator

import pytest

from gobbler.admin import browsing, publishing
from gobbler.protocol.command import MAX_HEADER_BYTES
from tests.admin.asking import Asker, Json
from tests.websocket.rig import TIME, World, memory_store, world

LIMIT = 1000


@pytest.fixture
def there() -> Iterator[World]:
    with world(memory_store(), LIMIT) as made:
        yield made


@pytest.fixture
def asker(there: World) -> Asker:
    pages = (
        publishing.blueprint(there.intake, there.metrics, LIMIT),
        browsing.blueprint(there.store, there.metrics),
    )
    return Asker(*pages, metrics=there.metrics)


def stored(asker: Asker, topic: str) -> list[Json]:
    found: list[Json] = asker.get("/messages", topic=topic)["messages"]
    return found


def test_the_id_is_told_when_it_is_stored(asker: Asker) -> None:
    everything = {
        "topic": "/foo/bar/",
        "headers": {"Color": "blue", "ü": "\n"},
        "body": "grün",
        "userId": "me",
        "messageId": "m1",
        "onlyUser": "marvin",
    }
    assert asker.post("/messages", everything) == (200, {"id": 1, "topic": "/foo/bar", "time": TIME})
    assert asker.post("/messages", {"topic": "/foo"}) == (200, {"id": 2, "topic": "/foo", "time": TIME})
    first, second = stored(asker, "/foo")
    assert (first["headers"], first["body"]) == ({"Color": "blue", "ü": "\n"}, "grün")
    assert (first["userId"], first["messageId"], first["filters"]) == ("me", "m1", {"user_id": "marvin"})
    assert (second["headers"], second["body"], second["filters"]) == ({}, "", {})
    assert first["applicationId"] != second["applicationId"]


def test_subscribers_get_it(asker: Asker, there: World) -> None:
    client, _ = there.connect("u")
    client.send(b"+ /foo")
    client.expect(b"#subscribed-to /foo")
    asker.post("/messages", {"topic": "/foo", "body": "hello", "onlyUser": "somebody else"})
    asker.post("/messages", {"topic": "/foo", "body": "hello", "onlyUser": "u"})
    assert client.receive().endswith(b"\n\nhello")
    client.expect_nothing()


def test_it_counts_as_every_message(asker: Asker, there: World) -> None:
    asker.post("/messages", {"topic": "/foo", "body": "12345"})
    page = there.metrics.render()[0].decode()
    assert 'gobbler_messages_received_total{via="rest"} 1.0' in page
    assert there.metric("messages_stored_total") == 1


@pytest.mark.parametrize(
    ("asked", "status", "text"),
    [
        ({}, 400, "topic is missing"),
        ({"topic": ""}, 400, "topic is missing"),
        ({"topic": 1}, 400, "topic is not a text"),
        ({"topic": "/a,b"}, 400, "topic holds a comma"),
        ({"topic": "/foo", "body": None}, 400, "body is not a text"),
        ({"topic": "/foo", "body": "\ud800"}, 400, "body is not valid Unicode"),
        ({"topic": "/foo", "headers": []}, 400, "headers are not a JSON object of texts"),
        ({"topic": "/foo", "headers": {"a": 1}}, 400, "headers are not a JSON object of texts"),
        ({"topic": "/foo", "headers": {"": "x"}}, 400, "a header has no name"),
        ({"topic": "/foo", "headers": {"a": "x" * MAX_HEADER_BYTES}}, 400,
         f"headers are longer than {MAX_HEADER_BYTES} bytes"),
        ({"topic": "/foo", "userId": "a,b"}, 400, "userId holds a comma"),
        ({"topic": "/foo", "messageId": "a\n"}, 400, "messageId holds a control character"),
        ({"topic": "/foo", "onlyUser": "x" * 2000}, 400, "filters are longer than 1024 bytes"),
        ({"topic": "/foo", "body": "x" * (LIMIT + 1)}, 413, f"message is larger than {LIMIT} bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_published_is_told_why(asker: Asker, asked: Json, status: int, text: str) -> None:
    assert asker.post("/messages", asked) == (status, {"error": text})
    assert stored(asker, "/foo") == []


def test_the_largest_body_fits_however_it_is_escaped(asker: Asker) -> None:
    body = "\x01" * LIMIT
    assert asker.post("/messages", {"topic": "/foo", "body": body})[0] == 200
    assert stored(asker, "/foo")[0]["body"] == body


def test_other_sites_cannot_publish(asker: Asker) -> None:
    status, _ = asker.post("/messages", {"topic": "/foo"}, {"Origin": "http://elsewhere.example"})
    assert (status, stored(asker, "/foo")) == (403, [])


def test_a_server_that_stops_says_so(asker: Asker, there: World) -> None:
    there.intake.stop(1)
    assert asker.post("/messages", {"topic": "/foo"}) == (503, {"error": "the server is stopping"})
    there.intake.start()
