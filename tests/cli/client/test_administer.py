"""`gobbler-cli subscribers`, `health`, `toggles` and `topics`."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.client.command import Cli
from tests.push.connected import APNS, FCM, Connected
from tests.system.server import ServerProcess


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    folder = tmp_path_factory.mktemp("connected")
    with Connected(folder, FCM, APNS) as running, Cli(running.server.port) as command:
        yield command


class TestSubscribers:
    def test_clients_and_devices(self, connected: Cli) -> None:
        connected.ok("push", "add", "fcm", "the-token", "ford", "/news")
        following = connected.start("--user", "zaphod", "subscribe", "/news", "--from", "0")
        connected.ok("publish", "/news", "x")
        following.line()
        client, device = connected.ok("subscribers", "/news/sport").lines
        assert re.fullmatch("user_id=zaphod application_id=[0-9a-f]+", client)
        assert device == "connector=fcm device_token=the-token user_id=ford"
        records = connected.ok("subscribers", "/news/sport", "--json").records
        assert records[1] == {"connector": "fcm", "device_token": "the-token", "user_id": "ford"}
        assert connected.ok("subscribers", "/new").out == ""

    def test_a_topic_that_is_none(self, cli: Cli) -> None:
        assert cli("subscribers", "foo") == (2, b"", "gobbler-cli: topic must begin with '/'\n")


class TestHealth:
    def test_all_is_well(self, cli: Cli) -> None:
        assert cli.ok("health").out == "ok\n"
        assert cli.ok("health", "--json").out == "{}\n"

    def test_something_is_wrong(self, restartable: ServerProcess) -> None:
        cli = Cli(restartable.port)
        restartable.folder.rename(restartable.folder.with_name("elsewhere"))
        done = cli("health")
        assert (done.status, done.err) == (1, "")
        assert any(line.startswith("storage: ") for line in done.lines)
        done = cli("health", "--json")
        assert (done.status, done.err) == (1, "")
        assert "storage" in done.records[0]

    def test_another_page(self, tmp_path: Path) -> None:
        with ServerProcess(tmp_path / "data", "--health-endpoint", "/well") as server:
            cli = Cli(server.port)
            assert cli.ok("health", "--endpoint", "/well").out == "ok\n"
            assert cli.ok("health", "--endpoint", "well").out == "ok\n"
            missing = "the server has no page /admin/healthcheck that tells its health (404 Not Found)"
            assert cli("health") == (1, b"", f"gobbler-cli: {missing}\n")


class TestToggles:
    def test_off_and_on(self, connected: Cli) -> None:
        assert connected.ok("toggles").lines == ["fcm on, sending", "apns on, sending"]
        assert connected.ok("toggles", "fcm", "off").out == "fcm was successfully stopped.\n"
        assert connected.ok("toggles", "fcm", "off").out == "fcm was already stopped.\n"
        assert connected.ok("toggles").lines == ["fcm off", "apns on, sending"]
        assert connected.ok("toggles", "--json").records == [
            {"name": "fcm", "on": False, "state": "off", "cause": None},
            {"name": "apns", "on": True, "state": "sending", "cause": None},
        ]
        (record,) = connected.ok("toggles", "fcm", "on", "--json").records
        assert record == {"name": "fcm", "on": True, "text": "fcm was successfully started."}

    def test_one_that_is_not_there(self, connected: Cli) -> None:
        line = "gobbler-cli: there is no connector 'telex' to toggle; there are: fcm, apns\n"
        assert connected("toggles", "telex", "on") == (1, b"", line)

    def test_a_server_without(self, cli: Cli) -> None:
        done = cli("toggles")
        assert done == (0, b"", "gobbler-cli: the server has no connectors\n")

    def test_a_page_that_is_not_there(self, cli: Cli) -> None:
        line = "gobbler-cli: the server has no page /toggle that toggles (404 Not Found)\n"
        assert cli("toggles", "fcm", "on", "--endpoint", "/toggle") == (1, b"", line)

    @pytest.mark.parametrize(
        ("args", "text"),
        [
            (("fcm",), "say whether to turn it on or off"),
            (("fcm", "up"), "Invalid value for '[on|off]': 'up' is not one of 'on', 'off'."),
        ],
    )
    def test_wrong_usage(self, cli: Cli, args: tuple[str, ...], text: str) -> None:
        assert cli("toggles", *args) == (2, b"", f"gobbler-cli: {text} (see gobbler-cli toggles --help)\n")


class TestTopics:
    def test_a_table(self, cli: Cli, topic: str) -> None:
        name = f"{topic}-table"
        cli.ok("publish", f"{name}a/b", "--lines", input="x\n" * 12)
        cli.ok("publish", f"{name}b", "x")
        head, *rows = cli.ok("topics", name).lines
        assert head.split() == ["TOPIC", "MESSAGES", "FIRST", "LAST", "BYTES", "NEWEST"]
        assert len({len(line) for line in (head, *rows)}) == 1
        time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"
        assert re.fullmatch(rf"{name}a +12 +1 +12 +\d+ +{time}", rows[0])
        assert re.fullmatch(rf"{name}b +1 +1 +1 +\d+ +{time}", rows[1])

    def test_as_json(self, cli: Cli, topic: str) -> None:
        name = f"{topic}-json"
        cli.ok("publish", name, "x")
        (record,) = cli.ok("topics", name, "--json").records
        times = {"firstTime", "lastTime"}
        assert record.keys() == {"topic", "bytes", "count", "firstId", "lastId", *times}
        assert (record["topic"], record["count"]) == (name, 1)
        assert name in {record["topic"] for record in cli.ok("topics", "--json").records}

    def test_nothing(self, cli: Cli) -> None:
        assert cli.ok("topics", "/no-such").out == ""


@pytest.mark.parametrize("args", [("subscribers", "/foo"), ("health",), ("toggles",), ("topics",)])
def test_nobody_at_the_other_end(args: tuple[str, ...], unused_port: int) -> None:
    line = (
        f"gobbler-cli: cannot connect to http://127.0.0.1:{unused_port}: "
        "is the server running? (Connection refused)\n"
    )
    assert Cli(unused_port)(*args) == (3, b"", line)
