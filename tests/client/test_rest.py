"""The REST side against a real server."""

import base64
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gobbler.client import (
    BadAnswer,
    BadRequest,
    Client,
    ConnectionLost,
    InvalidMessage,
    InvalidTopic,
    MessageTooLarge,
    NotConnected,
    PublishUnknown,
    Refused,
    Rest,
    Timeout,
)
from tests.client.scripted import Background, Scripted
from tests.system.server import ROOT, ServerProcess

FCM = ("--fcm", "--fcm-api-key", "secret-key", "--fcm-endpoint", "http://127.0.0.1:9/send")


@pytest.fixture(scope="module")
def pushing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """A server that has a connector."""
    with ServerProcess(tmp_path_factory.mktemp("rest") / "data", *FCM) as server:
        rest = Rest(f"http://127.0.0.1:{server.port}")
        yield rest
        rest.close()


@pytest.fixture
def rest(url: str) -> Iterator[Rest]:
    made = Rest(url, "ford")
    yield made
    made.close()


class TestPublish:
    def test_it_returns_the_receipt(self, rest: Rest, client: Client, topic: str) -> None:
        receipt = rest.publish(f"{topic}/ü", "größer", headers={"a-color": "blöd"}, message_id="m,"[:1])
        assert (receipt.id, receipt.topic, receipt.message_id) == (1, f"{topic}/ü", "m")
        (message,) = client.fetch(topic)
        assert (message.topic, message.user_id, message.text) == (f"{topic}/ü", "ford", "größer")
        assert message.headers == {"A-Color": "blöd"}
        assert message.time == receipt.time

    @pytest.mark.parametrize("path", ["/..", "/.", "/?#&=+;%25", "/a/../../etc"])
    def test_a_topic_is_what_it_is(self, rest: Rest, client: Client, topic: str, path: str) -> None:
        assert rest.publish(topic + path, "x").topic == topic + path
        assert client.fetch(topic)[0].topic == topic + path

    def test_filters_say_who_gets_it(self, rest: Rest, url: str, topic: str) -> None:
        rest.publish(topic, "for zaphod", filters={"user_id": "zaphod"})
        rest.publish(topic, "for all")
        with Client(url, "zaphod") as zaphod, Client(url, "marvin") as marvin:
            assert [each.text for each in zaphod.fetch(topic)] == ["for zaphod", "for all"]
            assert [each.text for each in marvin.fetch(topic)] == ["for all"]

    def test_what_is_wrong_with_it_is_said(self, rest: Rest, topic: str) -> None:
        with pytest.raises(InvalidTopic, match="comma"):
            rest.publish(f"{topic},", "x")
        with pytest.raises(BadRequest, match="messageId holds a comma"):
            rest.publish(topic, "x", message_id="a,b")
        with pytest.raises(MessageTooLarge, match="larger than 1048576 bytes"):
            rest.publish(topic, b"x" * (1 << 20) + b"x")
        with pytest.raises(InvalidMessage):
            rest.publish(topic, "x", headers={"a b": "c"})
        with pytest.raises(InvalidMessage):
            rest.publish(topic, "x", filters={"userId": "c"})
        assert rest.publish(topic, b"x" * (1 << 20)).id == 1


def test_subscribers(client: Client, url: str, topic: str) -> None:
    client.subscribe(topic)
    assert client.rest.subscribers(f"{topic}/below") == [
        {"user_id": "zaphod", "application_id": client.application_id}
    ]
    assert client.rest.subscribers(f"{topic}x") == []
    with pytest.raises(InvalidTopic):
        client.rest.subscribers("x")


def test_topics(rest: Rest, topic: str) -> None:
    names = [f"{topic}-{number:03}" for number in range(150)]
    for name in names:
        rest.publish(name, "hello")
    found = list(rest.topics(f"{topic}-"))
    assert [each["topic"] for each in found] == names
    assert (found[0]["count"], found[0]["firstId"], found[0]["lastId"]) == (1, 1, 1)
    assert list(rest.topics("/nothing-begins-so")) == []


def test_health_and_metrics(rest: Rest) -> None:
    assert rest.health() == {}
    assert "\ngobbler_messages_received_total" in rest.metrics()


def test_connectors_are_stopped_and_started(pushing: Rest) -> None:
    assert pushing.toggle({"fcm": False}) == ["fcm was successfully stopped."]
    assert pushing.toggle({"fcm": True}) == ["fcm was successfully started."]
    with pytest.raises(BadRequest, match="no connector 'pigeon'"):
        pushing.toggle({"pigeon": True})


def test_a_page_that_is_not_there(rest: Rest) -> None:
    with pytest.raises(Refused) as refused:
        rest.metrics("/admin/nowhere")
    assert refused.value.status == 404
    assert "<" not in refused.value.reason


def test_any_number_of_threads(rest: Rest, topic: str) -> None:
    ids: list[int] = []
    threads = [
        threading.Thread(target=lambda: ids.extend(rest.publish(topic, "x").id for _ in range(20)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(ids) == list(range(1, 161))


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    rest = Rest(f"http://127.0.0.1:{port}")
    calls: list[Callable[[], object]] = [rest.health, lambda: rest.publish("/a", "x")]
    for call in calls:
        with pytest.raises(NotConnected, match=f"cannot connect to http://127.0.0.1:{port}"):
            call()


@pytest.mark.parametrize("host", ["a..b", "a b", "x" * 64])
def test_a_host_that_cannot_be(host: str) -> None:
    rest = Rest(f"http://{host}:1")
    with pytest.raises(NotConnected):
        rest.publish("/a", "x")
    rest.close()


def test_a_fork_does_not_share_connections(url: str, topic: str) -> None:
    """Whose answer is whose could not be told."""
    program = """
import os, sys
from gobbler.client import Rest
rest = Rest(sys.argv[1])
rest.health()
child = os.fork()
for number in range(100):
    name = f"{child == 0}-{number}"
    assert rest.publish(sys.argv[2], "x", message_id=name).message_id == name
rest.close()
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""
    command = [sys.executable, "-c", program, url, topic]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class TestNoAnswer:
    """A server that takes the request and then does not do its part."""

    def test_to_a_question(self, scripted: Scripted) -> None:
        with pytest.raises(Timeout, match=r"within 0\.05 s"):
            Rest(scripted.url).health(timeout=0.05)

    def test_to_a_message(self, scripted: Scripted) -> None:
        with pytest.raises(PublishUnknown, match="not answered"):
            Rest(scripted.url).publish("/a", "x", timeout=0.05)

    def test_because_the_connection_is_lost(self, scripted: Scripted) -> None:
        publishing = Background(Rest(scripted.url).publish, "/a", "x")
        with scripted.connection() as sock:
            sock.recv(65536)
        with pytest.raises(PublishUnknown):
            publishing.result()

    def test_a_question_is_asked_once_more(self, scripted: Scripted) -> None:
        asking = Background(Rest(scripted.url).health)
        for _ in range(2):
            with scripted.connection() as sock:
                sock.recv(65536)
        with pytest.raises(ConnectionLost):
            asking.result()


class Answer(BaseHTTPRequestHandler):
    """Gives the same answer to everything."""

    status, body, content_type = 200, b"", "application/json"
    asked: dict[str, str]

    def do_GET(self) -> None:
        type(self).asked = dict(self.headers.items())
        self.send_response(self.status)
        self.send_header("Content-Type", self.content_type)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def answers() -> Iterator[Callable[[int, bytes], tuple[Rest, type[Answer]]]]:
    """Make a server that says what the test likes; return the client of it, and the server's handler."""
    running: list[HTTPServer] = []

    def serve(status: int, body: bytes) -> tuple[Rest, type[Answer]]:
        handler = type("Handler", (Answer,), {"status": status, "body": body})
        server = HTTPServer(("127.0.0.1", 0), handler)
        running.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return Rest(f"http://127.0.0.1:{server.server_port}", headers={"X-Token": "t"}), handler

    yield serve
    for server in running:
        server.shutdown()
        server.server_close()


Answers = Callable[[int, bytes], tuple[Rest, type[Answer]]]


class TestAnswers:
    def test_what_is_wrong_is_found(self, answers: Answers) -> None:
        rest, handler = answers(503, b'{"disk": "full"}')
        assert rest.health() == {"disk": "full"}
        assert handler.asked["X-Token"] == "t"
        rest.close()

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]"])
    def test_health_that_is_none(self, answers: Answers, body: bytes) -> None:
        rest, _ = answers(200, body)
        with pytest.raises(BadAnswer):
            rest.health()
        rest.close()

    @pytest.mark.parametrize("body", [b"[]", b"{}", b'{"topics": 1}'])
    def test_topics_that_are_none(self, answers: Answers, body: bytes) -> None:
        rest, _ = answers(200, body)
        with pytest.raises(BadAnswer):
            list(rest.topics())
        rest.close()

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b'{"error": "the server is stopping"}', "the server is stopping"),
            (b"stopping\n", "stopping"),
            (b"<html>...</html>", "Service Unavailable"),
            (b"", "Service Unavailable"),
            (b"x" * 1000, "Service Unavailable"),
        ],
    )
    def test_the_reason_of_a_refusal(self, answers: Answers, body: bytes, reason: str) -> None:
        rest, _ = answers(503, body)
        with pytest.raises(Refused) as refused:
            rest.publish("/a", "x")
        assert (refused.value.status, refused.value.reason, refused.value.retry) == (503, reason, True)
        rest.close()


def test_credentials_of_the_url_are_sent_and_not_shown(answers: Answers) -> None:
    rest, handler = answers(200, b"{}")
    place = repr(rest).removeprefix("<Rest http://").removesuffix(">")
    client = Client(f"http://ford:secret@{place}")
    assert client.rest.health() == {}
    assert base64.b64decode(handler.asked["Authorization"].removeprefix("Basic ")) == b"ford:secret"
    assert "secret" not in repr(client.rest) + repr(client)
    client.close()
    rest.close()
