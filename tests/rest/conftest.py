"""A store of each kind behind the reading side, all in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from gobbler.app import App
from gobbler.rest import events, fetch, topics
from gobbler.store.base import MessageStore
from tests.websocket.rig import World, file_store, memory_store, world

Json = Any


class Reader:
    """Requests to the reading side over a world."""

    def __init__(self, there: World) -> None:
        self.there = there
        self.streams = events.Streams(there.store, there.router, there.metrics)
        pages = [
            topics.blueprint(there.store, there.metrics),
            fetch.blueprint(there.store, there.metrics),
            events.blueprint(self.streams),
        ]
        self.http: FlaskClient = App(pages, there.metrics, None, "/stream/").flask.test_client()

    def json(self, url: str) -> Json:
        """Return the JSON of a page, which must be there."""
        answer = self.http.get(url)
        assert answer.status_code == 200, answer.text
        return answer.json

    def ids(self, url: str) -> list[int]:
        """Return the ids of a fetch."""
        return [item["id"] for item in self.json(url)]

    def refusal(self, url: str, **headers: str) -> tuple[int, str]:
        answer = self.http.get(url, headers={"Accept": "application/json"} | headers)
        return answer.status_code, answer.json["error"]  # type: ignore[index]


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MessageStore:
    """Return a message store that has not started."""
    return memory_store() if request.param == "memory" else file_store(tmp_path / "log")


@pytest.fixture
def there(store: MessageStore) -> Iterator[World]:
    with world(store) as made:
        yield made


@pytest.fixture
def reader(there: World) -> Reader:
    return Reader(there)
