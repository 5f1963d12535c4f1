"""A real server for all tests of the client's command that leave it alone, and a topic for each."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.cli.client.command import Cli
from tests.ports import free_port
from tests.system.server import ServerProcess

_numbers = count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("cli")
    with ServerProcess(folder / "data") as running:
        yield running


@pytest.fixture
def cli(server: ServerProcess) -> Iterator[Cli]:
    """The command, which talks to that server."""
    with Cli(server.port) as command:
        yield command


@pytest.fixture
def topic() -> str:
    """A partition that nobody else uses."""
    return f"/topic{next(_numbers)}"


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of the test's own, which comes back on the same port."""
    port = free_port()
    with ServerProcess(tmp_path / "data", "--http", f"127.0.0.1:{port}") as running:
        yield running


@pytest.fixture
def unused_port() -> int:
    """Nobody listens there."""
    return free_port()
