"""A world with a store of each kind, for tests of sessions and receivers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.store.base import MessageStore
from tests.websocket.rig import World, file_store, memory_store, world


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MessageStore:
    """Return a message store that has not started."""
    return memory_store() if request.param == "memory" else file_store(tmp_path / "log")


@pytest.fixture
def there(store: MessageStore) -> Iterator[World]:
    """Return all that a session needs, running."""
    with world(store) as made:
        yield made
