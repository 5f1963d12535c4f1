"""What a server does when the machine does not do its part."""

import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.client import Client, decode
from tests.system.server import GOBBLER, ServerProcess, eventually

ROOT = os.geteuid() == 0
NOT_ROOT = 65534


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if not ROOT or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only who may mount can fill a disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def refused(server: ServerProcess, client: Client) -> None:
    """Check that nothing can be published and that everyone is told."""
    answer = client.ask(b"> /full m-1\n\n" + b"x" * 100_000)
    head, _, facts = answer.partition(b"\n")
    assert head == b"!error-send m-1 the message could not be stored"
    assert json.loads(facts)["sequenceId"] == ""
    status, body = server.request("POST", "/api/message/full", b"x" * 100_000)
    assert status == 503
    assert b"<" not in body
    assert str(server.folder).encode() not in body, "what the disk is called is nobody's business"


def fill(client: Client, size: int) -> int:
    """Publish messages of `size` bytes until one is refused; return how many were stored."""
    stored = 0
    while client.ask(b"> /full\n\n" + b"x" * size).startswith(b"#send"):
        stored += 1
    return stored


def test_a_full_disk_refuses_and_loses_nothing_and_goes_on(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    server = ServerProcess(small_disk / "data")
    with server, Client(server.port) as client:
        stored = fill(client, 100_000)
        assert stored > 5
        refused(server, client)
        status, body = server.request("GET", "/admin/healthcheck")
        assert status == 503
        assert "space" in json.loads(body) or "storage" in json.loads(body)
        # Small ones may still fit into the last page; room for all comes with a larger disk.
        subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
        assert client.ask(b"> /full\n\nnow").startswith(b"#send")
        assert server.request("POST", "/api/message/full", b"and now") == (200, b"OK")
        server.well()
        client.send(b"+ /full 0 100000")
        count = int(client.next().split()[-1])
        taken = client.take(1, count)
        assert [len(message.body) for message in taken[:stored]] == [100_000] * stored
        assert [message.body for message in taken[-2:]] == [b"now", b"and now"]
        assert not ballast.exists()
        server.kill()
    with server, Client(server.port) as client:
        client.send(b"+ /full -1 1")
        assert client.next() == b"#fetch-start /full 1"
        assert decode(client.next()).id == count


def test_a_limit_on_the_size_of_files_is_no_end(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    with server, Client(server.port) as client:
        _, most = server.process.rlimit(resource.RLIMIT_FSIZE)
        server.process.rlimit(resource.RLIMIT_FSIZE, (1 << 20, most))
        stored = fill(client, 100_000)
        assert stored == 10
        refused(server, client)
        server.process.rlimit(resource.RLIMIT_FSIZE, (most, most))
        assert client.publish(b"/full", [b"again"]) == [stored + 1]
        client.send(b"+ /full 0 1000")
        assert client.next() == b"#fetch-start /full %d" % (stored + 1)
        client.take(1, stored + 1)
        client.socket.close()
        assert server.stop() == 0


def fails(folder: Path, *options: str, user: int | None = None) -> str:
    """Start a server that cannot start; return its one line."""
    command = [*GOBBLER, "--storage-path", str(folder), "--log", "error", *options]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
        user=user,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    return done.stderr.rstrip("\n")


def test_a_storage_path_without_a_parent(tmp_path: Path) -> None:
    folder = tmp_path / "no" / "such"
    assert fails(folder) == f"gobbler: cannot use the storage path {folder}: No such file or directory"


def test_a_storage_path_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert fails(file) == f"gobbler: cannot use the storage path {file}: File exists"


@pytest.mark.skipif(not ROOT, reason="root may write everywhere, and only root can be somebody else")
def test_a_storage_path_that_cannot_be_written(tmp_path: Path) -> None:
    # All that it needs is loaded while it may still read root's Python.
    loaded = "from gobbler.cli.server import main; import encodings.ascii, os, gobbler.server"
    script = loaded + "; os.setuid(%d); main()"
    proc = Path("/proc/self")  # a folder that even root cannot make anything in
    assert fails(proc).startswith(f"gobbler: cannot use the storage path {proc}: ")
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    for above in tmp_path.parents[:3]:
        above.chmod(above.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", script % NOT_ROOT, "--http", "127.0.0.1:0", "--storage-path", str(folder)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    line = f"gobbler: cannot use the storage path {folder}: Permission denied\n"
    assert (done.returncode, done.stderr) == (1, line)


def test_a_second_server_on_the_same_path(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with ServerProcess(folder) as server:
        line = (
            f"gobbler: the storage path {folder} is in use by another server (process {server.process.pid})"
        )
        assert fails(folder) == line
        assert server.request("POST", "/api/message/still", b"well") == (200, b"OK")
        server.kill()
    with ServerProcess(folder) as server:  # what a killed server leaves is no lock
        assert server.request("HEAD", "/api/") == (200, b"")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert fails(tmp_path / "data", "--http", address) == (
            f"gobbler: cannot listen on {address}: Address already in use"
        )
    with ServerProcess(tmp_path / "data") as server:  # the failed start has let go of the folder
        server.well()


def test_a_host_that_is_none(tmp_path: Path) -> None:
    line = fails(tmp_path / "data", "--http", "no-such-host.invalid:0")
    assert line.startswith("gobbler: cannot listen on no-such-host.invalid:0: ")


def test_a_client_that_vanishes_is_forgotten(tmp_path: Path) -> None:
    """Pings find out: a peer that answers nothing is dropped within two intervals."""
    server = ServerProcess(tmp_path / "data", "--ws-ping-interval", "1s")
    with server, Client(server.port) as silent, Client(server.port) as talking:
        silent.subscribe(b"/there")
        talking.subscribe(b"/there")
        talking.socket.settimeout(0.05)
        deadline = eventually()
        while len(server.json("/api/subscribers/there")) > 1:
            deadline.again()
            with suppress(TimeoutError):
                talking.next()  # answers pings
        talking.socket.settimeout(20)
        assert talking.ask(b"+ /there") == b"#subscribed-to /there"
