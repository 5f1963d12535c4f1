"""Runs Autobahn's cases against a WebSocket echo server, by kosoku's fuzzing client.

Both run as processes of their own: gevent patches nothing here, and kosoku changes the interpreter.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
KOSOKU = Path(sys.executable).with_name("kosoku")
RUN_LIMIT = 300.0  # seconds

INFORMATIONAL = frozenset(("7.1.6", "7.13.1", "7.13.2"))
"""Cases that Autobahn itself never judges: data behind a close, close codes 5000 and 65535."""

COMPRESSION = ("12.", "13.")
"""Cases that offer permessage-deflate (RFC 7692). We take no extension, and they must say exactly that."""


class Verdict(NamedTuple):
    """What `index.json` says of one case."""

    behavior: str
    behavior_close: str
    close_code: int | None


@contextmanager
def echo_server(module: str = "tests.websocket.echo") -> Iterator[int]:
    """Run the echo server of `module` and give its port.

    Raises:
        RuntimeError: it ended before it listened.
    """
    command = [sys.executable, "-m", module, "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{module} ended with {process.wait()} before it listened")
            yield int(line)
        finally:
            process.kill()


def run_cases(port: int, folder: Path, *selection: str) -> dict[str, Verdict]:
    """Run the selected cases (kosoku's `-i` and `-x`); return their verdicts by case id.

    Raises:
        RuntimeError: the run left no report.
    """
    command = [str(KOSOKU), "-m", "fuzzingclient", "-p", "4", "-o", str(folder), *selection]
    # Its exit status says nothing here: it counts the compression cases as failed.
    done = subprocess.run(
        [*command, f"127.0.0.1:{port}"], capture_output=True, text=True, timeout=RUN_LIMIT, check=False
    )
    index = folder / "index.json"
    if not index.exists():
        raise RuntimeError(f"kosoku ended with {done.returncode}: {done.stderr}")
    (cases,) = json.loads(index.read_text()).values()  # one agent: our server
    return {
        name: Verdict(case["behavior"], case["behaviorClose"], case["remoteCloseCode"])
        for name, case in cases.items()
    }


def failures(verdicts: Mapping[str, Verdict]) -> list[str]:
    """Return a line for every case that is not what it must be; NON-STRICT is a failure."""
    return [
        f"{name}: {verdict.behavior}, closing {verdict.behavior_close}, code {verdict.close_code}"
        for name, verdict in verdicts.items()
        if (verdict.behavior, verdict.behavior_close) != _wanted(name)
    ]


def _wanted(name: str) -> tuple[str, str]:
    """Return the one behavior and closing behavior that the case may have."""
    if name in INFORMATIONAL:
        return "INFORMATIONAL", "INFORMATIONAL"
    if name.startswith(COMPRESSION):
        return "UNIMPLEMENTED", "OK"
    return "OK", "OK"
