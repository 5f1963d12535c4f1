"""A server as a process of its own, on a free loopback port."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

import psutil

ROOT = Path(__file__).parents[2]
SECONDS = 30.0

GOBBLER = (sys.executable, "-m", "gobbler", "--http", "127.0.0.1:0", "--log", "info")
GUNICORN = (sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0")
WORKER = ("-k", "geventwebsocket.gunicorn.workers.GeventWebSocketWorker", "gobbler.wsgi:app")


class ServerProcess:
    """Starts `command` with GOBBLER_STORAGE_PATH set to `folder`; a context manager that ends it."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        command: tuple[str, ...] = GOBBLER,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.port = 0
        self.start_seconds = 0.0
        self.lines: list[str] = []
        self._command = [*command, *options]
        self._env = dict(env or {})
        self._said = threading.Condition()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def launch(self) -> None:
        """Start the process, and wait for nothing."""
        kept = {k: v for k, v in os.environ.items() if not _configures(k)}
        self.lines = []
        self._begun = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            env=kept | {"GOBBLER_STORAGE_PATH": str(self.folder)} | self._env,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()

    def start(self) -> None:
        """Start the process and wait until it serves."""
        self.launch()
        found = self.said(r"listening on .*, port (\d+)|Listening at: http://127\.0\.0\.1:(\d+)", 120)
        self.port = int(found[1] or found[2])
        if found[2]:  # gunicorn's master listens before its worker serves
            self.request("HEAD", "/api/")
        self.start_seconds = time.monotonic() - self._begun

    def said(self, pattern: str, seconds: float = SECONDS) -> re.Match[str]:
        """Wait until the process writes a line that holds `pattern`; return the match."""
        deadline = time.monotonic() + seconds
        with self._said:
            while True:
                for line in self.lines:
                    if found := re.search(pattern, line):
                        return found
                assert self._reader.is_alive(), f"the server ended: {self.text}"
                assert self._said.wait(deadline - time.monotonic()), f"no {pattern!r} in: {self.text}"

    @property
    def text(self) -> str:
        """All that the process has written."""
        return "\n".join(self.lines)

    @property
    def process(self) -> psutil.Process:
        """The process that serves: under gunicorn the worker."""
        process = psutil.Process(self._process.pid)
        return next(iter(process.children()), process) if "gunicorn" in self._command else process

    @property
    def rss(self) -> int:
        """Resident bytes."""
        return int(self.process.memory_info().rss)

    @property
    def open_files(self) -> int:
        """The number of open descriptors."""
        return int(self.process.num_fds())

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float = SECONDS) -> int:
        """Wait for the end; return the exit status."""
        status = self._process.wait(seconds)
        self._reader.join(seconds)
        return status

    def stop(self) -> int:
        """Stop gracefully; return the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it with SIGKILL, its children too; again: do nothing."""
        if self._process.poll() is None:
            for child in psutil.Process(self._process.pid).children(recursive=True):
                child.kill()
            self._process.kill()
        self.wait()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str | bytes] | None = None,
    ) -> tuple[int, bytes]:
        """Make one request; return status and body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        """Return the JSON of a page, whatever its status."""
        return json.loads(self.request("GET", path)[1])

    def well(self) -> None:
        """Wait until the server says that it is well; that it was slow for a second, it says for a minute."""
        deadline = eventually(90)
        while self.request("GET", "/admin/healthcheck") != (200, b"{}\n"):
            deadline.again()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                with self._said:
                    self.lines.append(line.rstrip("\n"))
                    self._said.notify_all()
        with self._said:
            self._said.notify_all()


def _configures(variable: str) -> bool:
    """Say whether an environment variable would change what a server does."""
    return variable.startswith("GOBBLER_") or variable in ("PORT", "DATABASE_URL")


def eventually(seconds: float = SECONDS) -> "Deadline":
    """Return a deadline for asking again and again."""
    return Deadline(time.monotonic() + seconds)


class Deadline:
    """`while not x: deadline.again()`: gives the server a moment, or fails the test."""

    def __init__(self, end: float) -> None:
        self._end = end
        self._moment = threading.Event()

    def again(self) -> None:
        assert time.monotonic() < self._end, "it did not come to pass in time"
        self._moment.wait(0.01)
