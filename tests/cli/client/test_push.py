"""`gobbler-cli push`, and that what it subscribes is notified."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.client.command import Cli
from tests.push.connected import APNS, FCM, Connected
from tests.system.server import eventually


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connected]:
    folder: Path = tmp_path_factory.mktemp("push")
    with Connected(folder, FCM, APNS) as running:
        yield running


@pytest.fixture
def push(connected: Connected) -> Cli:
    return Cli(connected.server.port)


@pytest.mark.parametrize("connector", ["fcm", "apns"])
def test_a_life(push: Cli, connected: Connected, connector: str) -> None:
    one = ("push", "add", connector, f"{connector}-token", "ford", "/news/sport")
    assert push.ok(*one).out == "subscribed to /news/sport\n"
    assert push.ok(*one).out == "already subscribed to /news/sport\n"
    assert push.ok(*one, "--json").records == [{"topic": "/news/sport", "new": False}]
    push.ok("push", "add", connector, f"{connector}-token", "ford", "/offers")
    both = ["/news/sport", "/offers"]
    assert push.ok("push", "list", connector, "--user", "ford").lines == both
    assert push.ok("push", "list", connector, "--token", f"{connector}-token", "--json").records == [
        {"topic": topic} for topic in both
    ]
    assert push.ok("push", "list", connector, "--token", "other", "--user", "ford").out == ""

    push.ok("publish", "/news/sport", "goal", "--filter", f"connector={connector}")
    deadline = eventually()
    while not connected.received(connector):
        deadline.again()

    change = ("push", "substitute", connector, "token", f"{connector}-token", "another")
    assert push.ok(*change).out == "changed: 2\n"
    assert push.ok(*change, "--json").records == [{"changed": 0}]
    assert push.ok("push", "substitute", connector, "user", "ford", "prefect").out == "changed: 2\n"
    last = ("push", "remove", connector, "another", "prefect", "/offers")
    assert push.ok(*last).out == "unsubscribed from /offers\n"
    assert push(*last) == (1, b"", "gobbler-cli: not subscribed to /offers\n")
    assert push.ok("push", "list", connector, "--user", "prefect").lines == ["/news/sport"]


@pytest.mark.parametrize(
    "args",
    [("add", "telex", "t", "u", "/x"), ("remove", "telex", "t", "u", "/x"), ("list", "telex", "--user", "u")],
)
def test_a_connector_that_is_not_there(push: Cli, args: tuple[str, ...]) -> None:
    done = push("push", *args)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("gobbler-cli: the server has no connector telex with subscriptions (404")


def test_what_the_server_refuses(push: Cli) -> None:
    line = "gobbler-cli: the device token holds something that is no visible ASCII character\n"
    assert push("push", "add", "fcm", "ü", "ford", "/news") == (1, b"", line)


@pytest.mark.parametrize(
    ("args", "status", "text"),
    [
        (("add", "fcm", "t", "u", "news"), 2, "topic must begin with '/'"),
        (("add", "fcm", "t", "u"), 2, "Missing argument 'TOPIC'. (see gobbler-cli push add --help)"),
        (("list", "fcm"), 2, "say whose: with --token, --user or both (see gobbler-cli push list --help)"),
        (("substitute", "fcm", "device", "a", "b"), 2,
         "Invalid value for 'token|user': 'device' is not one of 'token', 'user'. "
         "(see gobbler-cli push substitute --help)"),
        (("sub",), 2, "No such command 'sub'. (see gobbler-cli push --help)"),
    ],
)  # fmt: skip
def test_wrong_usage(cli: Cli, args: tuple[str, ...], status: int, text: str) -> None:
    done = cli("push", *args)
    assert (done.status, done.out, done.err) == (status, "", f"gobbler-cli: {text}\n")
