"""Every kind of message store in turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.store.base import MessageStore
from tests.store.kinds import KINDS, Kind, Opened


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def opened(kind: Kind, tmp_path: Path) -> Iterator[Opened]:
    """A store that can be started again."""
    opened = Opened(kind, tmp_path)
    yield opened
    opened.stop()


@pytest.fixture
def store(opened: Opened) -> MessageStore:
    return opened.store
