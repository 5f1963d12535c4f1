"""Compiles and runs the load driver, `driver.c`, whose head describes what it does and checks."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict, cast

from bench.errors import BenchError, CheckFailed

SOURCE = Path(__file__).with_name("driver.c")
BINARY = SOURCE.parent / "build" / "driver"
FLAGS = ("-O2", "-Wall", "-Wextra")
DEADLINE = 300.0  # seconds; the driver gives up by itself long before

Option = str | int | float


class Latency(TypedDict):
    """Microseconds from the time a message was due to its arrival."""

    p50: float
    p99: float
    p999: float
    max: float


class Result(TypedDict):
    """What the driver prints after `e2e` and `fetch`: rates, counts of messages, and what failed."""

    seconds: float
    published_per_s: float
    delivered_per_s: float
    acked: int
    delivered: int
    unanswered: int
    missing: int
    repeated: int
    misordered: int
    corrupt: int
    errors: int
    closed: int
    latency_us: Latency


def build(binary: Path = BINARY, flags: Sequence[str] = FLAGS) -> Path:
    """Compile the driver unless `binary` is newer than its source; returns `binary`.

    Raises:
        BenchError: there is no gcc, or the source does not compile.
    """
    if binary.exists() and binary.stat().st_mtime > SOURCE.stat().st_mtime:
        return binary
    if shutil.which("gcc") is None:
        raise BenchError("install gcc: the load driver is written in C")
    binary.parent.mkdir(parents=True, exist_ok=True)
    unfinished = binary.with_suffix(f".{os.getpid()}")  # so that nobody runs half a file
    compiler = subprocess.run(
        ["gcc", *flags, "-o", unfinished, SOURCE], capture_output=True, text=True, check=False
    )
    if compiler.returncode:
        raise BenchError(f"the load driver does not compile:\n{compiler.stderr}")
    unfinished.replace(binary)
    return binary


def command(mode: str, server: str, port: int, **options: Option) -> list[str]:
    """The driver's command line; `options` are its long options (`messages=1000`)."""
    named = {"server": server, "port": port, **options}
    return [str(build()), mode, *(f"--{name}={value}" for name, value in named.items())]


def run(mode: str, server: str, port: int, **options: Option) -> Result:
    """One `e2e` or `fetch` run against the server (`gobbler` or `nats`) on a loopback port.

    Raises:
        CheckFailed: a message was lost, repeated, misplaced, damaged or refused.
        BenchError: the server could not be reached or did not answer.
    """
    arguments = command(mode, server, port, **options)
    try:
        driver = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=DEADLINE)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"no end after {DEADLINE:.0f} s: {' '.join(arguments)}") from error
    if driver.returncode == 0:
        return cast(Result, json.loads(driver.stdout))
    failure = CheckFailed if driver.returncode == 1 else BenchError
    raise failure(f"{' '.join(arguments)}\n{driver.stdout}{driver.stderr}".strip())


@contextmanager
def idle_connections(server: str, port: int, count: int, **options: Option) -> Iterator[None]:
    """Hold `count` subscribed connections open for the length of the block.

    Raises:
        BenchError: they could not all be opened.
        CheckFailed: the server closed one, or sent an error, before the end of the block.
    """
    arguments = command("idle", server, port, connections=count, **options)
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as driver:
        assert driver.stdout is not None
        try:
            if not driver.stdout.readline():
                raise BenchError(f"cannot open {count} connections: {driver.communicate()[1].strip()}")
            yield
            output, complaints = driver.communicate("\n", timeout=DEADLINE)
        finally:
            driver.kill()
    if driver.returncode:
        raise CheckFailed(f"not all connections stayed open: {output}{complaints}".strip())
