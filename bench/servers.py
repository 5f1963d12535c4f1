"""Starts and ends the servers that are measured: each on a free loopback port, in a fresh folder."""

import http.client
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from bench.errors import BenchError

PROJECT = Path(__file__).parents[1]  # where `python -m gobbler` works without an installation
START_DEADLINE = 30.0  # seconds
STOP_DEADLINE = 15.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Server(ABC):
    """A server process; a context manager that yields it when it answers and ends it afterwards."""

    name: str
    """What the driver calls its protocol."""

    def __init__(self) -> None:
        self.port = 0
        self.start_seconds = 0.0

    @abstractmethod
    def command(self, folder: Path) -> list[str]:
        """The command line that serves `self.port` and keeps all its data in `folder`."""

    @abstractmethod
    def answers(self) -> bool:
        """Ask once whether the server is ready.

        Raises:
            OSError: nobody answers on the port.
        """

    def __enter__(self) -> Self:
        """Start the process and wait until it answers.

        Raises:
            BenchError: it ended, or did not answer in time.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="gobbler-bench-"))
        self._log = self._folder / "log"
        self.port = free_port()
        command = self.command(self._folder)
        with self._log.open("wb") as log:
            started = time.monotonic()
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=PROJECT)
        try:
            self._await_answer(started + START_DEADLINE)
        except BaseException:
            self.__exit__()
            raise
        self.start_seconds = time.monotonic() - started
        return self

    def _await_answer(self, deadline: float) -> None:
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self._log.read_text(errors="replace")[-2000:]
                raise BenchError(f"{self.name} does not start ({self._process.args!r}):\n{log}")
            time.sleep(0.001)

    def _is_ready(self) -> bool:
        try:
            return self.answers()
        except (OSError, http.client.HTTPException):
            return False

    def __exit__(self, *exception: object) -> None:
        """End the process and delete its folder."""
        self._process.terminate()
        try:
            self._process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def resident_bytes(self) -> int:
        """The process's resident set; the kernel's socket buffers are not part of it."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


class Gobbler(Server):
    """The server of this project, with its defaults: messages in a log that is synced every second."""

    name = "gobbler"

    def command(self, folder: Path) -> list[str]:
        """`gobbler` as it is installed beside this Python, or else the module."""
        script = Path(sys.executable).with_name("gobbler")
        program = [str(script)] if script.exists() else [sys.executable, "-m", "gobbler"]
        listen = f"127.0.0.1:{self.port}"
        return [*program, "--http", listen, "--storage-path", str(folder / "data"), "--log", "error"]

    def answers(self) -> bool:
        """`HEAD /api/` is answered with 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("HEAD", "/api/")
            return connection.getresponse().status == 200
        finally:
            connection.close()


class Nats(Server):
    """nats-server with JetStream; its defaults but for the folder: files, synced every two minutes."""

    name = "nats"

    @staticmethod
    def version() -> str:
        """What `nats-server --version` says.

        Raises:
            BenchError: it is not installed.
        """
        program = shutil.which("nats-server")
        if program is None:
            raise BenchError("install nats-server (Debian: apt-get install nats-server), or give --no-peer")
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        return said.stdout.strip().replace(": v", " ")

    def command(self, folder: Path) -> list[str]:
        """`nats-server` with a configuration of its own."""
        configuration = folder / "nats.conf"
        configuration.write_text(
            f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{folder / "data"}" }}\n',
            encoding="utf-8",
        )
        return ["nats-server", "--config", str(configuration)]

    def answers(self) -> bool:
        """It greets with an INFO that offers JetStream."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            greeting = connection.recv(4096)
        return greeting.startswith(b"INFO ") and b'"jetstream":true' in greeting
