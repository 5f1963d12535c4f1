"""A real server for all tests of the client that leave it alone, and a topic for each."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from gobbler.client import Client
from tests.client.scripted import Scripted
from tests.system.server import ServerProcess

_numbers = count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("client")
    with ServerProcess(folder / "data") as running:
        yield running


@pytest.fixture(scope="session")
def url(server: ServerProcess) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, "zaphod") as connected:
        yield connected


@pytest.fixture
def topic() -> str:
    """A partition that nobody else uses."""
    return f"/topic{next(_numbers)}"


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with Scripted() as running:
        yield running
