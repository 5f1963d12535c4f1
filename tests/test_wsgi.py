"""Gobbler under gunicorn: serves the same, and keeps to one worker a storage path."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.client import Client, Refused
from tests.system.server import GOBBLER, GUNICORN, WORKER, ServerProcess

CONF = ("-c", "conf/gunicorn.conf.py", "gobbler.wsgi:app")
COMMANDS = {"own": GOBBLER, "bare": (*GUNICORN, *WORKER), "conf": (*GUNICORN, *CONF)}


@pytest.fixture(scope="module", params=list(COMMANDS))
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("wsgi") / "data"
    with ServerProcess(folder, command=COMMANDS[request.param]) as started:
        yield started


def test_rest_and_websocket(server: ServerProcess) -> None:
    with Client(server.port, "/stream/user/marvin") as client:
        client.subscribe(b"/same")
        assert server.request("POST", "/api/message/same?userId=ford", b"hello") == (200, b"OK")
        assert client.next().startswith(b"/same,1,ford,")
        assert client.publish(b"/elsewhere", [b"1", b"2"]) == [1, 2]
        assert client.ask(b"+ /elsewhere 0 5") == b"#fetch-start /elsewhere 2"
        client.take(1, 2)
        assert client.next() == b"#fetch-done /elsewhere"
        assert server.json("/api/subscribers/same")[0]["user_id"] == "marvin"
    server.well()
    assert b"gobbler_messages_stored_total 3.0\n" in server.request("GET", "/admin/metrics")[1]


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/stream/nope", 404, "connect to /stream/ or /stream/user/<user id>\n"),
        ("/stream/user/a,b", 400, "user id holds a comma\n"),
        ("/stream/user/", 404, "connect to /stream/ or /stream/user/<user id>\n"),
    ],
)
def test_refusals_before_the_upgrade(server: ServerProcess, path: str, status: int, text: str) -> None:
    with pytest.raises(Refused) as refused:
        Client(server.port, path)
    assert refused.value.args == (status, text)


def test_refusals_of_what_is_no_handshake(server: ServerProcess) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    asked = [
        server.request("GET", "/stream/"),
        server.request("POST", "/stream/", b"", upgrade | key),
        server.request("GET", "/stream/", None, upgrade),
        server.request("GET", "/stream/", None, upgrade | {"Sec-WebSocket-Key": "short"}),
        server.request("GET", "/stream/", None, upgrade | key | {"Sec-WebSocket-Version": "8"}),
    ]
    assert asked == [
        (426, b"this is for WebSocket clients\n"),
        (405, b"a WebSocket begins with GET\n"),
        (400, b"Sec-WebSocket-Key must be 16 bytes in base64\n"),
        (400, b"Sec-WebSocket-Key must be 16 bytes in base64\n"),
        (426, b"this server speaks version 13\n"),
    ]


def test_no_output_but_gunicorns_own(server: ServerProcess) -> None:
    assert not [line for line in server.lines if "Traceback" in line or "rror" in line]


def gunicorn(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run gunicorn to its end, which must come by itself."""
    server = ServerProcess(folder, command=(*GUNICORN, *args), env=env)
    server.launch()
    try:
        return subprocess.CompletedProcess(args, server.wait(), "", server.text)
    finally:
        server.kill()


def test_another_server_on_the_same_path_ends_gunicorn(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with ServerProcess(folder) as first:
        for args in (WORKER, CONF):
            done = gunicorn(folder, *args)
            holder = f"another server (process {first.process.pid})"
            assert f"gobbler: the storage path {folder} is in use by {holder}" in done.stderr.splitlines()
            assert done.returncode == 4, done.stderr
            assert "Traceback" not in done.stderr
        first.well()


def test_a_second_worker_is_refused(tmp_path: Path) -> None:
    done = gunicorn(tmp_path / "data", "-w", "2", *CONF)
    assert "2 workers asked for, but Gobbler runs one worker a storage path." in done.stderr
    assert done.returncode != 0
    done = gunicorn(tmp_path / "data", "-w", "2", *WORKER)  # without the file the lock says it
    assert "is in use by another server" in done.stderr
    assert done.returncode != 0


def test_a_bad_option_ends_gunicorn_with_one_line(tmp_path: Path) -> None:
    for args in (WORKER, CONF):
        done = gunicorn(tmp_path / "data", *args, GOBBLER_FSYNC="perhaps")
        text = "--fsync: 'perhaps' is neither always, never nor a number of seconds above zero"
        assert f"gobbler: {text} (from environment GOBBLER_FSYNC)" in done.stderr.splitlines()
        assert done.returncode != 0
        assert "Traceback" not in done.stderr


def test_a_reload_keeps_everything(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", command=COMMANDS["conf"]) as server:
        assert server.request("POST", "/api/message/kept", b"1") == (200, b"OK")
        server.signal(signal.SIGHUP)
        server.said("Handling signal: hup")
        server.said(rf"Booting worker with pid: (?!{server.process.pid}\b)")
        status, body = server.request("POST", "/api/message/kept", b"2", {"Accept": "application/json"})
        assert (status, json.loads(body)["sequenceId"]) == (200, "2")
        assert server.stop() == 0


def test_quitting_at_once_keeps_what_was_answered(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", command=COMMANDS["bare"])
    with server:
        assert server.request("POST", "/api/message/kept", b"1") == (200, b"OK")
        server.signal(signal.SIGQUIT)
        assert server.wait() == 0
    with server, Client(server.port) as client:
        assert client.ask(b"+ /kept 0 5") == b"#fetch-start /kept 1"


@pytest.mark.parametrize("command", ["bare", "conf"])
def test_a_stop_ends_a_stream_as_http_wants_it(tmp_path: Path, command: str) -> None:
    with (
        ServerProcess(tmp_path / "data", command=COMMANDS[command]) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection,
    ):
        connection.sendall(b"GET /api/stream/foo HTTP/1.1\r\nHost: h\r\n\r\n")
        received = connection.recv(65536)
        while b"id: 0\n\n\r\n" not in received:
            received += connection.recv(65536)
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 6, "a stream must not hold the stop back"
        rest = b"".join(iter(lambda: connection.recv(65536), b""))
        assert rest == b"0\r\n\r\n", "the last chunk"
        assert not [line for line in server.lines if "WARN" in line or "rror" in line]
