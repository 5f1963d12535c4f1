"""The webhook of delivery receipts: how they may come, what is reported, what is refused."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gevent
import gevent.socket
import pytest
from flask import Blueprint
from gevent.event import Event as Signal
from gevent.pywsgi import WSGIServer
from werkzeug.test import Client

from gobbler.app import App
from gobbler.connectors.outcome import Sent
from gobbler.connectors.sms.sender import SmsSender
from gobbler.connectors.sms.signature import Signer
from gobbler.metrics import Metrics
from gobbler.reporting.events import Event
from gobbler.rest import receipts
from gobbler.rest.receipts import MAX_BYTES, Seen
from tests.connectors.sms import sending
from tests.connectors.sms.sending import PATIENT, SIGNATURE_SECRET, config, delivery
from tests.providers.process import ROOT, Provider
from tests.providers.sms import STATUSES

PATH = "/sms/receipt"
NOW = 1577880001.5
SIGNER = Signer("secret", "sha256")
RECEIPT = sending.RECEIPT | {"client-ref": "order & 1"}
EVENT = {
    "order_id": "order & 1",
    "message_id": "0A0000001234567B",
    "text": "",
    "request_time": "",
    "response_time": "2020-01-01T12:00:00.000Z",
    "mobile_number": "447700900000",
    "delivery_status": "delivered",
}


class Reported:
    """A reporter that keeps what it is told; `wanted` is set when there are so many."""

    def __init__(self, count: int = 1) -> None:
        self.events: list[dict[str, str]] = []
        self.wanted = Signal()
        self._count = count

    def report(self, event: Event) -> None:
        assert event.type == "sms_delivery_information"
        self.events.append(dict(event.payload))
        if len(self.events) == self._count:
            self.wanted.set()


def serve(blueprint: Blueprint) -> App:
    return App([blueprint], Metrics("0"), None, "/stream/")


@pytest.fixture
def reported() -> Reported:
    return Reported()


@pytest.fixture
def client(reported: Reported) -> Client:
    return Client(serve(receipts.blueprint(PATH, reported, remembered=3, clock=lambda: NOW)))


@pytest.fixture
def strict(reported: Reported) -> Client:
    """Where receipts have to be signed."""

    def verify(parameters: Mapping[str, str]) -> bool:
        return SIGNER.valid(parameters, NOW)

    return Client(serve(receipts.blueprint(PATH, reported, verify, clock=lambda: NOW)))


def ways(parameters: dict[str, str]) -> dict[str, dict[str, Any]]:
    """How a receipt may come: what to give to `Client.open`."""
    raw = json.dumps(parameters)
    return {
        "query": {"method": "GET", "query_string": parameters},
        "form": {"method": "POST", "data": parameters},
        "json": {"method": "POST", "data": raw, "content_type": "application/json"},
        "json without its name": {"method": "POST", "data": raw},
        "query of a POST": {"method": "POST", "query_string": parameters},
    }


WAYS = list(ways({}))


@pytest.mark.parametrize("way", WAYS)
def test_a_receipt(client: Client, reported: Reported, way: str) -> None:
    answer = client.open(PATH, **ways(RECEIPT)[way])
    assert (answer.status_code, answer.text) == (200, "OK")
    assert reported.events == [EVENT]


@pytest.mark.parametrize("status", STATUSES)
def test_every_status(client: Client, reported: Reported, status: str) -> None:
    assert client.post(PATH, data=RECEIPT | {"status": status}).status_code == 200
    assert [event["delivery_status"] for event in reported.events] == [status]


def test_what_comes_again_is_reported_once(client: Client, reported: Reported) -> None:
    for way in WAYS:
        assert client.open(PATH, **ways(RECEIPT)[way]).status_code == 200
    for change in ({"status": "failed"}, {"messageId": "B"}, {"status": "failed"}, {"err-code": "1"}):
        assert client.post(PATH, data=RECEIPT | change).status_code == 200
    told = [(event["message_id"], event["delivery_status"]) for event in reported.events]
    id = RECEIPT["messageId"]
    assert told == [(id, "delivered"), (id, "failed"), ("B", "delivered")]


def test_what_was_refused_may_come_again(client: Client, reported: Reported) -> None:
    assert client.post(PATH, data=RECEIPT | {"msisdn": "me"}).status_code == 400
    assert client.post(PATH, data=RECEIPT).status_code == 200
    assert reported.events == [EVENT]


def test_only_the_newest_are_remembered() -> None:
    seen = Seen(3)
    assert [seen.add(id, "delivered") for id in "ABCABC"] == [True, True, True, False, False, False]
    assert seen.add("D", "delivered")
    assert not seen.add("B", "delivered")
    assert seen.add("A", "delivered")
    assert len(seen._seen) == 3


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        ({}, 400, "messageId is missing or is not the id of a message"),
        ({"data": RECEIPT | {"messageId": "<>"}}, 400, "messageId is missing or is not the id of a message"),
        ({"data": RECEIPT | {"status": "lost"}}, 400,
         "status is none of accepted, buffered, delivered, expired, failed, rejected, unknown"),
        ({"data": RECEIPT | {"msisdn": ""}}, 400, "msisdn is missing or is not a number"),
        ({"data": b"\xff\xfe"}, 400, "the parameters cannot be read"),
        ({"data": b"a=%ff"}, 400, "the parameters cannot be read"),
        ({"data": "&".join(f"a{n}=b" for n in range(101))}, 400, "the parameters cannot be read"),
        ({"data": b"{"}, 400, "the body is not JSON"),
        ({"data": b"[]", "content_type": "application/json"}, 400, "the body is not a JSON object"),
        ({"data": b'{"a": []}'}, 400, "a member of the body is neither a string nor a number"),
        ({"data": RECEIPT, "query_string": {"status": "failed"}}, 400, "a parameter is given twice"),
        ({"data": b"x" * (MAX_BYTES + 1)}, 413, f"receipt is larger than {MAX_BYTES} bytes"),
    ],
)  # fmt: skip
def test_what_is_refused(
    client: Client, reported: Reported, request_: dict[str, Any], status: int, text: str
) -> None:
    answer = client.post(PATH, **request_)
    assert (answer.status_code, answer.text) == (status, text + "\n")
    assert reported.events == []


def test_other_methods_and_paths(client: Client) -> None:
    assert client.delete(PATH).status_code == 405
    assert client.get("/sms/receipts").status_code == 404


@pytest.fixture
def server(reported: Reported) -> Iterator[WSGIServer]:
    """The webhook behind a real server, which runs while the test waits with gevent."""
    server = WSGIServer(("127.0.0.1", 0), serve(receipts.blueprint(PATH, reported)), log=None, error_log=None)
    server.start()
    yield server
    server.stop()


def test_a_body_that_does_not_arrive(
    server: WSGIServer, reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "BODY_SECONDS", 0.1)
    head = f"POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nmessageId=".encode()
    for ends, text in (
        (False, b"the body did not arrive within 0.1 seconds"),
        (True, b"the body is not whole"),
    ):
        with gevent.socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
            connection.sendall(head)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert text in answer
    assert reported.events == []


# Signatures


@pytest.mark.parametrize("way", WAYS)
def test_a_signed_receipt(strict: Client, reported: Reported, way: str) -> None:
    signed = SIGNER.sign(RECEIPT | {"nonce": "n"}, NOW)
    assert strict.open(PATH, **ways(signed)[way]).status_code == 200
    assert reported.events == [EVENT]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "change",
    [{"status": "failed"}, {"sig": ""}, {"sig": "0" * 64}, {"timestamp": "1"}, {"more": "1"}],
    ids=["changed", "without", "wrong", "old", "more"],
)
def test_a_receipt_that_is_not_signed_well(
    strict: Client, reported: Reported, way: str, change: dict[str, str]
) -> None:
    answer = strict.open(PATH, **ways(SIGNER.sign(RECEIPT, NOW) | change)[way])
    assert (answer.status_code, answer.text) == (403, "the signature is missing, wrong or too old\n")
    assert reported.events == []


def test_an_old_receipt_is_refused(strict: Client, reported: Reported) -> None:
    assert strict.post(PATH, data=SIGNER.sign(RECEIPT, NOW - 72 * 3600)).status_code == 200
    assert strict.post(PATH, data=SIGNER.sign(RECEIPT, NOW - 74 * 3600)).status_code == 403
    assert strict.post(PATH, data=RECEIPT).status_code == 403
    assert len(reported.events) == 1


def test_numbers_in_json_are_verified_as_they_are_written(strict: Client, reported: Reported) -> None:
    signed = SIGNER.sign(RECEIPT, NOW)
    raw = json.dumps(signed).replace('"0.03330000"', "0.03330000").replace(f'"{int(NOW)}"', f"{int(NOW)}")
    assert '"price": 0.03330000' in raw
    assert strict.post(PATH, data=raw).status_code == 200
    assert reported.events == [EVENT]


# From the provider


@pytest.fixture(params=["get", "form", "json"])
def fake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Provider]:
    """Sends each receipt three times, signed."""
    options = ("--receipts", request.param, "--receipt-times", "3", "--signature-secret", SIGNATURE_SECRET)
    with Provider("tests.providers.sms", tmp_path, *options) as provider:
        yield provider


def test_the_receipts_of_what_was_sent(fake: Provider) -> None:
    """Two SMS, one of them in two parts; each part has its receipt, three times."""
    reported = Reported(3)
    signer = Signer(SIGNATURE_SECRET, "sha256")
    blueprint = receipts.blueprint(PATH, reported, lambda parameters: signer.valid(parameters, time.time()))
    server = WSGIServer(("127.0.0.1", 0), serve(blueprint), log=None)
    server.start()
    url = f"http://127.0.0.1:{server.server_port}{PATH}"
    sender = SmsSender(config(fake, sms_receipt_url=url), 1, timeouts=PATIENT)
    sender.start()
    sent = [delivery("990620000", client_ref="one"), delivery("447700900000", "x" * 200, client_ref="a & b")]
    assert [sender.send(one) for one in sent] == [Sent(), Sent()]
    ids = [sender.event(one, Sent()).payload["message_id"].split(",") for one in sent]
    assert reported.wanted.wait(20)
    server.stop()
    sender.stop(5)
    told = [(event["order_id"], event["message_id"], event["delivery_status"]) for event in reported.events]
    assert sorted(told) == sorted(
        [("one", ids[0][0], "failed"), ("a & b", ids[1][0], "delivered"), ("a & b", ids[1][1], "delivered")]
    )


def test_the_example_of_the_page(server: WSGIServer, reported: Reported) -> None:
    """Not by `tests.docs`: there, the server would need the account of somebody."""
    page = (ROOT / "docs" / "sms.md").read_text(encoding="utf-8")
    (block,) = re.findall("^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    examples = re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE)
    assert len(examples) == 2
    for command, expected in examples:
        here = command.replace("localhost:8080", f"127.0.0.1:{server.server_port}").replace("curl", "curl -s")
        # In a thread, while the event loop serves.
        assert gevent.get_hub().threadpool.apply(shell, (here,)).strip() == expected.strip()
    assert [event["order_id"] for event in reported.events] == ["order-1"]


def shell(command: str) -> str:
    return subprocess.check_output(["sh", "-c", command], text=True)
