"""File stores for tests: tiny segments, any file system."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gobbler.store.filelog.store import FileStore

Open = Callable[..., FileStore]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the log is."""
    return tmp_path / "messages"


@pytest.fixture
def open_store(folder: Path) -> Iterator[Open]:
    """Open a store over the folder; whichever was opened before it is only forgotten, as by a crash."""
    opened: list[FileStore] = []

    def open_(**options: object) -> FileStore:
        store = FileStore(
            str(options.pop("folder", folder)),
            **{"sync_seconds": None, "segment_bytes": 600, **options},  # type: ignore[arg-type]
        )
        store.start()
        opened.append(store)
        return store

    yield open_
    for store in opened:
        store.stop(5)
