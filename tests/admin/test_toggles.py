"""Stopping and starting connectors at a running server."""

import json
from collections.abc import Iterator

import pytest

from tests.push.connected import APNS, FCM, SMS, Connected
from tests.system.server import eventually

STARTED, STOPPED = b"%b was successfully started.\n", b"%b was successfully stopped.\n"


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connected]:
    with Connected(tmp_path_factory.mktemp("toggles"), FCM, APNS, SMS) as made:
        yield made


def toggle(connected: Connected, query: str) -> tuple[int, bytes]:
    return connected.server.request("GET", f"/admin/toggles{query}")


def bodies(connected: Connected, name: str) -> list[str]:
    (kind,) = [kind for kind in connected.kinds if kind.name == name]
    return [kind.body(one) for one in connected.received(name)]


def wait_for(connected: Connected, name: str, expected: list[str]) -> None:
    deadline = eventually()
    while bodies(connected, name) != expected:
        assert len(bodies(connected, name)) <= len(expected), bodies(connected, name)
        deadline.again()


@pytest.mark.parametrize("name", ["fcm", "apns", "sms"])
def test_what_came_while_it_was_off_is_sent_once_it_is_on(connected: Connected, name: str) -> None:
    if name == "sms":
        texts = [f"text {number}" for number in range(6)]
        sent = [json.dumps({"to": "491701234567", "text": text}) for text in texts]
        path = "/sms"
    else:
        connected.subscribe(name, "ab" * 32, "marvin", f"/{name}")
        texts = sent = [f"{number}" for number in range(6)]
        path = f"/{name}"
    for number, body in enumerate(sent[:2], 1):
        connected.publish(path, body)
        wait_for(connected, name, texts[:number])
    assert toggle(connected, f"?{name}=false") == (200, STOPPED % name.encode())
    assert toggle(connected, f"?{name}=false") == (200, b"%b was already stopped.\n" % name.encode())
    connected.server.well()  # it was asked to
    for body in sent[2:4]:
        connected.publish(path, body)
    assert bodies(connected, name) == texts[:2]
    assert toggle(connected, f"?{name}=true") == (200, STARTED % name.encode())
    assert toggle(connected, f"?{name}=true") == (200, b"%b was already running.\n" % name.encode())
    for body in sent[4:]:
        connected.publish(path, body)
    if name == "sms":  # they are independent of each other
        deadline = eventually()
        while len(bodies(connected, name)) < len(texts):
            deadline.again()
        assert sorted(bodies(connected, name)) == texts
    else:
        wait_for(connected, name, texts)


def test_several_at_once_a_line_each(connected: Connected) -> None:
    assert toggle(connected, "?sms=false&fcm=0&apns=no") == (
        200, STOPPED % b"sms" + STOPPED % b"fcm" + STOPPED % b"apns",
    )  # fmt: skip
    status, text = connected.server.request("POST", "/admin/toggles?fcm=true&apns=1&sms=on")
    assert (status, text) == (200, STARTED % b"fcm" + STARTED % b"apns" + STARTED % b"sms")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "expected <name>=true or <name>=false; there are: fcm, apns, sms"),
        ("?telex=true", "there is no connector 'telex' to toggle; there are: fcm, apns, sms"),
        ("?fcm=perhaps", "fcm: 'perhaps' is neither true, 1, yes, on nor false, 0, no, off"),
        ("?fcm=false&telex=true", "there is no connector 'telex' to toggle; there are: fcm, apns, sms"),
    ],
)
def test_what_is_refused_toggles_nothing(connected: Connected, query: str, text: str) -> None:
    assert toggle(connected, query) == (400, text.encode() + b"\n")
    assert toggle(connected, "?fcm=true") == (200, b"fcm was already running.\n")
