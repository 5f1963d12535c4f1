"""The administration pages, and that the metrics count exactly what happened."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.system.client import Client, Closed
from tests.system.server import ServerProcess, eventually


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data", "--fsync", "always") as started:
        yield started


def metrics(server: ServerProcess, path: str = "/admin/metrics") -> dict[str, float]:
    """Return the samples of the page by name and labels."""
    status, page = server.request("GET", path)
    assert status == 200
    return {
        sample.name + "".join(f",{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_the_metrics_count_exactly_what_happened(server: ServerProcess) -> None:
    with Client(server.port) as publisher, Client(server.port, "/stream/user/u") as subscriber:
        subscriber.subscribe(b"/foo")
        subscriber.subscribe(b"/bar")
        publisher.publish(b"/foo", [b"12345"] * 10)
        publisher.publish(b"/nobody", [b"123"] * 2)
        frames = sum(len(payload) + 2 for payload in (subscriber.next() for _ in range(10)))
        assert server.request("POST", "/api/message/bar?filterUserID=other", b"1234567") == (200, b"OK")
        assert server.request("POST", "/api/message/b,ar", b"") == (400, b"topic holds a comma\n")
        assert publisher.ask(b"? what").startswith(b"!error-bad-request ")
        assert publisher.ask(b"> no-topic\n\n").startswith(b"!error-send ")
        assert subscriber.ask(b"+ /foo 3 4") == b"#fetch-start /foo 4"
        subscriber.take(3, 6)
        assert subscriber.next() == b"#fetch-done /foo"
        found = metrics(server)
    expected = {
        "messages_received_total,websocket": 12,
        "messages_received_total,rest": 1,
        "messages_delivered_total": 10,
        "delivered_bytes_total": frames,
        "messages_stored_total": 13,
        "sessions": 2,
        "sessions_opened_total": 2,
        "subscriptions": 2,
        "fetches": 0,
        "fetches_started_total": 1,
        "fetched_messages_total": 4,
        "slow_reader_turns_total": 0,
        "errors_total,invalid-topic": 1,
        "errors_total,invalid-command": 1,
        "errors_total,send-refused": 1,
        "http_requests_total,api.publish,POST,200": 1,
        "http_requests_total,api.publish,POST,400": 1,
        "publish_seconds_count": 13,
    }
    assert {name: found[f"gobbler_{name}"] for name in expected} == expected
    assert found["gobbler_commits_total"] == found["gobbler_commit_messages_count"]
    assert found["gobbler_commit_messages_sum"] == 13
    assert found["gobbler_stored_bytes_total"] > frames
    assert found["gobbler_publish_seconds_sum"] > 0
    assert found["process_resident_memory_bytes"] > 1 << 20


def test_gauges_fall_again(server: ServerProcess) -> None:
    with Client(server.port) as client:
        client.subscribe(b"/foo")
        client.subscribe(b"/foo/bar")
        assert client.ask(b"- /foo") == b"#canceled /foo"
        found = metrics(server)
        assert (found["gobbler_sessions"], found["gobbler_subscriptions"]) == (1, 1)
    deadline = eventually()
    while (found := metrics(server))["gobbler_sessions"]:
        deadline.again()
    assert found["gobbler_subscriptions"] == 0
    assert server.json("/admin/router") == {}


def test_metrics_for_who_wants_openmetrics(server: ServerProcess) -> None:
    status, page = server.request("GET", "/admin/metrics", headers={"Accept": "application/openmetrics-text"})
    assert status == 200
    assert page.endswith(b"# EOF\n")


def test_the_router_page(server: ServerProcess) -> None:
    assert server.request("GET", "/admin/router") == (200, b"{}\n")
    with Client(server.port, "/stream/user/marvin") as marvin, Client(server.port) as other:
        marvin.subscribe("/b/ü".encode())
        marvin.subscribe(b"/a")
        other.subscribe(b"/a")
        found = server.json("/admin/router")
        assert list(found) == ["/a", "/b/ü"]
        assert [entry["user_id"] for entry in found["/a"]] == ["marvin", ""]
        assert [list(entry) for entry in found["/a"]] == 2 * [["user_id", "application_id"]]


def test_health_says_what_is_wrong_and_when_it_is_over(server: ServerProcess) -> None:
    server.well()
    moved = server.folder.with_name("moved")
    shutil.move(server.folder, moved)
    status, body = server.request("GET", "/admin/healthcheck")
    assert status == 503
    assert json.loads(body)["storage"] == "the storage path is not writable: No such file or directory"
    assert str(server.folder).encode() not in body
    shutil.move(moved, server.folder)
    server.well()


def test_pages_can_be_moved_and_turned_off(tmp_path: Path) -> None:
    options = (
        "--health-endpoint",
        "/well",
        "--metrics-endpoint",
        "",
        "--ws-prefix",
        "/ws",
        "--kvs",
        "memory",
    )
    with ServerProcess(tmp_path / "data", *options, "--ms", "memory") as server:
        assert server.request("GET", "/well") == (200, b"{}\n")
        statuses = [
            server.request("GET", path)[0] for path in ("/admin/healthcheck", "/admin/metrics", "/stream/")
        ]
        assert statuses == [404, 404, 404]
        with Client(server.port, "/ws/user/u") as client:
            client.subscribe(b"/foo")
        assert server.request("GET", "/ws")[0] == 426
        assert not server.folder.exists(), "what keeps all in memory needs no folder"
    with ServerProcess(
        tmp_path / "data", "--health-endpoint", "", "--metrics-endpoint", "/m", "--no-ws"
    ) as server:
        assert server.request("GET", "/admin/healthcheck")[0] == 404
        assert metrics(server, "/m")["gobbler_sessions"] == 0
        assert server.request("GET", "/stream/")[0] == 404


def test_a_session_that_is_closed_is_counted_once(server: ServerProcess) -> None:
    with Client(server.port) as client:
        client.socket.sendall(b"\x81\x01!")  # not masked
        with pytest.raises(Closed) as closed:
            client.next()
        assert closed.value.args[0] == 1002
    deadline = eventually()
    while metrics(server)["gobbler_sessions"]:
        deadline.again()
    assert metrics(server)["gobbler_sessions_opened_total"] == 1
