"""`gobbler-cli` as a process: in pipes here, on a terminal in `tests.cli.client.terminal`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

ROOT = Path(__file__).parents[3]
SECONDS = 30
COMMAND = (sys.executable, "-m", "gobbler.cli.client")


def environment(**variables: str) -> dict[str, str]:
    """The environment without what would change how the command behaves."""
    foreign = ("GOBBLER_", "NO_COLOR", "COLUMNS", "LINES", "_GOBBLER")
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(foreign) and not k.lower().endswith("_proxy")
    }
    return kept | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"} | variables


class Done(NamedTuple):
    """How a process ended, and what it has written."""

    status: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def records(self) -> list[Any]:
        """The JSON objects."""
        return [json.loads(line) for line in self.lines]


class Running:
    """A process that goes on; it writes into pipes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    def line(self) -> str:
        """The next line of output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().rstrip("\n")

    def said(self) -> str:
        """The next line of standard error."""
        assert self.process.stderr is not None
        return self.process.stderr.readline().decode().rstrip("\n")

    def end(self, signal: int | None = None) -> Done:
        """Wait for the end, perhaps after a signal."""
        if signal is not None:
            self.process.send_signal(signal)
        out, err = self.process.communicate(timeout=SECONDS)
        return Done(self.process.returncode, out, err.decode())


class Cli:
    """Runs the command against the server on a port; a context manager that ends what goes on."""

    def __init__(self, port: int, **variables: str) -> None:
        self.url = f"ws://127.0.0.1:{port}/stream/"
        self.variables = {"GOBBLER_CLI_URL": self.url} | variables
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._running:
            process.kill()
            process.communicate()

    def __call__(self, *args: str | bytes, input: str | bytes = b"", **variables: str) -> Done:
        """Run it to its end."""
        process = self._start(args, variables)
        data = input.encode() if isinstance(input, str) else input
        out, err = process.communicate(data, timeout=SECONDS)
        return Done(process.returncode, out, err.decode())

    def ok(self, *args: str | bytes, input: str | bytes = b"") -> Done:
        """Run it, and fail unless all is well."""
        done = self(*args, input=input)
        assert (done.status, done.err) == (0, ""), done
        return done

    def start(self, *args: str | bytes, **variables: str) -> Running:
        """Start it."""
        return Running(self._start(args, variables))

    def shell(self, script: str) -> Done:
        """Have bash run something; `gobbler-cli` is the command."""
        function = f'gobbler-cli() {{ {COMMAND[0]} -m {COMMAND[2]} "$@"; }}\n'
        return self._run("bash", "-c", function + script)

    def python(self, script: str, *args: str) -> Done:
        """Run a script of Python with the arguments."""
        return self._run(sys.executable, "-c", script, *args)

    def _run(self, *command: str) -> Done:
        done = subprocess.run(
            command,
            env=environment(**self.variables),
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr.decode())

    def _start(self, args: tuple[str | bytes, ...], variables: dict[str, str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*COMMAND, *args],
            env=environment(**self.variables | variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._running.append(process)
        return process
